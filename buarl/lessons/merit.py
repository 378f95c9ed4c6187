"""How good a network of the lessons is: Dice by class, and what entropy catches of its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from buarl.data.source import Source
from buarl.evaluation.errors import capture_table
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.predict import predict_probs
from buarl.figures.views import unlabeled_views
from buarl.methods import Method
from buarl.training.config import Config

IMAGES = 120
"""Unlabeled training slices on which errors are counted, evenly spaced in the list."""
PERCENTILES = (99, 97, 95)


def networks_of(method: Method) -> dict[str, nn.Module]:
    """The networks of a method that can be scored: its student, and its teacher if it has one.

    Args:
        method: Trained.
    """
    found = {"student": method.student}
    if hasattr(method, "teacher"):
        found["teacher"] = method.teacher
    return found


def dice_of_cases(network: nn.Module, source: Source, config: Config) -> dict[str, float | None]:
    """Score a network on every validation volume.

    Args:
        network: What to score.
        source: The data set.
        config: Numbers of its row.
    Returns:
        Dice by "<case> <class>", rounded to five digits; None where a class is absent from label
        and prediction.
    """
    rows = evaluate(network, source, "val", config)
    return {f"{row['case']} {row['class']}": rounded(row["dice"]) for row in rows}


def dice_by_class(network: nn.Module, source: Source, config: Config) -> dict[str, float]:
    """Average Dice over the validation volumes, by class and ("mean") over all of them.

    Args:
        network: What to score.
        source: The data set.
        config: Numbers of its row.
    """
    rows = evaluate(network, source, "val", config)
    found = {
        name: float(np.nanmean([row["dice"] for row in rows if row["class"] == name]))
        for name in source.class_names[1:]
    }
    return {name: round(v, 4) for name, v in {**found, "mean": np.mean([*found.values()])}.items()}


def errors_on_unlabeled(network: nn.Module, source: Source, config: Config) -> dict[str, Any]:
    """Count the errors on unlabeled training slices, and what the uncertain region catches of them.

    Args:
        network: What to ask.
        source: The data set; its labels are read here and by no training.
        config: Numbers of its row.
    Returns:
        "wrong", the share of wrong pixels, and per percentile "recall" and "precision", see
        `buarl.evaluation.errors.Capture`.
    """
    images, labels = unlabeled_views(source, config, IMAGES)
    table = capture_table(network, zip(images, labels, strict=True), PERCENTILES)
    found: dict[str, Any] = {"wrong": wrong_share(network, images, labels)}
    for q, capture in table.items():
        found[str(q)] = {
            "recall": rounded(capture.recall),
            "precision": rounded(capture.precision),
        }
    return found


def wrong_share(network: nn.Module, images: np.ndarray, labels: np.ndarray) -> float | None:
    """Which part of the pixels a network gets wrong, 0-1.

    Args:
        network: What to ask.
        images: float32 (N, *spatial), at training size.
        labels: Whole numbers of the same shape.
    """
    return rounded((predict_probs(network, images).argmax(1).numpy() != labels).mean())


def rounded(value: float) -> float | None:
    """Five digits behind the point, as the files keep it; None for NaN, which JSON does not know.

    >>> rounded(0.123456789), rounded(float("nan"))
    (0.12346, None)
    """
    return None if np.isnan(value) else round(float(value), 5)
