"""Judges of lesson 01, the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "01.1",
    hint="subtract each image's mean before you multiply, then divide by both lengths.",
    praise="An image and a brighter copy of it now count as twins.",
)
def correlation(answer: Callable[..., Any]) -> str | None:
    """Correlation of two images."""
    x, y = np.random.default_rng(0).normal(size=(2, 6, 7)) + [[[3.0]], [[1.0]]]
    mistakes = {
        "that is the cosine: the means are still in it.": (x * y).sum()
        / np.sqrt((x * x).sum() * (y * y).sum()),
        "that is the covariance: it still grows with the contrast.": np.cov(x.ravel(), y.ravel())[
            0, 1
        ],
    }
    wrong = off(answer(x, y), np.corrcoef(x.ravel(), y.ravel())[0, 1], mistakes=mistakes)
    return wrong or off(answer(x, 5 * x + 2), 1.0, what="the correlation with a brighter copy")


@exercise(
    "01.2",
    hint="turn first, then flip along one axis, but only if the coin says so.",
    praise="Four turns and four mirror images: all eight.",
)
def orientation(answer: Callable[..., Any]) -> str | None:
    """All eight orientations of a square."""
    square = np.arange(9).reshape(3, 3)
    shown = [np.asarray(answer(square, turns, flip)) for turns in range(4) for flip in (0, 1)]
    if any(image.shape != (3, 3) for image in shown):
        return "the image must keep its shape."
    if any(sorted(image.ravel()) != list(range(9)) for image in shown):
        return "a pixel was lost or doubled on the way."
    different = {image.astype(int).tobytes() for image in shown}
    symmetric = {
        np.flip(np.rot90(square, k), 0).astype(int).tobytes()
        if f
        else np.rot90(square, k).astype(int).tobytes()
        for k in range(4)
        for f in (0, 1)
    }
    return None if different == symmetric else f"only {len(different)} orientations come up."


@exercise(
    "01.3",
    hint="how many steps use up 136 slices, 12 at a time, when the rest is dropped?",
    praise="Each labeled slice is seen about nine hundred times; augmentation has work to do.",
)
def passes(answer: Any) -> str | None:
    """Full passes over 136 labeled slices in 10,000 steps."""
    mistakes = {
        "a batch of 24 has only 12 labeled images.": 10_000 // (136 // 24),
        "a pass has a whole number of steps: the rest of the slices is dropped.": 10_000 * 12 / 136,
        "only full passes count.": 10_000 / 11,
    }
    return off(answer, 909, mistakes=mistakes, tolerance=1e-6)
