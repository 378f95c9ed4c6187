"""Maps of one slice side by side, each on a scale of its own."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from buarl_lab.plots import UNCERTAIN, WIDTH, draw_labels, draw_mask


def maps(image: np.ndarray, views: Mapping[str, np.ndarray | None], columns: int = 5) -> Figure:
    """Several views of a slice, row by row.

    Args:
        image: (H, W). views: Per title (H, W): None the image alone; bool a mask in blue and whole
            numbers classes in colour, both over the image; floats a map with its range below, from
            0 if none is negative (bright is high), else around 0 (blue below, red above).
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
    plt.close(figure)  # a notebook shows what a cell returns; pyplot would show it once more
    return figure


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
