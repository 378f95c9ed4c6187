"""Bars for lessons that ask how much a choice changes."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from buarl.figures.draw import PALETTE, WIDTH, closed


def bars(groups: Mapping[str, Mapping[str, float]], xlabel: str) -> Figure:
    """Draw one horizontal bar a choice on a logarithmic axis, one color a group.

    Args:
        groups: Per name of a group, per name of a choice a positive value.
        xlabel: What the values are, with their unit.
    Returns:
        A closed figure, the first group on top.
    """
    count = sum(len(values) for values in groups.values())
    figure, axes = plt.subplots(figsize=(WIDTH, 0.27 * count + 1.0), layout="constrained")
    ticks: list[str] = []
    for number, (name, values) in enumerate(groups.items()):
        places = range(len(ticks), len(ticks) + len(values))
        color = PALETTE[1:][number % 3]
        drawn = axes.barh(places, list(values.values()), color=color, label=name)
        axes.bar_label(drawn, fmt="%.2g", padding=3, fontsize=8)
        ticks += values
    axes.set_yticks(range(len(ticks)), ticks, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside upper center", ncols=len(groups), frameon=False, fontsize=8)
    return closed(figure)
