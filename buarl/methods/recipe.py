"""Where a method comes from, and how its publication trains it: data that stands in its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buarl.schedules import Constant, Poly, Schedule, StepDecay


@dataclass(frozen=True)
class Paper:
    """The publication of a method.

    >>> paper = Paper("Ann Author", "A Title", "Some Conference 2020", 2020)
    >>> print(paper)
    Ann Author: A Title. Some Conference 2020.
    """

    authors: str
    title: str
    venue: str
    year: int
    url: str = ""

    def __str__(self) -> str:
        return f"{self.authors}: {self.title}. {self.venue}. {self.url}".strip()


@dataclass(frozen=True)
class Reference:
    """Public code of a method, which we read for its facts.

    >>> Reference("owner/repository", "0123abc", "code/train.py", "2-D").url
    'https://github.com/owner/repository/blob/0123abc/code/train.py'
    """

    repository: str
    commit: str
    path: str
    note: str = ""

    @property
    def url(self) -> str:
        """The file at that commit."""
        return f"https://github.com/{self.repository}/blob/{self.commit}/{self.path}"


@dataclass(frozen=True)
class StagePlan:
    """The numbers of one stage: its steps, the samples of a step, and its learning rate.

    steps: How many steps the stage takes.
    labeled_batch, unlabeled_batch: Labeled and unlabeled samples of every step.
    schedule: Factor on the learning rate of every step, see `buarl.schedules`.

    >>> StagePlan(steps=100, labeled_batch=4, unlabeled_batch=4).schedule(step=50, steps=100)
    1.0
    """

    steps: int
    labeled_batch: int
    unlabeled_batch: int
    schedule: Schedule = Constant()


@dataclass(frozen=True)
class Recipe:
    """How a method is trained on images of one rank: a plan for each stage, and its options.

    >>> Recipe((StagePlan(100, 4, 4),), {"ce_share": 0.0}).stages[0].steps
    100
    """

    stages: tuple[StagePlan, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def recipe_2d(*, steps: int = 30_000, schedule: Schedule = Poly(), **settings: Any) -> Recipe:
    """One stage of 12 labeled and 12 unlabeled slices, as SSL4MIS trains on ACDC.

    >>> recipe_2d(ce_share=0.0).settings
    {'ce_share': 0.0}
    """
    return Recipe((StagePlan(steps, 12, 12, schedule),), settings)


def recipe_3d(
    *, steps: int = 6_000, schedule: Schedule = StepDecay(2500 / 6000), **settings: Any
) -> Recipe:
    """One stage of 2 labeled and 2 unlabeled patches, as UA-MT trains on LA.

    >>> recipe_3d().stages[0].labeled_batch
    2
    """
    return Recipe((StagePlan(steps, 2, 2, schedule),), settings)


def ramped_recipe_3d(*, steps: int = 6_000, **settings: Any) -> Recipe:
    """`recipe_3d` with the ramp of UA-MT: 40 levels from the first step, full after 6,000 steps.

    >>> ramped_recipe_3d(steps=12_000).settings["ramp_share"]
    0.5
    """
    ramp = {"ramp_levels": 40, "ramp_share": 6_000 / steps, "consistency_start": 0.0}
    return recipe_3d(steps=steps, **{**ramp, **settings})
