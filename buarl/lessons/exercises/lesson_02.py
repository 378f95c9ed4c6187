"""Judges of lesson 02, entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "02.1",
    hint="the largest probability of each pixel, along the class axis, taken from 1.",
    praise="With two classes it would rank the pixels as entropy does.",
)
def least_confidence(answer: Callable[..., Any]) -> str | None:
    """One minus the largest probability."""
    probs = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    mistakes = {
        "that is the confidence itself; doubt is what is missing to 1.": probs.amax(1),
        "that takes the class number, not its probability.": 1 - probs.argmax(1),
        "that takes the maximum over the batch; classes are axis 1.": 1 - probs.amax(0),
    }
    return off(answer(probs), 1 - probs.amax(1), mistakes=mistakes, what="the map")


@exercise(
    "02.2",
    hint="sort from uncertain to certain; errors found so far are then a running sum.",
    praise="A perfect order would need half of the error rate.",
)
def share_for_half(answer: Callable[..., Any]) -> str | None:
    """Share of pixels to mark for half of the errors."""
    random = np.random.default_rng(0)
    entropy = random.random(1000)
    wrong = random.random(1000) < entropy**3 / 2
    right, reverse = (_needed(entropy * sign, wrong) for sign in (1, -1))
    mistakes = {
        "that begins with the most certain pixels.": reverse,
        "that is half of the error rate: what a perfect order would need.": wrong.mean() / 2,
        "that is a number of pixels, not a share.": right * 1000,
    }
    given = answer(entropy.copy(), wrong.copy())
    return off(given, right, mistakes=mistakes, tolerance=2e-3, what="the share")


def _needed(entropy: np.ndarray, wrong: np.ndarray) -> float:
    found = wrong[np.argsort(-entropy)].cumsum() / wrong.sum()
    return float((np.searchsorted(found, 0.5) + 1) / len(found))


@exercise(
    "02.3",
    hint="after merging, the pixel has the probabilities 0.02 and 0.98.",
    praise="Nearly all of its doubt was about the part of the heart.",
)
def merged(answer: Any) -> str | None:
    """Entropy of a pixel before and after its three heart classes are merged."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "two numbers are asked for: before and after."
    before, after = (-sum(p * np.log(p) for p in c) for c in ((0.02, 0.49, 0.49), (0.02, 0.98)))
    in_bits = {"that is in bits; take the natural logarithm.": before / np.log(2)}
    wrong = off(answer[0], before, mistakes=in_bits, tolerance=0.01, what="the entropy before")
    return wrong or off(answer[1], after, tolerance=0.03, what="the entropy after")
