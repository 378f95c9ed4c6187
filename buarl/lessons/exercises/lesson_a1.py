"""Judges of appendix A1, raw scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "A1.1",
    hint="subtract the mean of the whole volume, then divide by its standard deviation.",
    praise="Brightness and contrast of the scanner are gone.",
)
def standardized(answer: Callable[..., Any]) -> str | None:
    """Mean 0 and deviation 1 over the volume."""
    volume = np.random.default_rng(0).integers(0, 3000, (4, 5, 6)).astype(np.int16)
    values = volume.astype(np.float64)
    mistakes = {
        "it is centered, but its deviation is not 1.": values - values.mean(),
        "each slice was scaled by itself; take the whole volume.": (
            (values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True)
        ),
        "that is a scale from 0 to 1, as 2-D recipes use it.": (values - values.min())
        / np.ptp(values),
    }
    right = (values - values.mean()) / values.std()
    return off(answer(volume), right, mistakes=mistakes, tolerance=1e-3, what="the volume")


@exercise(
    "A1.2",
    hint="the volume of one voxel in cubic millimeters, times their number; 1 ml is 1,000 of them.",
    praise="A normal left atrium holds some tens of milliliters, so this one is large.",
)
def milliliters(answer: Any) -> str | None:
    """31,250 voxels of 1.4 mm in milliliters."""
    mistakes = {
        "that is in cubic millimeters.": 31_250 * 1.4**3,
        "a voxel has three edges of 1.4 mm.": 31_250 * 1.4 / 1000,
        "that counts voxels, not millimeters.": 31.25,
    }
    return off(answer, 85.75, mistakes=mistakes, tolerance=1e-3)
