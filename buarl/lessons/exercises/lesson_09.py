"""Judges of lesson 09, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "09.1",
    hint="pool both lists before you take the mean.",
    praise="Swapped arguments no longer matter, and a missed part is seen.",
)
def symmetric_asd(answer: Callable[..., Any]) -> str | None:
    """Mean over the surface distances of both directions."""
    one, other = np.array([0.0, 0, 1]), np.array([0.0, 2, 3, 3, 5, 8])
    mistakes = {
        "that looks one way only, as before.": one.mean(),
        "that is the mean of two means; the longer list must count for more.": (
            (one.mean() + other.mean()) / 2
        ),
        "that is the 95th percentile, not the mean.": np.percentile(np.r_[one, other], 95),
    }
    return off(answer(one, other), np.r_[one, other].mean(), mistakes=mistakes)


@exercise(
    "09.2",
    hint="the volume has 1,028 target voxels, of which 1,024 are found; the last slice has Dice 0.",
    praise="Four voxels of 1,028 cost a fifth of the mean over slices.",
)
def slices_or_volume(answer: Any) -> str | None:
    """Dice of a volume, and mean Dice of its slices."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "two numbers are asked for: the volume's, then the mean over slices."
    volume, mean = answer
    wrong = off(volume, 2 * 1024 / (1024 + 1028), tolerance=6e-4, what="the Dice of the volume")
    return wrong or off(mean, 0.8, tolerance=1e-3, what="the mean over slices")


@exercise(
    "09.3",
    hint="what is the expected maximum of two independent standard normal numbers?",
    praise="Two looks already flatter by half a point of noise.",
)
def flattery(answer: Any) -> str | None:
    """Expected maximum of two standard normal numbers."""
    mistakes = {
        "that is their expected distance; the better one is half of it above the truth.": (
            2 / np.sqrt(np.pi)
        ),
        "one of them is right on average, but the better one is not.": 0.0,
    }
    return off(answer, 1 / np.sqrt(np.pi), mistakes=mistakes, tolerance=0.03)
