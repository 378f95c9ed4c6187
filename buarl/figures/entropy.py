"""Pictures of how entropy is spread: over pixels, and over the images of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from buarl.figures.plots import UNCERTAIN, WIDTH

POINTS = 8000  # of a line: no picture shows more, and volumes have millions
LINES = ("#009E73", "#E69F00", "#0072B2")


def entropy_spread(
    entropies: Mapping[str, np.ndarray], thresholds: Mapping[str, float], highest: float
) -> Figure:
    """What share of the pixels lies above every entropy, one line per network.

    Args:
        entropies: Per name any shape, nats. thresholds: Per name a cut in nats, drawn upright.
        highest: End of the axis, ln C.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 3), layout="constrained")
    for colour, (name, values) in zip(LINES, entropies.items(), strict=False):
        ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
        above = 1 - np.arange(1, ordered.size + 1) / ordered.size  # share with more entropy
        shown = np.unique(np.linspace(0, ordered.size - 1, POINTS).astype(int))
        axes.plot(ordered[shown], 100 * above[shown], color=colour, label=name)
    for style, (name, cut) in zip(("--", ":", "-."), thresholds.items(), strict=False):
        axes.axvline(cut, color="#444444", linestyle=style, label=name)
    axes.set_yscale("log")
    axes.set_ylim(0.05, 110)
    axes.set_xlim(0, 1.03 * highest)
    axes.set_yticks([0.1, 1, 5, 10, 100], ["0.1", "1", "5", "10", "100"])
    axes.set_xlabel("entropy H (nats)")
    axes.set_ylabel("% of pixels above H")
    axes.legend(fontsize=8, loc="lower left")
    plt.close(figure)
    return figure


def shares_per_image(shares: Mapping[str, Sequence[float]], expected: float) -> Figure:
    """How much of every image is marked, bars side by side for several rules.

    Args:
        shares: Per name one share (0-1) per image. expected: The share of the whole batch, 0-1.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 2.6), layout="constrained")
    width = 0.8 / len(shares)
    for number, (name, values) in enumerate(shares.items()):
        places = np.arange(len(values)) + (number - (len(shares) - 1) / 2) * width
        colour = (UNCERTAIN, "#E69F00", "#009E73")[number % 3]
        axes.bar(places, 100 * np.asarray(values), width, color=colour, label=name)
    axes.axhline(100 * expected, color="#444444", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(next(iter(shares.values())))))
    axes.set_xlabel("image of the batch")
    axes.set_ylabel("% of its pixels marked")
    axes.margins(y=0.3)
    axes.legend(fontsize=8, ncols=len(shares), loc="upper left")
    plt.close(figure)
    return figure
