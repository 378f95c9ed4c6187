"""Dice, 95HD and ASD as different tools define them; for the metric explorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from buarl.evaluation.metrics import case_metrics
from buarl.widgets.still import Table

ROWS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "95HD, both lists pooled (MedPy, ours)",
    "hd95_max": "95HD, larger of the two directions",
    "hd": "HD, largest distance",
    "asd": "ASD, prediction to label (ours)",
    "asd_back": "ASD, label to prediction",
    "assd_means": "ASSD, mean of the two ASDs",
    "assd_pooled": "ASSD, both lists pooled (MedPy)",
}
"""The definitions, in the order of the table."""


class Blob(NamedTuple):
    """A disc added to the prediction, in pixels; one of radius 0 adds nothing."""

    row: int = 0
    column: int = 0
    radius: int = 0


def add_blob(mask: np.ndarray, blob: Blob) -> np.ndarray:
    """The mask (H, W) together with the blob; radius 1 is a single pixel.

    >>> add_blob(np.zeros((3, 4), bool), Blob(row=1, column=1, radius=2)).sum()
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


def definition_table(readings: dict[str, dict[str, float]], spacing: Sequence[float]) -> Table:
    """`ROWS` with their values in "pixels" and "mm"."""
    rows = []
    for key, title in ROWS.items():
        pixels, mm = (readings[scale][key] for scale in ("pixels", "mm"))
        share = key in ("dice", "jaccard")
        rows.append((title, _number(pixels, 3 if share else 2), "" if share else _number(mm, 2)))
    title = f"1 pixel: {spacing[0]:g} mm per row, {spacing[1]:g} mm per column"
    return Table(title, ("definition", "pixels", "mm"), rows)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
