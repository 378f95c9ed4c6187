"""Fig. 1 c and d: one pixel the network is sure of, and one it cannot place among three classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from buarl.figures.draw import PALETTE, WIDTH, closed, draw_labels

BACKGROUND = 0.15  # "confident enough of not belonging to background"
AROUND = 10  # pixels on every side of the one that is shown
MARK = "#F0E442"


class Place(NamedTuple):
    """One pixel of a stack of images.

    Attributes:
        image: Number of the image, from 0.
        row: From the top.
        column: From the left.
        probs: float (C,), what the network says there.
    """

    image: int
    row: int
    column: int
    probs: np.ndarray

    @property
    def entropy(self) -> float:
        """Entropy of the prediction in nats."""
        return float(torch.special.entr(torch.as_tensor(self.probs, dtype=torch.float64)).sum())


def most_undecided(probs: np.ndarray, background: float = BACKGROUND) -> Place:
    """Find the pixel that hovers most between all foreground classes.

    Args:
        probs: float (N, C, H, W), probabilities of N slices.
        background: How probable the background may be, 0 to 1.
    Returns:
        The pixel whose least probable foreground class is the most probable of all such pixels.
    Raises:
        ValueError: fewer than two foreground classes, or background everywhere.

    >>> probs = np.zeros((1, 4, 1, 2))
    >>> probs[0, :, 0] = [[0.05, 0.05], [0.9, 0.35], [0.03, 0.3], [0.02, 0.3]]
    >>> most_undecided(probs)[:3]
    (0, 0, 1)
    """
    if probs.ndim != 4 or probs.shape[1] < 3:
        raise ValueError(f"probs must be (N, C, H, W) with C at least 3, got {probs.shape}")
    least = np.where(probs[:, 0] <= background, probs[:, 1:].min(1), -1.0)
    if least.max() < 0:
        raise ValueError(f"at every pixel the background is more probable than {background}")
    return _place(probs, least)


def most_reliable(probs: np.ndarray, label: np.ndarray, of: int = 1) -> Place:
    """Find the pixel of a class that the network is surest of, and right about.

    Args:
        probs: float (N, C, H, W), probabilities of N slices.
        label: Whole numbers (N, H, W), the truth.
        of: The class.
    Returns:
        The pixel with the highest probability of that class.
    Raises:
        ValueError: no pixel of that class is predicted as such.

    >>> probs = np.array([[[[0.4, 0.1]], [[0.6, 0.9]]]])
    >>> most_reliable(probs, np.array([[[1, 1]]]))[:3]
    (0, 0, 1)
    """
    right = (label == of) & (probs.argmax(1) == of)
    if not right.any():
        raise ValueError(f"no pixel of class {of} is predicted as such")
    return _place(probs, np.where(right, probs[:, of], -1.0))


def _place(probs: np.ndarray, score: np.ndarray) -> Place:
    image, row, column = np.unravel_index(int(score.argmax()), score.shape)
    return Place(int(image), int(row), int(column), probs[image, :, row, column])


def pixels_and_places(
    images: np.ndarray,
    pseudo_labels: np.ndarray,
    places: Mapping[str, Place],
    class_names: Sequence[str],
) -> Figure:
    """Fig. 1 c, d: class probabilities of single pixels as bars, beside the place of each.

    Args:
        images: (N, H, W), any numbers.
        pseudo_labels: Whole numbers (N, H, W), drawn in color.
        places: Per title of a panel the pixel.
        class_names: Background first.
    Returns:
        A closed figure with two panels a pixel: its surroundings, and its bars.
    """
    count = len(places)
    figure, axes = plt.subplots(
        1,
        2 * count,
        figsize=(WIDTH, 2.7),
        layout="constrained",
        width_ratios=[1, 1.25] * count,
    )
    for number, (title, place) in enumerate(places.items()):
        around, bars = axes[2 * number : 2 * number + 2]
        _draw_place(around, images[place.image], pseudo_labels[place.image], place)
        names = ["back-\nground" if name == "background" else name for name in class_names]
        names = ["myo-\ncardium" if name == "myocardium" else name for name in names]
        drawn = bars.bar(names, place.probs, color=("#999999", *PALETTE[1:]))
        bars.bar_label(drawn, fmt="%.2f", fontsize=8)
        bars.tick_params(axis="x", labelsize=8)
        bars.set_ylim(0, 1.12)
        bars.set_ylabel("probability", fontsize=9)
        bars.set_title(f"{title}\nU = {place.entropy:.2f} nats", fontsize=9)
        around.set_title(f"row {place.row}, column {place.column}\nof its slice", fontsize=9)
    return closed(figure)


def _draw_place(panel: plt.Axes, image: np.ndarray, pseudo_label: np.ndarray, place: Place) -> None:
    """The pixel in a frame, in the middle of its surroundings."""
    draw_labels(panel, image, pseudo_label, 0.4)
    frame = {"facecolor": "none", "edgecolor": MARK, "linewidth": 2.5}
    panel.add_patch(plt.Rectangle((place.column - 0.5, place.row - 0.5), 1, 1, **frame))
    for limits, middle, length in (
        (panel.set_xlim, place.column, image.shape[1]),
        (panel.set_ylim, place.row, image.shape[0]),
    ):
        low = min(max(middle - AROUND, 0), max(length - 2 * AROUND - 1, 0))
        ends = low - 0.5, min(low + 2 * AROUND + 1, length) - 0.5
        limits(*(ends if limits == panel.set_xlim else ends[::-1]))
