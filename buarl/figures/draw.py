"""What every figure shares: colors, and the drawing of images, classes, masks and legends."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Told apart from each other and from every gray with normal sight and all three dichromacies:
# tests/test_colors.py simulates them. The background's black is never drawn.
PALETTE = ("#000000", "#FDA76C", "#08CAEE", "#A761FF")
ERROR, UNCERTAIN, BOTH = "#D55E00", "#0072B2", "#F0E442"
WIDTH = 9.0  # inches, a notebook's column


def to_slice(array: np.ndarray) -> np.ndarray:
    """Return what a picture can show: an (H, W) array as it is, the middle slice of a volume.

    Args:
        array: (H, W), or (X, Y, Z), which is cut across its last axis.

    >>> to_slice(np.zeros((5, 6))).shape, to_slice(np.zeros((5, 6, 7))).shape
    ((5, 6), (5, 6))
    """
    return array if array.ndim == 2 else array[..., array.shape[-1] // 2]


def draw_labels(
    axes: Axes, image: np.ndarray, label: np.ndarray | None, opacity: float = 0.55
) -> None:
    """Draw an image in gray with its classes in color.

    Args:
        axes: Where to draw.
        image: (H, W), any numbers.
        label: Whole numbers (H, W), where 0 is left clear; None draws the image alone.
        opacity: How opaque the colors are, 0 to 1.
    """
    axes.imshow(image, cmap="gray", interpolation="nearest")
    if label is not None:
        shown = np.ma.masked_equal(label, 0)
        colors = ListedColormap(PALETTE)
        axes.imshow(shown, colors, vmin=0, vmax=3, alpha=opacity, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def draw_mask(axes: Axes, mask: np.ndarray, color: str, opacity: float = 0.85) -> None:
    """Draw a mask over what is there already.

    Args:
        axes: Where to draw.
        mask: bool (H, W), clear where False.
        color: Any color of matplotlib.
        opacity: 0-1.
    """
    axes.imshow(
        np.ma.masked_equal(mask.astype(np.uint8), 0),
        ListedColormap([color]),
        alpha=opacity,
        interpolation="nearest",
    )


def draw_outline(axes: Axes, mask: np.ndarray, color: str = ERROR, width: float = 1.1) -> None:
    """Draw a line around a mask, along the edges of its pixels; what lies inside stays visible.

    Args:
        axes: Where to draw.
        mask: bool (H, W).
        color: Any color of matplotlib.
        width: Of the line, in points.
    """
    padded = np.pad(mask.astype(np.int8), 1)
    rows, columns = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    lines = [[(x - 0.5, y - 0.5), (x + 0.5, y - 0.5)] for y, x in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(np.diff(padded, axis=1)[1:-1])
    lines += [[(x - 0.5, y - 0.5), (x - 0.5, y + 0.5)] for y, x in zip(rows, columns, strict=True)]
    axes.add_collection(LineCollection(lines, colors=color, linewidths=width, capstyle="round"))


def class_legend(figure: Figure, class_names: Sequence[str], *, errors: bool = False) -> None:
    """Put one legend of the classes below all axes.

    Args:
        figure: Made with layout="constrained".
        class_names: Background first; it has no entry.
        errors: Say that a line goes around what is wrong.
    """
    handles = [Patch(color=PALETTE[i], label=name) for i, name in enumerate(class_names) if i]
    if errors:
        handles.append(Patch(facecolor="none", edgecolor=ERROR, label="line: around errors"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def closed(figure: Figure) -> Figure:
    """Close a figure and return it.

    A notebook shows the figure that a cell returns; pyplot would show an open one a second time.
    """
    plt.close(figure)
    return figure
