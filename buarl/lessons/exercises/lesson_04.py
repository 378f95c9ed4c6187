"""Judges of lesson 04, is entropy right?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off

PIXELS, CONFIDENCE, ACCURACY = (
    np.array(x) for x in ((10, 30, 60), (0.5, 0.7, 0.9), (0.6, 0.5, 0.9))
)


@exercise(
    "04.1",
    hint="the distance of confidence and accuracy in each bin, weighted by its pixels.",
    praise="A bin with many pixels decides nearly alone.",
)
def three_bins(answer: Any) -> str | None:
    """The expected calibration error of three bins."""
    gaps, weight = CONFIDENCE - ACCURACY, PIXELS / PIXELS.sum()
    right = float((weight * abs(gaps)).sum())
    mistakes = {
        "that weighs every bin alike; the first has 10 pixels, the last 60.": abs(gaps).mean(),
        "too little and too much confidence do not cancel: take the distance.": (
            weight * gaps
        ).sum(),
        "that is in percent; give it as 0 to 1.": 100 * right,
        "that is the largest distance, not the mean.": abs(gaps).max(),
    }
    return off(answer, right, mistakes=mistakes, tolerance=1e-3, what="the error")


@exercise(
    "04.2",
    hint="at the best temperature, the confidence equals the accuracy: the gap / T is ln(3).",
    praise="A network that is right as often as it says needs no temperature.",
)
def known_logits(answer: Any) -> str | None:
    """The temperature at which logits (4, 0) say 75 %."""
    log_odds = math.log(3)
    mistakes = {
        "that is its inverse; logits are divided by T.": log_odds / 4,
        "that is the logit that says 75 %, ln 3; by what is 4 divided to get there?": log_odds,
        "that scales the probability; T divides the logits.": 1 / (1 + math.exp(-4)) / 0.75,
        "the odds of 75 % are 3 to 1, not 4 to 3.": 4 / math.log(4 / 3),
    }
    return off(answer, 4 / log_odds, mistakes=mistakes, tolerance=0.01, what="the temperature")


@exercise(
    "04.3",
    hint="sort by doubt, keep the first part, and count what is wrong in it.",
    praise="The same count for every measure of doubt, whatever its unit.",
)
def risk_at(answer: Callable[..., Any]) -> str | None:
    """Share of wrong pixels among the most certain ones."""
    random = np.random.default_rng(0)
    doubt = random.random(2000)
    wrong = random.random(2000) < doubt**4 / 2
    first, last = np.sort(doubt)[[1499, 499]]
    kept = doubt <= first
    mistakes = {
        "that keeps the most doubtful pixels.": wrong[doubt > last].mean(),
        "that is divided by all errors: the errors you keep, not the risk.": wrong[kept].sum()
        / wrong.sum(),
        "that is divided by all pixels, not by those that are kept.": wrong[kept].mean() * 0.75,
        "that is the risk of what is given up.": wrong[~kept].mean(),
        "those are right, not wrong.": 1 - wrong[kept].mean(),
        "that is the risk of all pixels.": wrong.mean(),
    }
    given = answer(doubt.copy(), wrong.copy(), 0.75)
    return off(given, wrong[kept].mean(), mistakes=mistakes, tolerance=1e-3, what="the risk")
