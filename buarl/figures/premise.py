"""The premise of a run as pictures: errors by entropy, recall beside its ceiling, confidence.

Every function takes rows of a capsule (`buarl.capsule`) and needs neither network nor data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from buarl.evaluation.calibration import calibration_error
from buarl.evaluation.premise import EDGES, WHERE, counts_of_rows, cut_at, error_rates
from buarl.figures.draw import ERROR, UNCERTAIN, closed

Rows = Sequence[Mapping[str, Any]]
SIZE = (4.6, 3.0)  # inches: two beside each other in a notebook, one across a phone
GRAY = "#808080"  # is seen on white and on black
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":")
CUTS = (95, 99)
FEW = 20  # voxels: a share of fewer says nothing and is not drawn
TICKS = (0, 50, 80, 90, 95, 99, 100)


def last_moment(rows: Rows, images: str = "unlabeled") -> list[Mapping[str, Any]]:
    """The rows of the last moment of a run, of one side.

    Args:
        rows: `Capsule.premise`. images: "labeled" or "unlabeled".

    >>> rows = [{"images": "labeled", "stage": "train", "step": step} for step in (1, 2, 2)]
    >>> len(last_moment(rows, "labeled")), last_moment(rows)
    (2, [])
    """
    ours = [row for row in rows if row["images"] == images]
    return [row for row in ours if _moment(row) == _moment(ours[-1])]


def error_by_percentile(
    rows: Mapping[str, Rows], class_names: Sequence[str], title: str = ""
) -> Figure:
    """Draw how many voxels are wrong, by the percentile of their entropy, one line a name.

    Args:
        rows: Per name rows of `Capsule.premise` of one moment, for example of one class.
        class_names: C names, background first.
        title: Above the picture.
    Returns:
        A closed figure. The axis of percentiles is stretched towards 100; lines mark 95 and 99. A
        point of fewer than 20 voxels is left out.
    """
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    centers = np.arange(len(EDGES) - 1) + 0.5
    for number, (name, chosen) in enumerate(rows.items()):
        counts = counts_of_rows(chosen, class_names)
        enough = counts[..., 0].sum((1, 2)) >= FEW
        rates = np.where(enough, 100 * error_rates(counts), np.nan)
        look = {"color": LINES[number % len(LINES)], "linestyle": STYLES[number % len(STYLES)]}
        axes.plot(centers, rates, marker="o", markersize=3, label=name, **look)
    for cut in CUTS:
        axes.axvline(EDGES.index(cut), color=GRAY, linewidth=1)
    axes.set_xticks([EDGES.index(tick) for tick in TICKS], [f"{tick:g}" for tick in TICKS])
    axes.set_xlabel("percentile of the entropy (stretched)")
    _finish(axes, "wrong, % of voxels", title)
    axes.set_ylim(bottom=0)
    return closed(figure)


def by_class(rows: Rows, class_names: Sequence[str]) -> dict[str, Rows]:
    """Rows of one moment by the class of the label."""
    return {name: [row for row in rows if row["class"] == name] for name in class_names}


def by_moment(rows: Rows) -> dict[str, Rows]:
    """Rows by the stage and step at which a run was looked at, in their order."""
    moments = dict.fromkeys(map(_moment, rows))
    return {f"{m[0]} {m[1]}": [row for row in rows if _moment(row) == m] for m in moments}


def by_place(rows: Rows) -> dict[str, Rows]:
    """Rows of one moment by border and inside."""
    return {where: [row for row in rows if row["where"] == where] for where in WHERE}


def recall_beside_ceiling(rows: Rows, class_names: Sequence[str], title: str = "") -> Figure:
    """Draw what the cuts at 95 and 99 catch of the errors, beside what they can catch at most.

    Args:
        rows: `Capsule.premise` of a run, of one side.
        class_names: C names, background first.
        title: Above the picture.
    Returns:
        A closed figure: per moment and cut a bar for the recall, in the frame of its ceiling.
    """
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    moments = by_moment(rows)
    for shift, cut, color in zip((-0.2, 0.2), CUTS, (UNCERTAIN, ERROR), strict=True):
        found = [cut_at(counts_of_rows(part, class_names), cut) for part in moments.values()]
        places = np.arange(len(moments)) + shift
        axes.bar(places, [100 * c.recall for c in found], 0.34, color=color, label=f"recall, {cut}")
        ceiling = [100 * c.ceiling for c in found]
        look = {"fill": False, "edgecolor": GRAY, "linewidth": 1}
        label = "most there can be" if cut == CUTS[-1] else None
        axes.bar(places, ceiling, 0.34, label=label, **look)
    axes.set_xticks(
        range(len(moments)), ["\n".join(name.rsplit(" ", 1)) for name in moments], fontsize=7
    )
    axes.margins(y=0.35)  # room for the legend
    axes.set_xlabel("stage and step")
    _finish(axes, "errors caught, %", title)
    return closed(figure)


def reliability_diagram(rows: Rows, title: str = "") -> Figure:
    """Draw how often the student is right, by how sure it is, before and after a temperature.

    Args:
        rows: `Capsule.calibration` of a run; those of its last stage are drawn.
        title: Above the picture.
    Returns:
        A closed figure; on the gray line, confidence is what it says. ECE is the mean distance from
        it, in percent.
    """
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    axes.plot([0, 100], [0, 100], color=GRAY, linewidth=1)
    ours = [row for row in rows if _moment(row) == _moment(rows[-1])]
    temperatures = dict.fromkeys(row["temperature"] for row in ours)
    for number, temperature in enumerate(temperatures):
        part = [row for row in ours if row["temperature"] == temperature]
        name = "as trained" if number == 0 else f"T = {temperature:.2f}"
        points = [(100 * row["confidence"], 100 * row["accuracy"]) for row in part]
        look = {"color": LINES[number], "linestyle": STYLES[number], "marker": "o"}
        error = 100 * calibration_error(part)
        axes.plot(*zip(*points, strict=True), label=f"{name}: ECE {error:.1f} %", **look)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="confidence, %")
    _finish(axes, "right, %", title)
    return closed(figure)


def run_curves(histories: Mapping[str, Rows], key: str, ylabel: str, title: str = "") -> Figure:
    """Draw a value over the steps of all stages, one line a run, with every stage change marked.

    Args:
        histories: Per name `Capsule.history` or `Capsule.validation`.
        key: Which value, for example "student_loss" or "dice".
        ylabel: What it is, with its unit.
        title: Above the picture.
    Returns:
        A closed figure; a gray line and the name of the new stage mark a change.
    """
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    changes: dict[int, str] = {}
    for number, (name, rows) in enumerate(histories.items()):
        points, ends = [], {}
        for row in rows:
            before = sum(end for stage, end in ends.items() if stage != row["stage"])
            if row["stage"] not in ends and ends:
                changes[before] = row["stage"]
            ends[row["stage"]] = row["step"]
            if key in row:
                points.append((before + row["step"], row[key]))
        look = {"color": LINES[number % len(LINES)], "linestyle": STYLES[number % len(STYLES)]}
        look["marker"] = "o" if len(points) == 1 else None  # a line of one point is nothing
        if points:
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.3, **look)
    for step, stage in changes.items():
        axes.axvline(step, color=GRAY, linewidth=1)
        place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        axes.annotate(stage, (step, 1), xytext=(3, -9), fontsize=7.5, **place)
    axes.set_xlim(left=0)
    axes.set_xlabel("step")
    _finish(axes, ylabel, title)
    return closed(figure)


def _finish(axes: Axes, ylabel: str, title: str) -> None:
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7.5, frameon=False)


def _moment(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["stage"], row["step"]
