"""Judges of lesson 05, uncertainty-aware region learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "05.1",
    hint="a region's mean gives each of its pixels the region's weight over its share of pixels.",
    praise="At q = 95 and alpha = 0.5 it is 38.",
)
def ratio(answer: Callable[..., Any]) -> str | None:
    """Weight of an uncertain pixel over that of a certain one, per region."""
    for q, alpha in ((95, 0.5), (99, 0.25), (80, 1.0)):
        right = q / (alpha * (100 - q))
        mistakes = {
            "that is the reading per voxel.": 1 / alpha,
            "that is upside down: certain over uncertain.": 1 / right,
            "alpha stands before the certain region, so it divides here.": alpha**2 * right,
            "that leaves alpha out.": alpha * right,
        }
        if wrong := off(answer(q, alpha), right, mistakes=mistakes, what="the ratio"):
            return f"at q = {q} and alpha = {alpha}: {wrong}"
    return None


@exercise(
    "05.2",
    hint="set the ratio of exercise 1 to 1.",
    praise="The certain region is 19 times as large, so its mean must count 19 times.",
)
def even(answer: Any) -> str | None:
    """The alpha at which both kinds of pixels weigh the same at q = 95, per region."""
    mistakes = {
        "that makes the two regions equal, not their pixels.": 1,
        "that is upside down.": 1 / 19,
        "that doubles the advantage of the uncertain pixels.": 0.5,
    }
    return off(answer, 19, mistakes=mistakes, what="alpha")


@exercise(
    "05.3",
    hint="a region's part is its share of pixels, times its weight, times its mean cross-entropy.",
    praise="A small weight on a small loss is nearly nothing.",
)
def loss_share(answer: Callable[..., Any]) -> str | None:
    """Share of the weighted cross-entropy that lies on uncertain pixels, per voxel."""
    for q, alpha, high, low in ((95, 0.5, 0.8, 0.008), (90, 0.2, 0.5, 0.1)):
        s = 1 - q / 100
        mistakes = {
            "that is the share of weight: the losses are missing.": _part(s, alpha * (1 - s)),
            "alpha weighs the certain pixels under URL.": _part(alpha * s * high, (1 - s) * low),
            "that forgets alpha.": _part(s * high, (1 - s) * low),
            "that is the reading per region, which forgets that uncertain pixels are few.": _part(
                high, alpha * low
            ),
        }
        right = _part(s * high, alpha * (1 - s) * low)
        if wrong := off(answer(q, alpha, high, low), right, mistakes=mistakes, what="the share"):
            return wrong
    return None


def _part(first: float, second: float) -> float:
    return first / (first + second)


@exercise(
    "05.4",
    hint="only the true class is pushed up; every other class is pushed down by its probability.",
    praise="Whatever the weight, a pixel that is right and sure has none.",
)
def gradient(answer: Callable[..., Any]) -> str | None:
    """Gradient of the cross-entropy of pixels in their logits."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6, 4, generator=generator)
    label = torch.randint(4, (6,), generator=generator)
    p, y = logits.softmax(1), functional.one_hot(label, 4)
    mistakes = {
        "the sign is turned: that is the direction of a step, against the gradient.": y - p,
        "that is the probability alone; the true class must be told apart.": p,
        "that is the gradient of the mean over pixels; each pixel's own is asked for.": (p - y) / 6,
        "the softmax runs over the pixels; classes are axis 1.": logits.softmax(0) - y,
        "that is the gradient in the probabilities; go on through the softmax.": -y / p,
    }
    return off(answer(logits, label), p - y, mistakes=mistakes, what="the gradient")
