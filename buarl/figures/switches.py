"""Bars for lessons that ask how much a choice changes."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from buarl.figures.plots import PALETTE, WIDTH


def bars(groups: Mapping[str, Mapping[str, float]], xlabel: str) -> Figure:
    """One horizontal bar per choice on a logarithmic axis, one colour per group.

    Args:
        groups: Per group name, per choice a positive value. xlabel: What the values are.
    Returns:
        A closed figure, the first group on top.
    """
    count = sum(len(values) for values in groups.values())
    figure, axes = plt.subplots(figsize=(WIDTH, 0.27 * count + 1.0), layout="constrained")
    ticks: list[str] = []
    for number, (name, values) in enumerate(groups.items()):
        places = range(len(ticks), len(ticks) + len(values))
        colour = PALETTE[1:][number % 3]
        drawn = axes.barh(places, list(values.values()), color=colour, label=name)
        axes.bar_label(drawn, fmt="%.2g", padding=3, fontsize=8)
        ticks += values
    axes.set_yticks(range(len(ticks)), ticks, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside upper center", ncols=len(groups), frameon=False, fontsize=8)
    plt.close(figure)  # a notebook shows what a cell returns; pyplot would show it once more
    return figure
