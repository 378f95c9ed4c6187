"""Judges of lesson 08, bidirectional copy-paste."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "08.1",
    hint="the box has 2/3 of every edge, and shares of edges multiply.",
    praise="Nearly half of an image, but not a third of a volume.",
)
def share_of_box(answer: Any) -> str | None:
    """Share of the pixels inside BCP's box, in 2-D and in 3-D."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "two numbers are asked for: in 2-D, then in 3-D."
    for given, right, rank in zip(answer, (4 / 9, 8 / 27), (2, 3), strict=True):
        mistakes = {
            "that is the share of an edge.": 2 / 3,
            "that is what lies around the box.": 1 - right,
            "that is in percent; give a share from 0 to 1.": 100 * right,
        }
        what = f"the share in {rank}-D"
        if wrong := off(given, right, mistakes=mistakes, tolerance=0.01, what=what):
            return wrong
    return None


@exercise(
    "08.2",
    hint="copy the array around, then write the other one into the rows and columns of the box.",
    praise="Labels are mixed by the same function, so image and target stay together.",
)
def paste(answer: Callable[..., Any]) -> str | None:
    """Lay the box of one array on another."""
    around, inside = np.arange(63.0).reshape(7, 9), -np.arange(63.0).reshape(7, 9) - 1
    given_around, given_inside = around.copy(), inside.copy()
    given = answer(given_around, given_inside, 1, 2, 3, 4)
    box = np.zeros((7, 9), bool)
    box[1:4, 2:6] = True
    swapped, wide = np.zeros((2, 7, 9), bool)
    swapped[1:5, 2:5] = True
    wide[1:3, 2:4] = True
    mistakes = {
        "the roles are swapped: the second array belongs inside the box.": (
            np.where(box, around, inside)
        ),
        "height and width are swapped.": np.where(swapped, inside, around),
        "the box ends at its first corner plus its size, not at its size.": (
            np.where(wide, inside, around)
        ),
    }
    wrong = off(given, np.where(box, inside, around), mistakes=mistakes, what="the mixed array")
    if wrong:
        return wrong
    if not (np.array_equal(given_around, around) and np.array_equal(given_inside, inside)):
        return "an array of the caller was changed; mix into a copy."
    return None


@exercise(
    "08.3",
    hint="each place is divided by its own number of pixels: what are the two shares?",
    praise="With two thirds of every edge the same ratio is 1.25, and nobody notices.",
)
def times(answer: Any) -> str | None:
    """Weight of a pixel in a small box over that of one around it."""
    mistakes = {
        "that forgets that the pixels around are one percent fewer than all.": 100.0,
        "that is the ratio for one axis; the box is small in both.": 9.0,
        "that is the other way round: the smaller place has the heavier pixels.": 1 / 99,
        "in 2-D a tenth of every edge is a hundredth of the pixels.": 10.0,
    }
    return off(answer, 99.0, mistakes=mistakes, tolerance=1e-3)
