"""Two masks over each other, pixel by pixel."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from buarl.figures.draw import WIDTH, closed

COLORS = {
    "neither": "#f4f4f4",
    "target only": "#0072B2",
    "prediction only": "#D55E00",
    "both": "#999999",
}


def two_masks(prediction: np.ndarray, target: np.ndarray) -> Figure:
    """Draw where two small masks agree, and what only one of them has.

    Args:
        prediction: bool (H, W), up to about 30 x 40 pixels, so that each can be seen.
        target: bool (H, W).

    >>> len(two_masks(np.eye(3, dtype=bool), np.ones((3, 3), bool)).axes)
    1
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.6, 3.2), layout="constrained")
    kinds = target.astype(int) + 2 * prediction.astype(int)
    axes.imshow(kinds, ListedColormap(list(COLORS.values())), vmin=0, vmax=3)
    rows, columns = kinds.shape
    axes.set_xticks(np.arange(columns + 1) - 0.5, labels=[])
    axes.set_yticks(np.arange(rows + 1) - 0.5, labels=[])
    axes.grid(color="white", linewidth=1.5)
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    handles = [
        Patch(color=color, label=name) for name, color in COLORS.items() if name != "neither"
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return closed(figure)
