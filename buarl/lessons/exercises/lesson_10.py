"""Judges of lesson 10, plug it in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off
from buarl.regions import Region, soft_certainty, url, whole


@exercise(
    "10.1",
    hint="cross_entropy(..., reduction='none') gives a value per pixel; multiply, then average.",
    praise="With whole() it is the plain mean, and a map of weights works as well as a number.",
)
def weighted_cross_entropy(answer: Callable[..., Any]) -> str | None:
    """The mean over all pixels of weight times cross-entropy."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 3, 6, 7, generator=random)
    label = torch.randint(3, (2, 6, 7), generator=random)
    ce = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    for rule in (whole(), url(90), soft_certainty()):
        regions = rule(logits.softmax(1))
        weight = sum(region.mask * region.weight for region in regions)
        per_region = sum((ce * r.weight)[r.mask].mean() for r in regions)
        mistakes = {
            "that is the plain mean; the weights are missing.": ce.mean(),
            "that is a sum; divide by the number of pixels.": (weight * ce).sum(),
            "that divides by the sum of the weights, not by the number of pixels.": (
                (weight * ce).sum() / weight.sum()
            ),
            "that takes a mean of each region, which is the reading per region.": per_region,
        }
        given = answer(logits.clone(), label.clone(), regions)
        if wrong := off(given, (weight * ce).mean(), mistakes=mistakes, what="the loss"):
            return wrong
    return None


@exercise(
    "10.2",
    hint="topk(2, dim=1) gives the two best classes; the second region is ~ of the first.",
    praise="A rule is nothing but a function from probabilities to regions.",
)
def small_margin(answer: Callable[..., Any]) -> str | None:
    """Two regions: pixels whose two best classes lie closer than 0.2, and the others."""
    logits = 2 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    probs = logits.softmax(1)
    regions = answer(probs.clone())
    if not isinstance(regions, list | tuple) or not all(isinstance(r, Region) for r in regions):
        return "a list of buarl.Region is asked for."
    if len(regions) != 2:
        return f"two regions are asked for, you gave {len(regions)}."
    masks = [region.mask for region in regions]
    if any(mask.shape != probs[:, 0].shape for mask in masks):
        return "a mask has one value per pixel, (B, *spatial), and no class axis."
    if not all(mask.dtype == torch.bool for mask in masks):
        return "a mask is True or False, not a number."
    if not (masks[0] ^ masks[1]).all():
        return "every pixel must lie in exactly one of the two regions."
    best = probs.topk(2, dim=1).values
    undecided = best[:, 0] - best[:, 1] < 0.2
    if torch.equal(masks[1], undecided):
        regions, masks = regions[::-1], masks[::-1]
    if torch.equal(masks[0], (probs[:, 0] - probs[:, 1]).abs() < 0.2):
        return "that compares classes 0 and 1, not the two best ones."
    if not torch.equal(masks[0], undecided):
        return f"the mask marks {int(masks[0].sum())} pixels, not the undecided ones."
    mistakes = {"the weights are the wrong way round.": [0.5, 1.0]}
    return off([r.weight for r in regions], [1.0, 0.5], mistakes=mistakes, what="the weights")


@exercise(
    "10.3",
    hint="softmax once more of (1, 0), then minus the logarithm of the right class.",
    praise="Such a network trains, slowly, and no error message ever appears.",
)
def floor_of_two(answer: Any) -> str | None:
    """The cross-entropy that a perfect prediction keeps after a second softmax, two classes."""
    mistakes = {
        "that is the floor of four classes; LA has two.": math.log(1 + 3 / math.e),
        "that is a network that knows nothing.": math.log(2),
        "that is what it keeps with logits; here they are probabilities.": 0.0,
        "that is the probability of the right class; take minus its logarithm.": math.e
        / (1 + math.e),
    }
    return off(answer, math.log(1 + 1 / math.e), mistakes=mistakes, tolerance=0.005)
