"""Pictures of how entropy is spread: over pixels, and over the images of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from buarl.figures.draw import UNCERTAIN, WIDTH, closed

POINTS = 8000  # of a line: no picture shows more, and volumes have millions
LINES = ("#009E73", "#E69F00", "#0072B2")


def entropy_spread(
    entropies: Mapping[str, np.ndarray], thresholds: Mapping[str, float], highest: float
) -> Figure:
    """Draw what share of the pixels lies above each entropy, one line a network.

    Args:
        entropies: Per name of a network its entropies, floats of any shape, nats.
        thresholds: Per name a cut in nats, drawn as an upright line.
        highest: Where the axis ends in nats, ln C for C classes.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 3), layout="constrained")
    for color, (name, values) in zip(LINES, entropies.items(), strict=False):
        ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
        above = 1 - np.arange(1, ordered.size + 1) / ordered.size  # share with more entropy
        shown = np.unique(np.linspace(0, ordered.size - 1, POINTS).astype(int))
        axes.plot(ordered[shown], 100 * above[shown], color=color, label=name)
    for style, (name, cut) in zip(("--", ":", "-."), thresholds.items(), strict=False):
        axes.axvline(cut, color="#444444", linestyle=style, label=name)
    axes.set_yscale("log")
    axes.set_ylim(0.05, 110)
    axes.set_xlim(0, 1.03 * highest)
    axes.set_yticks([0.1, 1, 5, 10, 100], ["0.1", "1", "5", "10", "100"])
    axes.set_xlabel("entropy U (nats)")
    axes.set_ylabel("% of pixels above U")
    axes.legend(fontsize=8, loc="upper center")  # where no line is
    return closed(figure)


def shares_per_image(shares: Mapping[str, Sequence[float]], expected: float) -> Figure:
    """Draw how much of each image is marked, bars side by side for several rules.

    Args:
        shares: Per name of a rule one share for each image, 0-1.
        expected: Share of the whole batch, 0-1, drawn as a dashed line.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 2.6), layout="constrained")
    width = 0.8 / len(shares)
    for number, (name, values) in enumerate(shares.items()):
        places = np.arange(len(values)) + (number - (len(shares) - 1) / 2) * width
        color = (UNCERTAIN, "#E69F00", "#009E73")[number % 3]
        axes.bar(places, 100 * np.asarray(values), width, color=color, label=name)
    axes.axhline(100 * expected, color="#444444", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(next(iter(shares.values())))))
    axes.set_xlabel("image of the batch")
    axes.set_ylabel("% of its pixels marked")
    axes.margins(y=0.3)
    axes.legend(fontsize=8, ncols=len(shares), loc="upper left")
    return closed(figure)
