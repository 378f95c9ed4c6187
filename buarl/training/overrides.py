"""What a row may set for itself: every number that its preset and its recipe otherwise decide.

`Experiment(set={"steps": 2000, "lr": 0.03})`, or `train --set steps=2000 lr=0.03`. A row keeps the
values as plain JSON; here they are checked, and become stages and an optimizer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from buarl.arguments import short
from buarl.methods.base import Adam, Optimizer, Sgd
from buarl.methods.recipe import StagePlan
from buarl.schedules import Constant, OneCycle, Poly, Schedule, StepDecay
from buarl.training.engine import Precision

OPTIMIZERS = {"sgd": Sgd, "adam": Adam}
SCHEDULES = {"constant": Constant, "poly": Poly, "step_decay": StepDecay, "one_cycle": OneCycle}
_UP_TO_1 = ("step_decay", "one_cycle")  # whose numbers are shares


@dataclass(frozen=True)
class _Rule:
    """What a value must be, in words and as a test."""

    wanted: str
    fits: Callable[[Any], bool]
    per_stage: bool = False  # one value for all stages, or a list with one for each
    volumes_only: bool = False


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(map(_is_count, value))


def _is_schedule(value: Any) -> bool:
    try:
        schedule_named(value)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


_COUNT = _Rule("a whole number, at least 1", _is_count)
_SCHEDULE = (
    "constant, poly:POWER with POWER > 0, one_cycle:WARM_UP with WARM_UP between 0 and 1, or "
    "step_decay:SHARE with SHARE in 0-1"
)
_SIZE = "a whole number, at least 1, per axis, such as 192,192"
KEYS: dict[str, _Rule] = {
    "steps": replace(_COUNT, per_stage=True),
    "labeled_batch": replace(_COUNT, per_stage=True),
    "unlabeled_batch": _Rule("a whole number, at least 0", lambda v: _is_count(v, 0), True),
    "schedule": _Rule(_SCHEDULE, _is_schedule, per_stage=True),
    "image_size": _Rule(_SIZE, _is_size),
    "eval_stride": _Rule(_SIZE, _is_size, volumes_only=True),
    "width": _Rule("a whole number, 1 to 256", lambda v: _is_count(v) and v <= 256),
    "shrink": replace(_COUNT, volumes_only=True),
    "standardise": _Rule("True or False", lambda v: isinstance(v, bool), volumes_only=True),
    "checkpoint_every": _COUNT,
    "labeled_draw": _Rule("a whole number, at least 0", lambda v: _is_count(v, 0)),
    "precision": _Rule(f"one of {get_args(Precision)}", lambda v: v in get_args(Precision)),
    "optimizer": _Rule(f"one of {sorted(OPTIMIZERS)}", lambda v: v in list(OPTIMIZERS)),
    "lr": _Rule("a number > 0", lambda v: _is_number(v) and v > 0),
    "momentum": _Rule("a number in 0-1, below 1", lambda v: _is_number(v) and 0 <= v < 1),
    "weight_decay": _Rule("a number >= 0", lambda v: _is_number(v) and v >= 0),
    "betas": _Rule(
        "two numbers in 0-1, below 1",
        lambda v: (
            isinstance(v, list) and len(v) == 2 and all(_is_number(b) and 0 <= b < 1 for b in v)
        ),
    ),
}
"""Every key a row can set, and what its value must be."""
OF_STAGES = tuple(key for key, rule in KEYS.items() if rule.per_stage)
OF_OPTIMIZER = ("optimizer", "lr", "momentum", "weight_decay", "betas")
PLAIN = tuple(key for key in KEYS if key not in OF_STAGES + OF_OPTIMIZER)


def check_overrides(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a row sets, as JSON gives them back (tuples as lists).

    Args:
        chosen: Values by key, see `KEYS`.
    Raises:
        ValueError: unknown key, or a value of another type or out of range.

    >>> check_overrides({"steps": (1000, 3000), "image_size": (192, 192)})
    {'steps': [1000, 3000], 'image_size': [192, 192]}
    >>> check_overrides({"lr": -1})
    Traceback (most recent call last):
    ValueError: lr must be a number > 0, got -1
    """
    plain: dict[str, Any] = {}
    for key, value in chosen.items():
        if key not in KEYS:
            raise ValueError(f"a row can set {sorted(KEYS)}, got {short(key)}")
        rule = KEYS[key]
        if key == "schedule" and isinstance(value, str) and "," in value:
            value = value.split(",")
        try:
            plain[key] = json.loads(json.dumps(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{key} must be {rule.wanted}, got {short(value)}") from error
        several = rule.per_stage and isinstance(plain[key], list) and plain[key]
        for one in several or [plain[key]]:
            if not rule.fits(one):
                raise ValueError(f"{key} must be {rule.wanted}, got {short(one)}")
    return plain


def schedule_named(text: str) -> Schedule:
    """A schedule by its name and argument.

    Args:
        text: "constant", "poly", "poly:POWER", "step_decay:SHARE", "one_cycle" or
            "one_cycle:WARM_UP".
    Raises:
        ValueError: no such schedule, or an argument out of range.

    >>> schedule_named("step_decay:0.4")
    StepDecay(share=0.4)
    """
    name, *rest = text.split(":")
    numbers = [float(number) for number in rest]
    most = 1.0 if name in _UP_TO_1 else math.inf
    known = name in SCHEDULES and len(numbers) <= len(fields(SCHEDULES[name]))
    if not known or not all(0 < number <= most and math.isfinite(number) for number in numbers):
        raise ValueError(f"schedule must be {_SCHEDULE}, got {text!r}")
    return SCHEDULES[name](*numbers)


def override_stages(plans: Sequence[StagePlan], chosen: Mapping[str, Any]) -> tuple[StagePlan, ...]:
    """The stages with what a row sets for them.

    Without a number of its own the unlabeled half of a batch is as large as the labeled one, as
    most methods want it; a stage without unlabeled images keeps none.

    Args:
        plans: The stages of preset and recipe. chosen: As `check_overrides` returns it.
    Raises:
        ValueError: a list that is not as long as there are stages, or unlabeled images for a
            stage that uses none, or none for one that does.

    >>> override_stages([StagePlan(100, 4, 4)], {"steps": 200, "labeled_batch": 2})
    (StagePlan(steps=200, labeled_batch=2, unlabeled_batch=2, schedule=Constant()),)
    """
    numbers = {key: _per_stage(key, chosen[key], len(plans)) for key in OF_STAGES if key in chosen}
    if not isinstance(chosen.get("unlabeled_batch"), list):  # a list is taken as it stands
        batches = numbers.get("unlabeled_batch", numbers.get("labeled_batch"))
        if batches is not None:
            used = [plan.unlabeled_batch > 0 for plan in plans]
            numbers["unlabeled_batch"] = [n * use for n, use in zip(batches, used, strict=True)]
    return tuple(
        _changed(plan, {key: values[index] for key, values in numbers.items()}, index)
        for index, plan in enumerate(plans)
    )


def _per_stage(key: str, value: Any, stages: int) -> list[Any]:
    values = value if isinstance(value, list) else [value] * stages
    if len(values) != stages:
        raise ValueError(f"{key} must be one value, or one for each stage ({stages}), got {values}")
    return values


def _changed(plan: StagePlan, own: dict[str, Any], index: int) -> StagePlan:
    unlabeled = own.get("unlabeled_batch", plan.unlabeled_batch)
    if bool(unlabeled) != bool(plan.unlabeled_batch):
        rule = "at least 1" if plan.unlabeled_batch else "0: it uses no unlabeled images"
        raise ValueError(f"unlabeled_batch of stage {index + 1} must be {rule}, got {unlabeled}")
    if "schedule" in own:
        own = {**own, "schedule": schedule_named(own["schedule"])}
    return replace(plan, **own)


def override_optimizer(optimizer: Optimizer, chosen: Mapping[str, Any]) -> Optimizer:
    """The student's optimizer with what a row sets for it.

    Args:
        optimizer: Of preset and recipe. chosen: As `check_overrides` returns it; another optimizer
            by name begins with its own learning rate.
    Raises:
        ValueError: a number that this optimizer does not have.

    >>> override_optimizer(Sgd(), {"lr": 0.03, "weight_decay": 0.0})
    Sgd(lr=0.03, momentum=0.9, weight_decay=0.0)
    """
    if "optimizer" in chosen and not isinstance(optimizer, OPTIMIZERS[chosen["optimizer"]]):
        optimizer = OPTIMIZERS[chosen["optimizer"]]()
    numbers = {key: chosen[key] for key in OF_OPTIMIZER[1:] if key in chosen}
    known = [field.name for field in fields(optimizer)]
    if unknown := sorted(set(numbers) - set(known)):
        raise ValueError(
            f"{unknown[0]} must be one of {known}, the numbers of {type(optimizer).__name__}; "
            f"another optimizer ({', '.join(sorted(OPTIMIZERS))}) is set by optimizer=NAME"
        )
    if "betas" in numbers:
        numbers["betas"] = tuple(numbers["betas"])
    return replace(optimizer, **numbers)
