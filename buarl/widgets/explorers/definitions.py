"""Dice, 95HD and ASD as different tools define them; for the metric explorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from buarl.evaluation.metrics import case_metrics

ROWS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "95HD  pooled (MedPy, ours)",
    "hd95_max": "95HD  larger of two directed",
    "hd": "HD    largest distance",
    "asd": "ASD   prediction to label (ours)",
    "asd_back": "ASD   label to prediction",
    "assd_means": "ASSD  mean of the two ASDs",
    "assd_pooled": "ASSD  both lists pooled (MedPy)",
}
"""The definitions, in the order of the table."""


class Blob(NamedTuple):
    """A disc added to the prediction, in pixels; one of radius 0 adds nothing."""

    row: int = 0
    column: int = 0
    radius: int = 0


def add_blob(mask: np.ndarray, blob: Blob) -> np.ndarray:
    """Add a blob to a mask.

    Args:
        mask: bool (H, W).
        blob: Where it lies; radius 1 is a single pixel.

    >>> add_blob(np.zeros((4, 4), bool), Blob(1, 1, 2)).sum()
    np.int64(9)
    """
    row, column = np.indices(mask.shape)
    distance = (row - blob.row) ** 2 + (column - blob.column) ** 2
    return mask | (distance < blob.radius**2)


def directed_distances(
    mask: np.ndarray, other: np.ndarray, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Measure from every surface pixel of a mask to the surface of another, as MedPy does.

    Args:
        mask: bool, any rank.
        other: bool, the same shape.
        spacing: Size of a pixel in mm per axis; None for distances in pixels.
    Returns:
        Distances in ascending order, 1-D; empty if one of the masks is.
    """
    surface, target = (part & ~binary_erosion(part) for part in (mask, other))
    if not target.any():
        return np.zeros(0)
    return np.sort(distance_transform_edt(~target, sampling=spacing)[surface])


def every_definition(
    prediction: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float] | None = None,
    empty: str = "diagonal",
) -> dict[str, float]:
    """Compute the scores of `ROWS`: four by `case_metrics`, the others from the distances.

    Args:
        prediction: bool (H, W).
        label: bool (H, W).
        spacing: Size of a pixel in mm per axis; None for distances in pixels.
        empty: What an empty mask scores in the four, see `case_metrics`; the other definitions
            are NaN there.
    """
    scores = case_metrics(prediction, label, spacing, empty)
    scores.pop("missed")
    there = directed_distances(prediction, label, spacing)
    back = directed_distances(label, prediction, spacing)
    if not (there.size and back.size):
        return scores | dict.fromkeys([key for key in ROWS if key not in scores], math.nan)
    both = np.concatenate([there, back])
    return scores | {
        "hd95_max": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "hd": float(both.max()),
        "asd_back": float(back.mean()),
        "assd_means": float((there.mean() + back.mean()) / 2),
        "assd_pooled": float(both.mean()),
    }


def definition_table(readings: dict[str, dict[str, float]], spacing: Sequence[float]) -> str:
    """Lay out the definitions with their values in pixels and in mm, as text.

    Args:
        readings: `every_definition` under the keys "pixels" and "mm".
        spacing: Size of a pixel in mm, rows first.
    """
    unit = f"({spacing[0]:g} per row, {spacing[1]:g} per column)"
    lines = [f"{'':<32}{'pixels':>8}{'mm':>8}   {unit}"]
    for key, title in ROWS.items():
        pixels, mm = (readings[scale][key] for scale in ("pixels", "mm"))
        if key in ("dice", "jaccard"):
            lines.append(f"{title:<32}{_number(pixels, 3)}")
        else:
            lines.append(f"{title:<32}{_number(pixels, 2)}{_number(mm, 2)}")
    return "\n".join(lines)


def _number(value: float, digits: int) -> str:
    return f"{'-':>8}" if math.isnan(value) else f"{value:8.{digits}f}"
