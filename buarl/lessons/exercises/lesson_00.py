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


@exercise(
    "00.2",
    hint="a certain pixel weighs 1 / 0.99 and an uncertain one alpha / 0.01.",
    praise="At alpha = 0.5 an uncertain pixel weighs 49.5 times a certain one.",
)
def equal_alpha(answer: Any) -> str | None:
    """The alpha at which CRL at q = 99 weighs all pixels alike, per region."""
    mistakes = {
        "that is where the uncertain region as a whole counts fully; ask for one pixel.": 1.0,
        "that is the ratio upside down.": 99.0,
        "that is the paper's value, at which the ratio is 49.5.": 0.5,
    }
    return off(answer, 1 / 99, mistakes=mistakes, tolerance=2e-4)
