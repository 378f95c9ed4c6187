"""Judges of lesson 06, certainty-aware region learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "06.1",
    hint="mark what lies above the percentile; per region, divide by the share of the region.",
    praise="Per voxel the marked pixels lose, per region they gain.",
)
def crl_weights(answer: Callable[..., Any]) -> str | None:
    """Weight of ten pixels under CRL."""
    entropy = np.random.default_rng(0).permutation(np.linspace(0.05, 1.3, 10))
    for q, alpha, reduction in ((80, 0.5, "voxel"), (80, 0.5, "region"), (70, 0.2, "region")):
        marked = entropy > np.percentile(entropy, q)
        s = marked.mean()
        sizes = np.where(marked, s, 1 - s) if reduction == "region" else np.ones(10)
        mistakes = {
            "that is URL: under CRL the uncertain pixels get alpha.": (~marked, 1),
            "that marks the certain pixels; a percentile counts from below.": (
                entropy < np.percentile(entropy, 100 - q),
                1,
            ),
            "each region is a mean of its own: divide by its share of the pixels.": (marked, sizes),
            "divide by the share of the pixels, not by their number.": (marked, 10),
        }
        wrong_values = {
            said: np.where(mask, alpha, 1.0) / sizes * factor
            for said, (mask, factor) in mistakes.items()
        }
        wrong_values["divide by the share of the pixels, not by their number."] /= 100
        right = np.where(marked, alpha, 1.0) / sizes
        given = answer(entropy.copy(), q, alpha, reduction)
        if wrong := off(given, right, mistakes=wrong_values, what="the weights"):
            return f"per {reduction} at q = {q}: {wrong}"
    return None


@exercise(
    "06.2",
    hint="alpha times the certain share must equal the uncertain share.",
    praise="So at 95 and at 99 an uncertain pixel weighs more per region, never less.",
)
def even(answer: Any) -> str | None:
    """The percentile at which CRL per region weighs all pixels alike, for alpha = 0.5."""
    mistakes = {
        "that is the share of uncertain pixels in percent; a percentile counts from below.": 100
        / 3,
        "that is a share; the percentile is in percent.": 2 / 3,
        "there the two regions have as many pixels, and the uncertain ones weigh half.": 50,
    }
    return off(answer, 200 / 3, mistakes=mistakes, tolerance=1e-3, what="the percentile")


@exercise(
    "06.3",
    hint="the others keep what they had, so the whole shrinks as well.",
    praise="A third becomes a fifth, not a sixth.",
)
def share_under_crl(answer: Callable[..., Any]) -> str | None:
    """Share of the gradient under CRL per voxel, from the share in the plain loss."""
    for g, alpha in ((0.32, 0.5), (0.9, 0.5), (0.5, 0.1)):
        right = alpha * g / (alpha * g + 1 - g)
        mistakes = {
            "the whole has become smaller too: divide by what is left of it.": alpha * g,
            "that weighs the certain pixels down.": g / (g + alpha * (1 - g)),
            "that is the share of the certain pixels.": 1 - right,
        }
        if wrong := off(answer(g, alpha), right, mistakes=mistakes, what="the share"):
            return wrong
    return None
