"""Presets: how far the published schedules are shortened, for slices and for volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from buarl.data.strong_views import StrongViews
from buarl.methods.base import Adam, Sgd
from buarl.methods.recipe import StagePlan
from buarl.schedules import OneCycle, Poly, Schedule


@dataclass(frozen=True)
class Preset:
    """How a preset shortens the published schedule; learning rates and ramps scale with the steps.

    Args:
        steps: Of every stage, or of each; a method of fewer stages takes the last of those. None
            keeps the published number.
        labeled_batch: Samples of each half of a batch of slices; None keeps the published number.
            Volumes keep their small batches.
        width: Channels of the network's first level.
        image_size: Training size by rank, (rows, columns) for 2 and the patch for 3.
        eval_stride: Stride of the sliding window by rank; without one, half the patch.
        shrink: Volumes are taken at 1/shrink of their resolution.
        standardise: Volumes are brought to mean 0, deviation 1 once more.
        schedule: Of every stage; None keeps the published one.
        precision: See `choose_engine`.
        settings: Arguments of the method, on top of the recipe's.
        variants: By rank, other numbers than those above.
    """

    steps: int | tuple[int, ...] | None = None
    labeled_batch: int | None = None
    width: int = 16
    image_size: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    eval_stride: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    shrink: int = 1
    standardise: bool = False
    schedule: Schedule | None = None
    precision: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def for_rank(self, rank: int) -> Preset:
        """The preset with the numbers it has for images of a rank, 2 or 3."""
        return replace(self, **self.variants.get(rank, {}))

    def shortened(self, plan: StagePlan, rank: int, left: int = 0) -> StagePlan:
        """A stage of the published schedule as the preset has it.

        Args:
            plan: The published numbers.
            rank: Of the images, 2 or 3.
            left: How many stages come after this one.
        """
        batch = self.labeled_batch if rank == 2 else None  # 3-D keeps its small batches
        several = isinstance(self.steps, tuple)
        steps = self.steps[max(-1 - left, -len(self.steps))] if several else self.steps
        return replace(
            plan,
            steps=steps or plan.steps,
            schedule=self.schedule or plan.schedule,
            labeled_batch=batch or plan.labeled_batch,
            unlabeled_batch=(batch or plan.unlabeled_batch) if plan.unlabeled_batch else 0,
        )


# A step decay meant for 6,000 or 15,000 steps would leave a short run 80 steps at its full rate.
_SHORT_3D = {"schedule": Poly(), "settings": {"optimizer": Adam(0.004)}}

_QUICK_VIEWS = StrongViews(
    **{"brightness": 0.3, "contrast": 0.3, "gamma": 0.3, "noise": 0.03, "blur": 0.8},
    **{"share": 0.8, "noise_share": 0.5, "blur_share": 0.5},
)

PRESETS: dict[str, Preset] = {
    "toy": Preset(
        steps=200,
        labeled_batch=8,
        width=8,
        image_size={2: (64, 64), 3: (48, 48, 32)},
        precision="fp32",
        settings={"optimizer": Adam(0.004)},
        variants={3: _SHORT_3D},
    ),
    "lesson": Preset(  # what the lessons' networks are trained with, see buarl/lessons/networks
        steps=1200,
        labeled_batch=4,
        width=6,
        image_size={2: (128, 128)},
        precision="fp32",
        settings={"optimizer": Adam(0.004)},
    ),
    "mini": Preset(
        steps=1000,
        labeled_batch=12,
        image_size={2: (128, 128), 3: (64, 64, 32)},
        variants={3: {"steps": 400, "width": 8, "shrink": 2, "standardise": True, **_SHORT_3D}},
    ),
    # Every change is explained, and what was tried is told, in docs/quick.md.
    "quick": Preset(
        steps=(4000, 8000),
        labeled_batch=6,
        image_size={2: (128, 128), 3: (64, 64, 32)},
        schedule=OneCycle(warm_up=0.2, first=0.05, last=0.002),
        settings={"optimizer": Sgd(0.02), "strong_views": _QUICK_VIEWS},
        variants={
            3: {
                "steps": (600, 1400),
                "shrink": 2,
                "standardise": True,
                "settings": {"optimizer": Sgd(0.03), "strong_views": _QUICK_VIEWS},
            }
        },
    ),
    "paper": Preset(image_size={2: (256, 256), 3: (112, 112, 80)}, eval_stride={3: (18, 18, 4)}),
}
