"""Every number of a run as data: the published recipe, a preset on top, the row's own numbers last.

An experiment is a row: `Experiment(method="bcp", labeled_rule=url(), ...)`. `config_for` looks up
its numbers, `build_method` makes the method.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from inspect import isabstract
from numbers import Integral
from typing import Any

import torch

from buarl.arguments import short
from buarl.data.source import rank_of
from buarl.data.strong_views import strong_views_from
from buarl.dice import dice_by_name
from buarl.methods import METHODS, Method
from buarl.methods.base import Sgd
from buarl.methods.recipe import StagePlan
from buarl.outside import Code, find_code, is_outside
from buarl.training.experiment import Experiment
from buarl.training.network import build_network
from buarl.training.overrides import (
    KEYS,
    OF_OPTIMIZER,
    PLAIN,
    override_optimizer,
    override_stages,
)
from buarl.training.presets import PRESETS, Preset

__all__ = [
    "PRESETS",
    "Config",
    "Experiment",
    "Preset",
    "StagePlan",
    "build_method",
    "config_for",
    "method_class",
]


@dataclass(frozen=True)
class Config:
    """The numbers of a run. `replace(config, seed=2)` varies one.

    Args:
        preset: Its name.
        image_size: Training size, (rows, columns) or the 3-D patch.
        stages: Steps, batch and schedule of every stage.
        labeled: Labeled patients, None for all.
        seed: Decides every draw.
        width: Channels of the network's first level.
        precision: See `choose_engine`.
        settings: Arguments of the method.
        eval_stride: Stride of the sliding window, 3-D only.
        checkpoint_every: Steps between checkpoints.
        shrink: 3-D volumes are taken at 1/shrink of their resolution, predictions are sent back.
        standardise: 3-D volumes are brought to mean 0, deviation 1 once more. LA's files are scaled
            over the uncropped scan, so a left atrium's mean runs from 0.3 to 3.9 between scans.
        labeled_draw: Which patients are labeled, see `Source.drawn`.
    """

    preset: str
    image_size: tuple[int, ...]
    stages: tuple[StagePlan, ...]
    labeled: int | None
    seed: int = 1337
    width: int = 16
    precision: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    eval_stride: tuple[int, ...] | None = None
    checkpoint_every: int = 200
    shrink: int = 1
    standardise: bool = False
    labeled_draw: int | None = None

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "width", "shrink"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}")
        if not isinstance(self.seed, Integral) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be a whole number, 0 to 2**63 - 1, got {self.seed!r}")

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of every stage."""
        return tuple(plan.steps for plan in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """Plain types for JSON; what is a class says which."""
        return json.loads(
            json.dumps(vars(self), default=lambda data: {"type": type(data).__name__, **vars(data)})
        )

    def shortened(self, steps: int) -> Config:
        """The same with so many steps in every stage; schedules and ramps shrink along."""
        return replace(self, stages=tuple(replace(plan, steps=steps) for plan in self.stages))


def config_for(experiment: Experiment, code: Code = ()) -> Config:
    """The numbers of a row: the method's recipe, shortened by the preset, then what the row sets.

    Args:
        experiment: The row.
        code: A method from outside the package that may be used, see `buarl.outside`.
    Raises:
        ValueError: unknown method, preset or source, a preset without sizes for that source, or a
            number in `set` that does not fit method or data.

    >>> config_for(Experiment("mean_teacher", set={"steps": 50, "lr": 0.03})).stages[0].steps
    50
    """
    rank, kind = rank_of(experiment.source), method_class(experiment.method, code)
    preset = _lookup(PRESETS, experiment.preset, "preset").for_rank(rank)
    recipe, own = kind.recipe(rank), experiment.set
    if rank not in preset.image_size and "image_size" not in own:
        raise ValueError(
            f"preset {experiment.preset!r} has no image size for {experiment.source!r}"
        )
    last = len(recipe.stages) - 1
    stages = tuple(preset.shortened(p, rank, last - i) for i, p in enumerate(recipe.stages))
    settings = {**recipe.settings, **preset.settings}
    if any(key in own for key in OF_OPTIMIZER):
        ours = settings.get("optimizer", kind.defaults().get("optimizer", Sgd()))
        settings["optimizer"] = override_optimizer(ours, own)
    config = Config(
        preset=experiment.preset,
        image_size=preset.image_size.get(rank, ()),
        stages=override_stages(stages, own),
        labeled=experiment.labeled,
        seed=experiment.seed,
        width=preset.width,
        precision=preset.precision,
        settings=settings,
        eval_stride=preset.eval_stride.get(rank),
        shrink=preset.shrink,
        standardise=preset.standardise,
    )
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in own.items() if k in PLAIN}
    config = replace(config, **plain)
    _check_sizes(experiment, config, rank)
    return config


def _check_sizes(experiment: Experiment, config: Config, rank: int) -> None:
    """What a row sets must fit the rank of its data and the paper's networks."""
    own, data = experiment.set, experiment.source
    for key, value in own.items():
        if rank == 2 and KEYS[key].volumes_only:
            raise ValueError(f"{key} must not be set for slices such as {data!r}, got {value}")
        if key in ("image_size", "eval_stride") and len(value) != rank:
            raise ValueError(f"{key} must be {rank} numbers for {data!r}, got {value}")
    if experiment.network is None and any(n % 16 for n in own.get("image_size", ())):
        raise ValueError(
            f"image_size must be multiples of 16 for U-Net and V-Net, got {own['image_size']}"
        )
    strides = zip(config.eval_stride or (), config.image_size, strict=False)
    if rank == 3 and any(stride > size for stride, size in strides):
        raise ValueError(
            f"eval_stride must not exceed image_size {config.image_size}, got {config.eval_stride}"
        )


def method_class(name: str, code: Code = ()) -> type[Method]:
    """The class of a method by its name in a row.

    Args:
        name: One of `METHODS`, or "my_method.py:MyMethod".
        code: What may be used from outside, see `buarl.outside`.
    Raises:
        ValueError: unknown, not named by `code`, or not a complete method.
    """
    if not is_outside(name):
        if name not in METHODS:
            raise ValueError(
                f"method must be one of {sorted(METHODS)} or FILE.py:CLASS, got {name!r}"
            )
        return METHODS[name]
    found = find_code(name, code, "method")
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(f"method {name} must be a class below buarl.methods.Method, got {found!r}")
    parts = ("training_step", "stages")
    own = [part for part in parts if getattr(found, part, None) is not getattr(Method, part, None)]
    if isabstract(found) or not own:
        raise ValueError(f"method {name} must define training_step, as every method does")
    return found


def build_method(
    experiment: Experiment, num_classes: int, code: Code = (), config: Config | None = None
) -> Method:
    """The method of a row with freshly initialised networks; the seed decides their weights.

    Args:
        experiment: The row.
        num_classes: C, background included.
        code: What may be used from outside the package, see `buarl.outside`.
        config: The row's numbers where they are at hand; else `config_for` looks them up.
    Raises:
        ValueError: what `config_for` and `build_network` raise, an option that the method does not
            have, or a network without the parts that the method needs.
    """
    config = config or config_for(experiment, code)
    kind = method_class(experiment.method, code)
    rules = {
        "labeled_rule": experiment.labeled_rule,
        "labeled_reduction": experiment.labeled_reduction,
        "unlabeled_rule": experiment.unlabeled_rule,
        "unlabeled_reduction": experiment.unlabeled_reduction,
    }
    of_preset = {key: each for key, each in config.settings.items() if key not in kind.unused}
    arguments = {**of_preset, **rules, **experiment.options}
    _check_options(experiment, kind)
    if isinstance(arguments.get("dice"), str):
        arguments["dice"] = dice_by_name(arguments["dice"])
    if "strong_views" in arguments:
        arguments["strong_views"] = strong_views_from(arguments["strong_views"])
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        network = build_network(
            num_classes,
            config.image_size,
            config.width,
            name=experiment.network,
            options=experiment.network_options,
            code=code,
        )
        try:
            return kind(network, **arguments)  # may add heads and networks
        except TypeError as error:
            if experiment.network is None and not is_outside(experiment.method):
                raise
            raise ValueError(f"method {experiment.method}: {error}") from error


def _check_options(experiment: Experiment, kind: type[Method]) -> None:
    known = kind.defaults()
    if unknown := sorted(set(experiment.options) - set(known)):
        raise ValueError(f"{experiment.method} has no option {unknown}; it has {sorted(known)}")


def _lookup(table: Mapping[str, Any], key: str, what: str) -> Any:
    if not isinstance(key, str) or key not in table:
        raise ValueError(f"{what} must be one of {sorted(table)}, got {short(key)}")
    return table[key]
