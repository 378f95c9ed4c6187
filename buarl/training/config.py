"""Every number of a run as data: presets on top of the published recipes.

An experiment is a row: `Experiment(method="bcp", labeled_rule=url(), ...)`. `config_for` looks up
its numbers, `build_method` makes the method.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import torch

from buarl.losses import DICES, Reduction
from buarl.methods import METHODS, Method
from buarl.methods.base import Adam
from buarl.methods.recipe import StagePlan
from buarl.networks import UNet, VNet
from buarl.regions import Rule, whole
from buarl.schedules import Poly, Schedule


@dataclass(frozen=True)
class Config:
    """The numbers of a run. `replace(config, seed=2)` varies one.

    image_size: Training size, (rows, columns) or the 3-D patch. labeled: Labeled patients, None
    for all. width: Channels of the network's first level. settings: Arguments of the method.
    eval_stride: Of the sliding window, 3-D only. checkpoint_every: Steps between checkpoints.
    shrink: 3-D volumes are taken at 1/shrink of their resolution, predictions are sent back.
    standardise: 3-D volumes are brought to mean 0, deviation 1 once more. LA's files are scaled
        over the uncropped scan, so a left atrium's mean runs from 0.3 to 3.9 between scans.
    """

    preset: str
    image_size: tuple[int, ...]
    stages: tuple[StagePlan, ...]
    labeled: int | None
    seed: int = 1337
    width: int = 16
    precision: str = "auto"
    settings: Mapping = field(default_factory=dict)
    eval_stride: tuple[int, ...] | None = None
    checkpoint_every: int = 200
    shrink: int = 1
    standardise: bool = False

    def shortened(self, steps: int) -> Config:
        """The same with so many steps in every stage; schedules and ramps shrink along."""
        return replace(self, stages=tuple(replace(plan, steps=steps) for plan in self.stages))


@dataclass(frozen=True)
class Preset:
    """How a preset shortens the published schedule; schedules and ramps scale with the steps."""

    steps: int | None = None  # of every stage; None keeps the published number
    labeled_batch: int | None = None
    width: int = 16
    image_size: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    eval_stride: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shrink: int = 1  # 3-D only
    standardise: bool = False  # 3-D only
    schedule: Schedule | None = None  # of every stage; None keeps the published one
    precision: str = "auto"
    settings: Mapping = field(default_factory=dict)  # on top of the method's own
    variants: Mapping[str, Mapping] = field(default_factory=dict)  # other numbers of a family

    def of(self, family: str) -> Preset:
        """The preset with the numbers it has for a family of data."""
        return replace(self, **self.variants.get(family, {}))


# A step decay meant for 6,000 or 15,000 steps would leave a short run 80 steps at its full rate.
_SHORT_3D = {"schedule": Poly(), "settings": {"optimizer": Adam(0.004)}}

PRESETS: dict[str, Preset] = {
    "toy": Preset(
        steps=200,
        labeled_batch=8,
        width=8,
        image_size={"acdc": (64, 64), "la": (48, 48, 32)},
        precision="fp32",
        settings={"optimizer": Adam(0.004)},
        variants={"la": _SHORT_3D},
    ),
    "mini": Preset(
        steps=1000,
        labeled_batch=12,
        image_size={"acdc": (128, 128), "la": (64, 64, 32)},
        variants={"la": {"steps": 400, "width": 8, "shrink": 2, "standardise": True, **_SHORT_3D}},
    ),
    "paper": Preset(
        image_size={"acdc": (256, 256), "la": (112, 112, 80)}, eval_stride={"la": (18, 18, 4)}
    ),
}

FAMILY = {
    "phantom": "acdc",
    "acdc": "acdc",
    "own_2d": "acdc",
    "la": "la",
    "phantom_la": "la",
    "own_3d": "la",
}
"""Which recipe a source follows."""


@dataclass(frozen=True)
class Experiment:
    """One row of a table: what is trained on what. Plain data, written into every run folder."""

    method: str = "bcp"
    labeled_rule: Rule = whole()
    unlabeled_rule: Rule = whole()
    labeled_reduction: Reduction = "voxel"
    unlabeled_reduction: Reduction = "voxel"
    options: Mapping = field(default_factory=dict)  # more arguments of the method
    source: str = "phantom"
    labeled: int | None = 3
    preset: str = "toy"
    seed: int = 1337

    def __post_init__(self) -> None:
        if json.loads(json.dumps(dict(self.options), default=str)) != dict(self.options):
            raise ValueError(f"options of a row must be plain JSON, got {dict(self.options)}")

    def as_dict(self) -> dict:
        """Plain types for JSON."""
        return {**asdict(self), "options": dict(self.options)}

    @classmethod
    def from_dict(cls, row: Mapping) -> Experiment:
        """The row back from JSON."""
        rules = {key: Rule(**row[key]) for key in ("labeled_rule", "unlabeled_rule")}
        return cls(**{**row, **rules})


def config_for(experiment: Experiment) -> Config:
    """The numbers of a row.

    Raises:
        ValueError: unknown method, preset or source, or a preset without that source.
    """
    family = _lookup(FAMILY, experiment.source, "source")
    _lookup(METHODS, experiment.method, "method")
    preset = _lookup(PRESETS, experiment.preset, "preset").of(family)
    if family not in preset.image_size:
        raise ValueError(
            f"preset {experiment.preset!r} has no image size for {experiment.source!r}"
        )
    recipe = METHODS[experiment.method].recipe({"acdc": 2, "la": 3}[family])
    batch = preset.labeled_batch if family == "acdc" else None  # 3-D keeps its small batches
    stages = tuple(
        replace(
            plan,
            steps=preset.steps or plan.steps,
            schedule=preset.schedule or plan.schedule,
            labeled_batch=batch or plan.labeled_batch,
            unlabeled_batch=(batch or plan.unlabeled_batch) if plan.unlabeled_batch else 0,
        )
        for plan in recipe.stages
    )
    return Config(
        preset=experiment.preset,
        image_size=preset.image_size[family],
        stages=stages,
        labeled=experiment.labeled,
        seed=experiment.seed,
        width=preset.width,
        precision=preset.precision,
        settings={**recipe.settings, **preset.settings},
        eval_stride=preset.eval_stride.get(family),
        shrink=preset.shrink,
        standardise=preset.standardise,
    )


def build_method(experiment: Experiment, num_classes: int) -> Method:
    """The method of a row with freshly initialised networks; the seed decides their weights."""
    config = config_for(experiment)
    rules = {
        "labeled_rule": experiment.labeled_rule,
        "labeled_reduction": experiment.labeled_reduction,
        "unlabeled_rule": experiment.unlabeled_rule,
        "unlabeled_reduction": experiment.unlabeled_reduction,
    }
    arguments = {**config.settings, **rules, **experiment.options}
    _check_options(experiment)
    if isinstance(arguments.get("dice"), str):
        arguments["dice"] = _lookup(DICES, arguments["dice"], "dice")
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)
        network = (UNet if len(config.image_size) == 2 else VNet)(num_classes, config.width)
        return METHODS[experiment.method](network, **arguments)  # may add heads and networks


def _check_options(experiment: Experiment) -> None:
    known = METHODS[experiment.method].defaults()
    if unknown := sorted(set(experiment.options) - set(known)):
        raise ValueError(f"{experiment.method} has no option {unknown}; it has {sorted(known)}")


def _lookup(table: Mapping, key: str, what: str):
    if key not in table:
        raise ValueError(f"{what} must be one of {sorted(table)}, got {key!r}")
    return table[key]
