"""Does a student's confidence mean what it says? A reliability diagram, and one temperature.

Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599): logits divided by
one number T, chosen on validation images, leave every predicted class as it is and move only the
confidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from buarl.arguments import check_axes, check_tensor

LOWEST, HIGHEST = 0.05, 20.0  # beyond, a network is certain of everything or of nothing
MOST = 200_000  # voxels that decide the temperature; more move its third decimal


def fit_temperature(logits: Tensor, label: Tensor) -> float:
    """Find the temperature T under which logits / T explain the labels best.

    T minimises the mean of -ln softmax(logits / T) at the label over all voxels, the cross entropy.
    Above 1 the network was too sure, below 1 not sure enough.

    Args:
        logits: float (B, C, *spatial), of images whose labels did not train the network.
        label: Whole numbers (B, *spatial), 0 to C-1.
    Returns:
        T, 0.05 to 20. Of more than 200,000 voxels, that many evenly spaced ones decide.
    Raises:
        TypeError: no tensor of real numbers. ValueError: shapes that do not fit.

    >>> logits = torch.tensor([[[3.0] * 4, [0.0] * 4]])  # says 95 %, is right in 3 of 4
    >>> round(fit_temperature(logits, torch.tensor([[0, 0, 0, 1]])), 3)  # 3 / ln 3
    2.731
    """
    check_tensor("logits", logits)
    check_axes("logits", logits)
    if tuple(label.shape) != (len(logits), *logits.shape[2:]):
        raise ValueError(f"label must fit logits {tuple(logits.shape)}, got {tuple(label.shape)}")
    flat = logits.movedim(1, -1).reshape(-1, logits.shape[1])  # (voxels, C)
    step = max(1, -(-len(flat) // MOST))
    flat, target = flat[::step].double(), label.reshape(-1)[::step].long()

    def cross_entropy(log_temperature: float) -> float:
        scaled = flat / math.exp(log_temperature)
        return float(torch.nn.functional.cross_entropy(scaled, target))

    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(cross_entropy, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)


def reliability(probs: Tensor, label: Tensor, bins: int = 10) -> list[dict[str, Any]]:
    """Compare confidence, the probability of the predicted class, with how often it is right.

    Args:
        probs: Probabilities, float (B, C, *spatial), sum 1 over axis 1.
        label: Whole numbers (B, *spatial), 0 to C-1.
        bins: Parts of equal width of the confidences 0 to 1.
    Returns:
        A dict for each bin that holds a voxel: "confidence_from", "confidence_to", "voxels", and
        as means over its voxels "confidence" and "accuracy", all but the count in 0-1.

    >>> probs = torch.tensor([[[0.95, 0.85, 0.92], [0.05, 0.15, 0.08]]])
    >>> rows = reliability(probs, torch.tensor([[0, 0, 1]]))
    >>> [(row["voxels"], round(row["confidence"], 3), row["accuracy"]) for row in rows]
    [(1, 0.85, 1.0), (2, 0.935, 0.5)]
    """
    check_tensor("probs", probs)
    check_axes("probs", probs)
    confidence, said = probs.max(1)
    right = (said == label).double().flatten()
    confidence = confidence.double().flatten()
    place = (confidence * bins).long().clamp(0, bins - 1)
    totals = [
        torch.bincount(place, weight, bins)
        for weight in (torch.ones_like(right), confidence, right)
    ]
    return [
        {
            "confidence_from": k / bins,
            "confidence_to": (k + 1) / bins,
            "voxels": int(voxels),
            "confidence": float(sure / voxels),
            "accuracy": float(hits / voxels),
        }
        for k, (voxels, sure, hits) in enumerate(zip(*totals, strict=True))
        if voxels
    ]


def calibration_error(rows: Sequence[Mapping[str, Any]]) -> float:
    """The expected calibration error: |confidence - accuracy|, each bin by its voxels, 0-1.

    Args:
        rows: As `reliability` returns them.

    >>> row = {"voxels": 1, "confidence": 0.9, "accuracy": 0.5}
    >>> round(calibration_error([row, {"voxels": 3, "confidence": 0.8, "accuracy": 0.8}]), 3)
    0.1
    """
    total = sum(row["voxels"] for row in rows)
    gaps = (row["voxels"] * abs(row["confidence"] - row["accuracy"]) for row in rows)
    return sum(gaps) / total if total else math.nan
