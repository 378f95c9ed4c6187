"""Judges of lesson 03, thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "03.1",
    hint="the plateau is the top tenth of the map, and the threshold lies on it.",
    praise="One sign, and the mask is empty or twice as large as you asked for.",
)
def ties(answer: Any) -> str | None:
    """Percent marked at q = 95 where the top tenth ties: with > and with >=."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "two numbers are asked for: percent with >, percent with >=."
    wrong = off(
        answer[0],
        0.0,
        mistakes={
            "5 % is what q = 95 promises when no two values are alike; here a tenth are.": 5.0,
            "that is the whole plateau; a pixel on the threshold is not above it.": 10.0,
        },
        tolerance=0.01,
        what="the share with >",
    )
    mistakes = {
        "5 % cannot be: the plateau is marked whole or not at all.": 5.0,
        "that is a share; the answer is in percent.": 0.1,
        "the plateau does reach the threshold, which lies on it.": 0.0,
    }
    return wrong or off(
        answer[1], 10.0, mistakes=mistakes, tolerance=0.01, what="the share with >="
    )


@exercise(
    "03.2",
    hint="throw the pixels of both images together before you take the percentile.",
    praise="The image that is easy gives its marks to the other.",
)
def two_images(answer: Callable[..., Any]) -> str | None:
    """Share of each of two images that lies above their common percentile."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 20, 30, generator=generator) * torch.tensor([0.3, 1.0])[:, None, None]

    def shares(cut: Any) -> np.ndarray:
        return (images.double().numpy() > cut).mean((1, 2))

    alone = np.percentile(images.double().numpy(), 90, axis=(1, 2), keepdims=True)
    both = np.percentile(images.double().numpy(), 90)
    mistakes = {
        "each image has its own threshold there; the batch shares one.": shares(alone),
        "that is the mean of two thresholds, not the percentile of all pixels.": shares(
            alone.mean()
        ),
        "those are the pixels that are not marked.": 1 - shares(both),
        "those are numbers of pixels, not shares.": 600 * shares(both),
        "that is in percent; shares are 0 to 1.": 100 * shares(both),
        "that is the share of the whole batch; give one number an image.": shares(both).mean(),
    }
    return off(answer(images.clone(), 90), shares(both), mistakes=mistakes, what="the shares")


@exercise(
    "03.3",
    hint="a mask of 5 % is full when every marked pixel is wrong; and no recall exceeds 1.",
    praise="A recall means little without it.",
)
def ceiling(answer: Callable[..., Any]) -> str | None:
    """The highest recall of a mask, from the percentile and the share of wrong pixels."""
    cases = [(95, 0.10), (99, 0.04), (95, 0.02), (90, 0.25)]
    given = [answer(q, wrong) for q, wrong in cases]
    marked = np.array([(100 - q) / 100 for q, _ in cases])
    wrong = np.array([share for _, share in cases])
    mistakes = {
        "with few errors that exceeds 1, and a recall cannot.": marked / wrong,
        "that is upside down: the mask is what limits, so it stands on top.": np.minimum(
            1, wrong / marked
        ),
        "that is the recall of a mask drawn at random.": marked,
        "q is in percent, the share of wrong pixels is not.": np.minimum(1, 100 * marked / wrong),
        "that is a ceiling of the precision.": np.minimum(wrong, marked) / marked,
    }
    return off(given, np.minimum(1, marked / wrong), mistakes=mistakes, what="the ceiling")
