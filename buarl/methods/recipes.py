"""The published schedule and settings of every method on ACDC and LA (docs/protocol.md 5).

Where no reference exists for a data set ("own" in the protocol), the row says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from buarl.losses import D2, D2_BCP, D2_HALF, D3, DB, DF
from buarl.schedules import Constant, Poly, Schedule, StepDecay


@dataclass(frozen=True)
class StagePlan:
    """The numbers of one stage: steps, samples per step, learning-rate schedule."""

    steps: int
    labeled_batch: int
    unlabeled_batch: int
    schedule: Schedule = Constant()


@dataclass(frozen=True)
class Recipe:
    """A method's full schedule on a data set, and its settings there."""

    stages: tuple[StagePlan, ...]
    settings: Mapping = field(default_factory=dict)


def _acdc(*, steps: int = 30_000, schedule: Schedule = Poly(), **settings) -> Recipe:
    """One stage of 12 labeled and 12 unlabeled slices."""
    return Recipe((StagePlan(steps, 12, 12, schedule),), settings)


def _la(*, steps: int = 6_000, schedule: Schedule = StepDecay(2500 / 6000), **settings) -> Recipe:
    """One stage of 2 labeled and 2 unlabeled patches; the ramp is full after 6000 steps."""
    ramp = {"ramp_levels": 40, "ramp_share": 6_000 / steps, "consistency_start": 0.0}
    return Recipe((StagePlan(steps, 2, 2, schedule),), {**ramp, **settings})


_LONG = {"steps": 15_000, "schedule": StepDecay(2500 / 15_000)}
_BCP_LA = {
    "dice": D3,
    "mixed_label": True,
    "unlabeled_outside_first": False,
    "keep_optimizer": False,
    "ema_buffers": False,
}

PAPER: dict[tuple[str, str], Recipe] = {
    ("acdc", "supervised"): Recipe((StagePlan(30_000, 24, 0, Poly()),)),
    ("acdc", "mean_teacher"): _acdc(),
    ("acdc", "ua_mt"): _acdc(),
    ("acdc", "sassnet"): _acdc(consistency_weight=0.01, dice=D2, ce_share=0.0),  # own
    ("acdc", "dtc"): _acdc(dice=D2, ce_share=0.0),  # an unmerged SSL4MIS pull request, #37
    ("acdc", "urpc"): _acdc(),
    ("acdc", "mc_net"): _acdc(schedule=Constant(), dice=D2_HALF, ce_share=0.0),
    ("acdc", "ss_net"): _acdc(schedule=Constant(), dice=D2_BCP, ce_share=0.0),
    ("acdc", "bcp"): Recipe(
        (StagePlan(10_000, 12, 0), StagePlan(30_000, 12, 12)), {"dice": D2_BCP}
    ),
    ("la", "supervised"): Recipe((StagePlan(6_000, 4, 0, StepDecay(2500 / 6000)),), {"dice": DF}),
    ("la", "mean_teacher"): _la(dice=DF),  # UA-MT's recipe without its mask
    ("la", "ua_mt"): _la(dice=DF),
    ("la", "sassnet"): _la(dice=DF, ce_share=0.0, consistency_weight=0.015),
    ("la", "dtc"): _la(dice=DF, ce_share=0.0, consistency_weight=1.0),
    ("la", "urpc"): _la(),  # own: heads on the V-Net
    ("la", "mc_net"): _la(
        steps=15_000,
        schedule=Constant(),
        dice=DB,
        ce_share=0.0,
        labeled_weight=0.5,
        consistency_weight=1.0,
    ),
    ("la", "ss_net"): _la(
        **_LONG,
        dice=DB,
        ce_share=0.0,
        consistency_weight=1.0,
        epsilon=10.0,
        pool_classes=True,
    ),
    ("la", "bcp"): Recipe(
        (StagePlan(2_000, 4, 0), StagePlan(15_000, 4, 4, StepDecay(2500 / 15_000))), _BCP_LA
    ),
}
"""(family, method) -> recipe."""
