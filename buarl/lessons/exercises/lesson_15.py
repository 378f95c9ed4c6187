"""Judges of lesson 15, does it hold?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off
from buarl.results.verdicts import judge


@exercise(
    "15.1",
    hint="does the whole interval lie above 0? If not, does it exclude half the gain?",
    praise="Three words, fixed before anyone looks.",
)
def verdict(answer: Callable[..., Any]) -> str | None:
    """The rule: holds, refuted, undecided."""
    for low, high in ((0.2, 2.0), (-0.6, 0.6), (-0.6, 2.0), (-3.0, -1.0), (0.1, 0.5), (-1.0, 0.8)):
        given, right = answer(low, high, 1.5), judge(low, high, 1.5, 3)
        if given not in ("holds", "refuted", "undecided"):
            return f"the answer must be one of three words, not {given!r}."
        if given != right:
            return f"with {low:+.1f} to {high:+.1f} and a printed gain of 1.5 it is not {given!r}."
    return None


@exercise(
    "15.2",
    hint="divide squared deviations by n - 1 = 2; the standard error is the root of that over 3.",
    praise="Our tables print the first, the larger one.",
)
def deviations(answer: Any) -> str | None:
    """Standard deviation and standard error of three seeds."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "two numbers are asked for: the deviation, then the standard error."
    mistakes = {"that divides by n; with few seeds divide by n - 1.": 0.6 * np.sqrt(2 / 3)}
    wrong = off(answer[0], 0.6, mistakes=mistakes, tolerance=5e-3, what="the deviation")
    return wrong or off(answer[1], 0.6 / np.sqrt(3), tolerance=1e-2, what="the standard error")
