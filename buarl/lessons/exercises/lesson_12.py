"""Judges of lesson 12, consistency."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off
from buarl.methods.mc_net.mutual import sharpen


@exercise(
    "12.1",
    hint="raise to 1 / temperature, then divide by the sum over the class axis.",
    praise="Now the target is one that a softmax can reach.",
)
def sharpen_together(answer: Callable[..., Any]) -> str | None:
    """Sharpening over all classes of a pixel."""
    probs = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    temperature = 0.25
    powered, flattened = probs ** (1 / temperature), probs**temperature
    mistakes = {
        "that is MC-Net's own, every class against the rest; it need not sum to 1.": sharpen(
            probs, temperature
        ),
        "that raises to the temperature, which flattens; raise to 1 / temperature.": flattened
        / flattened.sum(1, keepdim=True),
        "that sums over the batch; classes are axis 1.": powered / powered.sum(0, keepdim=True),
        "that is not divided by its sum yet.": powered,
    }
    right = powered / powered.sum(1, keepdim=True)
    return off(answer(probs.clone(), temperature), right, mistakes=mistakes, what="the target")


@exercise(
    "12.2",
    hint="the mean stands in front of the logarithm and above the fraction line.",
    praise="It is 0 where a scale equals the mean, and has no upper limit.",
)
def disagreement(answer: Callable[..., Any]) -> str | None:
    """D of every scale of one pixel."""
    predictions = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    mean = predictions.mean(0)
    right = (mean * (mean / predictions).log()).sum(1)
    mistakes = {
        "that weighs by the scale, not by the mean: it is the divergence the other way.": (
            predictions * (predictions / mean).log()
        ).sum(1),
        "the sign is wrong: the mean stands above the fraction line.": -right,
        "that sums over the scales; sum over the classes, axis 1.": (
            mean * (mean / predictions).log()
        ).sum(0),
        "that is one number; every scale has its own.": right.mean(),
        "that is in bits; take the natural logarithm.": right / math.log(2),
    }
    return off(answer(predictions.clone()), right, mistakes=mistakes, what="D")


@exercise(
    "12.3",
    hint="take the entropy over ln 2 and solve 0.75 + 0.25 exp(-5 (1 - t)^2) for t.",
    praise="Until then this pixel teaches nothing.",
)
def begins(answer: Any) -> str | None:
    """The share of the run after which a pixel of (0.7, 0.3, 0, 0) counts."""
    ratio = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3)) / math.log(2)
    right = 1 - math.sqrt(-math.log((ratio - 0.75) / 0.25) / 5)
    mistakes = {
        "that is the share that is left; the run begins at 0.": 1 - right,
        "that is in percent; a share is asked for.": 100 * right,
        "that is the square root's inside: take the root.": 1 - (1 - right) ** 2,
    }
    return off(answer, right, mistakes=mistakes, tolerance=0.02, what="the share")
