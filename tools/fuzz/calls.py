"""Public functions, each with right arguments, of which one or two are then spoiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import buarl
from buarl import copy_paste, dice, ema, entropy, losses, rule, schedules
from buarl.evaluation import metrics

from . import results
from .arguments import spoil
from .judge import Input
from .results import Arguments


@dataclass(frozen=True)
class Call:
    """A function and right arguments.

    words: Of which a refusal names one, besides the arguments. rule: What is wrong with a result.
    """

    function: Callable[..., Any]
    arguments: Callable[[], Arguments]
    rule: Callable[[Any, Arguments], str | None] = lambda result, given: None
    words: tuple[str, ...] = ()


def _logits() -> Tensor:
    return torch.linspace(-3, 3, 48).reshape(2, 3, 2, 4)


def _probs() -> Tensor:
    return _logits().roll(5).softmax(1)


def _target() -> Tensor:
    return torch.arange(16).reshape(2, 2, 4) % 3


def _regions() -> list[rule.Region]:
    mask = _target() == 1
    return [rule.Region(mask, 1.0), rule.Region(~mask, torch.full((2, 2, 4), 0.5))]


def _mask() -> np.ndarray:
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:5] = True
    return mask


def _teach(teacher: Any, student: Any, ema_decay: Any, buffers: Any) -> list[Tensor]:
    ema.update_teacher(teacher, student, ema_decay, buffers=buffers)
    return [p.detach().clone() for p in teacher.state_dict().values()]


def _network(start: float) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    for k, parameter in enumerate(network.parameters()):
        nn.init.constant_(parameter, start + k)
    return network


def _boxed(spatial: Any, share: Any) -> tuple:
    return tuple(copy_paste.sample_box(spatial, share, torch.Generator().manual_seed(0)))


RULE = {
    "name": "url",
    "percentile": 95.0,
    "uncertain_weight": 1.0,
    "certain_weight": 0.5,
    "scope": "batch",
}
WEIGHING = {"reduction": "voxel"}
SCORING = {"spacing": (1.5, 2.0), "empty": "diagonal"}
PROBS = ("probabilities", "entropy")
AT = {"step": 5, "steps": 10}
CALLS: dict[str, Call] = {
    "entropy_of_probs": Call(
        entropy.entropy_of_probs, lambda: {"probs": _probs()}, results.is_map(math.inf)
    ),
    "entropy_map": Call(
        entropy.entropy_map, lambda: {"logits": _logits()}, results.is_map(math.log(3))
    ),
    "most_likely": Call(entropy.most_likely, lambda: {"probs": _probs()}),
    "entropy_threshold": Call(
        entropy.entropy_threshold,
        lambda: {"entropy": _probs()[:, 0], "percentile": 95.0, "scope": "batch"},
        lambda r, g: None if r.dtype == torch.float64 and not r.isnan().any() else f"{r}",
    ),
    "uncertain_mask": Call(
        entropy.uncertain_mask,
        lambda: {"entropy": _probs()[:, 0], "percentile": 95.0, "scope": "image"},
        results.is_mask,
    ),
    "region_loss": Call(
        lambda **given: losses.region_loss(**given),
        lambda: {
            "logits": _logits(),
            "target": _target(),
            "regions": _regions(),
            **WEIGHING,
            "dice": dice.DICE_SSL4MIS,
            "ce_share": 0.5,
        },
        results.is_loss,
        ("weight", "region", "classes"),
    ),
    "consistency_loss": Call(
        losses.consistency_loss,
        lambda: {
            "probs": _probs(),
            "teacher_probs": _logits().softmax(1),
            "regions": _regions(),
            **WEIGHING,
        },
        results.is_loss,
        ("weight", "region"),
    ),
    "region_mean": Call(
        losses.region_mean,
        lambda: {"values": _probs()[:, 0], "regions": _regions(), **WEIGHING},
        results.is_loss,
        ("weight", "region"),
    ),
    "voxel_weights": Call(
        losses.voxel_weights,
        lambda: {"regions": _regions(), "reduction": "region"},
        results.weighed,
        ("weight", "region"),
    ),
    "dice_loss": Call(
        dice.dice_loss,
        lambda: {
            "probs": _probs().flatten(2),
            "target": _target().flatten(1),
            "masks": torch.ones(2, 1, 8),
            "dice": dice.DICE_BCP_LA,
        },
        lambda r, g: None if r.ndim == 1 else f"{r}",
    ),
    "Dice": Call(
        dice.Dice,
        lambda: {
            "squared": True,
            "per_sample": False,
            "background": True,
            "smooth": 1e-5,
            "overlap_factor": 2.0,
            "smooth_above": True,
        },
        lambda r, g: results.is_loss(
            losses.region_loss(_logits(), _target(), _regions(), reduction="voxel", dice=r), {}
        ),
    ),
    "dice_by_name": Call(dice.dice_by_name, lambda: {"name": "bcp_la"}, words=("dice",)),
    "check_regions": Call(
        lambda regions: rule.check_regions(regions, (2, 2, 4), "logits"),
        lambda: {"regions": _regions()},
        words=("weight", "region"),
    ),
    "within": Call(
        rule.within,
        lambda: {"regions": _regions(), "place": torch.ones(2, 4).bool()},
        lambda r, g: None if all(m.dtype == torch.bool for m, _ in r) else "no masks",
        ("mask", "region"),
    ),
    "update_teacher": Call(
        _teach,
        lambda: {"teacher": _network(1), "student": _network(3), "ema_decay": 0.9, "buffers": True},
        lambda r, g: None if all(t.isfinite().all() for t in r) else "not finite",
    ),
    "ema_decay_at": Call(ema.ema_decay_at, lambda: {"step": 7, "limit": 0.5}, results.is_share),
    "sample_box": Call(
        _boxed, lambda: {"spatial": (8, 6), "share": 0.5}, results.box_fits, ("axis", "size")
    ),
    "outside_mask": Call(
        copy_paste.outside_mask,
        lambda: {"spatial": (8, 6), "box": copy_paste.Box((1, 2), (3, 3))},
        lambda r, g: (
            None if r.dtype == torch.bool and r.shape == tuple(g["spatial"]) else f"{r}"[:200]
        ),
        ("axis", "size", "start"),
    ),
    "copy_paste": Call(
        copy_paste.copy_paste,
        lambda: {
            "outside_image": torch.zeros(2, 1, 4, 3),
            "inside_image": torch.ones(2, 1, 4, 3),
            "outside": torch.arange(12).reshape(4, 3) > 5,
        },
    ),
    "ramp": Call(
        schedules.ramp, lambda: {"step": 3, "length": 10.0, "levels": 40}, results.is_share
    ),
    "Poly": Call(
        lambda power, step, steps: schedules.Poly(power)(step, steps),
        lambda: {"power": 0.9, **AT},
        results.is_share,
    ),
    "StepDecay": Call(
        lambda share, step, steps: schedules.StepDecay(share)(step, steps),
        lambda: {"share": 0.4, **AT},
        results.is_share,
    ),
    "Constant": Call(
        lambda step, steps: schedules.Constant()(step, steps), lambda: {**AT}, results.is_share
    ),
    "case_metrics": Call(
        metrics.case_metrics,
        lambda: {"prediction": _mask(), "target": np.roll(_mask(), 1), **SCORING},
        results.is_scores,
        ("masks",),
    ),
    "multiclass_metrics": Call(
        metrics.multiclass_metrics,
        lambda: {"prediction": _mask() * 2, "label": _mask() + 0, "num_classes": 3, **SCORING},
        results.is_scores,
        ("masks", "target"),
    ),
    "metric_definition": Call(
        metrics.metric_definition, lambda: {"spacing": (1.0, 2.0), "empty": "nan", "unit": "mm"}
    ),
    "url": Call(
        buarl.url, lambda: {"percentile": 95.0, "alpha": 0.5, "scope": "batch"}, results.ruled
    ),
    "crl": Call(
        buarl.crl, lambda: {"percentile": 99.0, "alpha": 0.5, "scope": "image"}, results.ruled
    ),
    "drop": Call(buarl.drop, lambda: {"percentile": 99.0, "scope": "batch"}, results.ruled),
    "confidence": Call(buarl.confidence, lambda: {"threshold": 0.9}, results.ruled),
    "url()": Call(buarl.url(50), lambda: {"probs": _probs()}, results.are_regions, PROBS),
    "crl()": Call(
        buarl.crl(50, scope="image"), lambda: {"probs": _probs()}, results.are_regions, PROBS
    ),
    "soft_certainty()": Call(
        buarl.soft_certainty(), lambda: {"probs": _probs()}, results.are_regions, PROBS
    ),
    "confidence()": Call(
        buarl.confidence(0.9), lambda: {"probs": _probs()}, results.are_regions, PROBS
    ),
    "whole()": Call(buarl.whole(), lambda: {"probs": _probs()}, results.are_regions, PROBS),
    "rule_from_dict": Call(
        lambda **data: buarl.rule_from_dict(data), lambda: {**RULE}, results.ruled, ("rule", "url")
    ),
    "load_code": Call(buarl.load_code, lambda: {"place": "fractions:Fraction"}, words=("no", ":")),
    "open_source": Call(
        lambda name, root: buarl.open_source(name, root).name,
        lambda: {"name": "phantom", "root": None},
        words=("source", "train"),
    ),
    "Experiment": Call(
        buarl.Experiment,
        lambda: {
            "method": "bcp",
            "labeled_rule": buarl.url(),
            "unlabeled_rule": buarl.crl(),
            "options": {},
            "labeled_reduction": "voxel",
            "source": "phantom",
            "labeled": 3,
            "preset": "toy",
            "seed": 1,
            "set": {"steps": 5},
            "network": None,
            "network_options": {},
        },
        words=("row",),
    ),
    "config_for": Call(
        lambda **given: buarl.config_for(buarl.Experiment(**given)),
        lambda: {
            "method": "bcp",
            "source": "acdc",
            "labeled": 3,
            "preset": "toy",
            "seed": 1,
            "set": {"lr": 0.1},
        },
        words=("row",),
    ),
}
WITHOUT_EQUAL = ("Experiment", "config_for")  # their numbers are kept as they were given


def call(folder: Path, rng: Random, name: str | None = None) -> Input:
    """One or two arguments of one function are replaced."""
    name = name or rng.choice(sorted(CALLS))
    spec = CALLS[name]
    right = {"result": spec.function(**spec.arguments())}
    given, done, kept = spec.arguments(), [], True
    for key in rng.sample(sorted(given), min(len(given), rng.choice((1, 1, 1, 2)))):
        given[key], how, alike = spoil(given[key], rng)
        done.append(f"{key}={how}")
        kept = kept and alike
    names = [*given, *spec.words]
    free = frozenset() if kept and name not in WITHOUT_EQUAL else None
    anywhere = Path("/") if name == "open_source" else None  # a data set lies where its root says
    return Input(
        f"{name}({', '.join(done)})",
        lambda: {"result": spec.function(**given)},
        right,
        names,
        free,
        lambda found: spec.rule(found["result"], given),
        anywhere,
    )
