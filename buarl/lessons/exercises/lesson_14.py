"""Judges of lesson 14, long runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "14.1",
    hint="multiply within each stage, add the stages, then divide by 3600.",
    praise="So BCP's published schedule is 11 hours at these speeds.",
)
def hours(answer: Callable[..., Any]) -> str | None:
    """Hours of a schedule of two stages."""
    stages = [(10_000, 0.4), (30_000, 1.2)]
    right = 40_000 / 3600
    mistakes = {
        "that is in seconds; an hour has 3600.": 40_000,
        "that is in minutes; divide by 3600.": 40_000 / 60,
        "that is the last stage alone.": 36_000 / 3600,
        "that adds steps and seconds before it multiplies; every stage has its own step.": (
            40_000 * 1.6 / 3600
        ),
        "that takes the mean of the two steps, but most steps are slow ones.": 40_000 * 0.8 / 3600,
    }
    return off(answer(list(stages)), right, mistakes=mistakes, what="the cost")


@exercise(
    "14.2",
    hint="take the differences first; which average does not mind a few odd ones?",
    praise="Neither the slow start nor the hiccup moves it.",
)
def seconds_per_step(answer: Callable[..., Any]) -> str | None:
    """Seconds of a usual step, from the clock at the end of every step."""
    steps = np.array([9.0, 2.1, 1.0, 1.1, 0.9, 1.0, 6.0, 1.0, 1.1, 1.0, 0.9, 1.0])
    times = 100.0 + np.cumsum(steps)
    differences = np.diff(times)
    mistakes = {
        "that is the mean, which one hiccup pulls up.": differences.mean(),
        "that is the last time over the number of steps: the clock need not begin at 0.": (
            times[-1] / len(times)
        ),
        "that is the median of the clock; take the differences first.": np.median(times),
        "that is the fastest step; a usual one is asked for.": differences.min(),
        "that is the mean without the first steps; a hiccup still pulls it up.": (
            differences[1:].mean()
        ),
    }
    return off(answer(times.copy()), np.median(differences), mistakes=mistakes, what="the time")


@exercise(
    "14.3",
    hint="the squared differences from the mean, divided by one less than their number.",
    praise="Two single runs that differ by 0.01 tell you nothing yet.",
)
def mean_and_spread(answer: Any) -> str | None:
    """Mean and standard deviation (n - 1) of five runs."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "two numbers are asked for: mean and spread."
    values = np.array([0.780, 0.781, 0.778, 0.779, 0.767])
    if wrong := off(answer[0], values.mean(), tolerance=1e-3, what="the mean"):
        return wrong
    mistakes = {
        "that divides by 5; the mean came from the same numbers, so divide by 4.": values.std(),
        "that is the variance; take the root.": values.var(ddof=1),
        "that is the range, largest minus smallest.": np.ptp(values),
        "that is the error of the mean; do not divide by the root of 5.": (
            values.std(ddof=1) / math.sqrt(5)
        ),
    }
    right = values.std(ddof=1)  # 0.0057, and 0.0051 if divided by 5
    return off(answer[1], right, mistakes=mistakes, tolerance=4e-4, what="the spread")
