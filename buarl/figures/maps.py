"""Maps of one slice side by side, each on a scale of its own, and the planes of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from buarl.figures.draw import PALETTE, UNCERTAIN, WIDTH, closed, draw_labels, draw_mask


def maps(image: np.ndarray, views: Mapping[str, np.ndarray | None], columns: int = 5) -> Figure:
    """Draw several views of one slice, row by row.

    Args:
        image: (H, W), any numbers.
        views: Per title what to draw, (H, W). None shows the image alone. bool is a mask in blue
            over the image, whole numbers are classes in color over it. Floats are a map of their
            own with its range written below: from 0 if none is negative (bright is high), else
            around 0 (blue below, red above).
        columns: Panels in a row.
    Returns:
        A closed figure; unused places stay blank.
    """
    rows = -(-len(views) // columns)
    size = (WIDTH, (WIDTH / columns + 0.45) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat:
        panel.set_axis_off()
    for panel, (title, view) in zip(axes.flat, views.items(), strict=False):
        _draw(panel, image, view)
        panel.set_title(title, fontsize=8)
    return closed(figure)


def _draw(panel: Axes, image: np.ndarray, view: np.ndarray | None) -> None:
    if view is None or not np.issubdtype(view.dtype, np.floating):
        mask = view is not None and view.dtype == bool
        draw_labels(panel, image, None if mask else view)
        if mask:
            draw_mask(panel, view, UNCERTAIN)
        return
    low, high = float(view.min()), float(view.max())
    if low < 0:
        limit = max(-low, high)
        panel.imshow(view, "RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    else:
        panel.imshow(view, "viridis", vmin=0, interpolation="nearest")
    text = f"{low:.2f} to {high:.2f}"
    panel.text(0.5, -0.04, text, transform=panel.transAxes, ha="center", va="top", fontsize=7)


def mid_planes(
    image: np.ndarray, label: np.ndarray, spacing: Sequence[float] | None = None
) -> Figure:
    """Draw the three middle planes of a volume in gray, with every class outlined.

    Args:
        image: (X, Y, Z), any numbers.
        label: Whole numbers (X, Y, Z).
        spacing: Size of a voxel in mm per axis; None draws cubes.
    Returns:
        A closed figure. x runs to the right, y down and z up, as one looks at a patient from the
        feet or from the front.
    """
    spacing = spacing or (1.0, 1.0, 1.0)
    ratios = [image.shape[a] * spacing[a] for a in (0, 0, 1)]
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 3), layout="constrained", width_ratios=ratios)
    for panel, across, (right, up) in zip(axes, (2, 1, 0), ((0, 1), (0, 2), (1, 2)), strict=True):
        middle = image.shape[across] // 2
        cut, classes = (array.take(middle, across).T for array in (image, label))
        shape = {"aspect": spacing[up] / spacing[right], "origin": "lower" if up == 2 else "upper"}
        panel.imshow(cut, "gray", interpolation="nearest", **shape)
        for k in np.unique(classes[classes > 0]):
            panel.contour(classes == k, [0.5], colors=PALETTE[k], linewidths=1.3)
        panel.set_title(f"{'xyz'[across]} = {middle} of {image.shape[across]}", fontsize=9)
        panel.set_xlabel("xyz"[right])
        panel.set_ylabel("xyz"[up])
        panel.set_xticks([])
        panel.set_yticks([])
    return closed(figure)
