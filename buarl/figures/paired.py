"""How far two groups of runs lie apart: every case, every seed, and what can be said of them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from buarl.figures.draw import PALETTE, WIDTH, closed

GAIN, ZERO = "#D55E00", "#333333"
MARKERS = "os^Dv"


def paired_differences(
    differences: np.ndarray,
    seeds: Sequence[int],
    interval: tuple[float, float],
    printed: float | None = None,
) -> Figure:
    """Draw B minus A for every seed and case, and below the mean with its interval.

    Args:
        differences: float (seeds, cases), in points.
        seeds: One for each row.
        interval: Lower and upper end, in points.
        printed: What a paper prints as the gain, in points.

    >>> len(paired_differences(np.zeros((2, 3)), [0, 1], (-1.0, 1.0), 1.5).axes)
    2
    """
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(WIDTH, 3.6), sharex=True, height_ratios=[3, 1], layout="constrained"
    )
    colors = ("#0072B2", *PALETTE[1:], "#009E73")
    for row, values in enumerate(differences):
        spread = np.full(len(values), -row, float)
        look = {"marker": MARKERS[row % 5], "s": 26, "alpha": 0.75, "linewidths": 0}
        above.scatter(values, spread, color=colors[row % len(colors)], **look)
        above.plot([values.mean()] * 2, [-row - 0.3, -row + 0.3], color=ZERO, linewidth=2)
    above.set_yticks(-np.arange(len(seeds)), [f"seed {seed}" for seed in seeds])
    above.set_ylim(-len(seeds) + 0.4, 0.6)
    _interval(below, 0, interval, float(differences.mean()))
    below.set_yticks([0], ["all"])
    below.set_ylim(-0.8, 0.8)
    for axes in (above, below):
        _lines(axes, printed)
    below.set_xlabel("difference in Dice, points")
    return closed(figure)


def forest(
    names: Sequence[str],
    intervals: Sequence[tuple[float, float]],
    means: Sequence[float],
    printed: Sequence[float],
) -> Figure:
    """Draw several comparisons under each other: interval, mean, and the printed gain.

    Args:
        names: What is compared, one a line.
        intervals: Lower and upper ends, in points.
        means: In points.
        printed: Printed gains, in points.

    >>> len(forest(["A", "B"], [(-1, 1), (0, 2)], [0, 1], [1.5, 0.5]).axes)
    1
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.42 * len(names)), layout="constrained")
    for row, (interval, mean, gain) in enumerate(zip(intervals, means, printed, strict=True)):
        _interval(axes, -row, interval, mean)
        axes.plot(
            [gain], [-row], "d", color=GAIN, markersize=8, label="" if row else "printed gain"
        )
    axes.axvline(0, color=ZERO, linewidth=1, linestyle=":")
    axes.set_yticks(-np.arange(len(names)), names)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    axes.set_xlabel("difference in Dice, points: mean and 95 % interval")
    axes.legend(loc="best", frameon=False)
    return closed(figure)


def _interval(axes: Axes, row: float, interval: tuple[float, float], mean: float) -> None:
    axes.plot(interval, [row, row], color="#0072B2", linewidth=3, solid_capstyle="butt")
    axes.plot([mean], [row], "o", color="#0072B2", markersize=7)


def _lines(axes: Axes, printed: float | None) -> None:
    axes.axvline(0, color=ZERO, linewidth=1, linestyle=":")
    if printed is not None:
        axes.axvline(printed, color=GAIN, linewidth=2, linestyle="--")
