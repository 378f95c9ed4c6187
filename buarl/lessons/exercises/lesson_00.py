"""Judges of lesson 00, start here."""

from __future__ import annotations

from typing import Any

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "00.1",
    hint="3 of 100 pixels are above it, so how many percent are not?",
    praise="A percentile counts from below: q percent stay unmarked.",
)
def percentile_of_three(answer: Any) -> str | None:
    """Which percentile marks the 3 most uncertain of 100 pixels?"""
    return off(answer, 97, mistakes={"that marks 97 pixels: the percentile counts from below.": 3})
