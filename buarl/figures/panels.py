"""A grid of slices with their classes, for lessons that compare several views of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from buarl.figures.draw import WIDTH, class_legend, closed, draw_labels, to_slice


def panels(
    slices: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    class_names: Sequence[str],
    columns: int = 5,
) -> Figure:
    """Draw slices with their classes in color, row by row.

    Args:
        slices: Per title an image (H, W) and its classes (H, W), or None to draw the image alone.
            Of volumes (X, Y, Z) the middle slice is drawn.
        class_names: Background first, for the legend.
        columns: Panels in a row.
    Returns:
        A closed figure; unused places stay blank.
    """
    columns = min(columns, len(slices))
    rows = -(-len(slices) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(WIDTH, (WIDTH / columns + 0.2) * rows + 0.3),
        squeeze=False,
        layout="constrained",
    )
    for panel in axes.flat:
        panel.set_axis_off()
    for panel, (title, (image, label)) in zip(axes.flat, slices.items(), strict=False):
        draw_labels(panel, to_slice(image), None if label is None else to_slice(label))
        panel.set_title(title, fontsize=9)
    if any(label is not None for _, label in slices.values()):
        class_legend(figure, class_names)
    return closed(figure)
