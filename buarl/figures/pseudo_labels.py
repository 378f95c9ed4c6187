"""Pictures of pseudo-labels: where they are wrong (Fig. 6), and how images are mixed (BCP)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from buarl.copy_paste import Box
from buarl.figures.draw import (
    ERROR,
    PALETTE,
    WIDTH,
    class_legend,
    closed,
    draw_labels,
    draw_mask,
    to_slice,
)


def pseudo_label_errors(
    images: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    columns: Mapping[str, Sequence[np.ndarray]],
    class_names: Sequence[str],
) -> Figure:
    """Fig. 6: each teacher's pseudo-labels of the same slices, and below each of them its errors.

    Args:
        images: Slices (H, W), any numbers.
        labels: The truth of each, whole numbers (H, W).
        columns: Per title of a teacher one pseudo-label (H, W) for every slice.
        class_names: Background first, for the legend.
    """
    rows, count = 2 * len(images), len(columns) + 1
    figure, axes = plt.subplots(
        rows, count, figsize=(WIDTH, WIDTH / count * rows * 0.8 + 0.5), layout="constrained"
    )
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        upper, lower = axes[2 * number], axes[2 * number + 1]
        draw_labels(upper[0], image, label)
        draw_labels(lower[0], image, None)
        for column, pseudo_labels in enumerate(columns.values(), start=1):
            error = pseudo_labels[number] != label
            draw_labels(upper[column], image, pseudo_labels[number])
            draw_labels(lower[column], image, None)
            draw_mask(lower[column], error, ERROR)
            lower[column].set_title(f"wrong: {100 * error.mean():.1f} % of pixels", fontsize=8)
    for panel, title in zip(axes[0], ("label (hidden)", *columns), strict=True):
        panel.set_title(title, fontsize=9)
    handles = [Patch(color=PALETTE[i], label=name) for i, name in enumerate(class_names) if i]
    handles.append(Patch(color=ERROR, label="error"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return closed(figure)


def mixed_pairs(
    rows: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray | None]]],
    titles: Sequence[str],
    box: Box,
    class_names: Sequence[str],
) -> Figure:
    """Draw copy-paste, one direction a row: images with their targets, and the box on each.

    Args:
        rows: Per title of a row pairs of an image (H, W) and its target (H, W) or None. Of volumes
            (X, Y, Z) the middle slice is drawn.
        titles: One for each column.
        box: Where one image lies on the other, in pixels; every box that BCP draws in a volume
            meets its middle slice.
        class_names: Background first, for the legend.
    """
    columns = len(titles)
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(WIDTH, WIDTH / columns * len(rows) + 0.6),
        squeeze=False,
        layout="constrained",
    )
    for line, (name, pairs) in zip(axes, rows.items(), strict=True):
        for panel, (image, target) in zip(line, pairs, strict=True):
            draw_labels(panel, to_slice(image), None if target is None else to_slice(target))
            _draw_box(panel, box)
        line[0].set_ylabel(name, fontsize=9)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=9)
    class_legend(figure, class_names)
    return closed(figure)


def _draw_box(axes: Axes, box: Box) -> None:
    (top, left), (height, width) = box.start[:2], box.size[:2]
    corner = (left - 0.5, top - 0.5)  # pixel centers lie on whole numbers
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=1.2))
