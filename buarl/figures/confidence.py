"""Is a network's doubt right? Confidence beside accuracy, risk beside coverage, doubt as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from buarl.evaluation.calibration import calibration_error
from buarl.figures.draw import ERROR, WIDTH, closed

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")
GRAY = "#808080"
POINTS = 400  # of a curve


def doubt_maps(image: np.ndarray, wrong: np.ndarray, maps: Mapping[str, np.ndarray]) -> Figure:
    """Draw a slice with its wrong pixels, and beside it several maps of doubt, one panel a map.

    Args:
        image: (H, W), any numbers.
        wrong: bool (H, W), outlined in every panel.
        maps: Per name a map (H, W), 0 where there is no doubt; each has its own scale.
    Returns:
        A closed figure.
    """
    count = len(maps) + 1
    size = (WIDTH, WIDTH / count + 0.55)
    figure, panels = plt.subplots(1, count, figsize=size, layout="constrained")
    panels[0].imshow(image, cmap="gray", interpolation="nearest")
    panels[0].set_title("wrong pixels", fontsize=9)
    for axes, (name, doubt) in zip(panels[1:], maps.items(), strict=True):
        shown = axes.imshow(doubt, cmap="viridis", vmin=0, interpolation="nearest")
        axes.set_title(name, fontsize=9)
        bar = figure.colorbar(shown, ax=axes, location="bottom", shrink=0.8, pad=0.02)
        bar.ax.tick_params(labelsize=7)
    for axes in panels:
        if wrong.any():
            axes.contour(wrong, levels=[0.5], colors=ERROR, linewidths=0.8)
        axes.set(xticks=[], yticks=[])
    return closed(figure)


def confidence_and_accuracy(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Draw reliability diagrams in one frame, and how many pixels each bin holds.

    Args:
        rows: Per name what `buarl.evaluation.calibration.reliability` returned. A network has one
            color; what follows a comma, as in "BCP, temperature", is a variant and dashed.
    Returns:
        A closed figure. On the gray line confidence is what it says; below it, too sure.
    """
    figure, (axes, counts) = plt.subplots(
        1, 2, figsize=(WIDTH, 3.3), layout="constrained", width_ratios=(3, 2)
    )
    axes.plot([0, 100], [0, 100], color=GRAY, linewidth=1, label="confidence = accuracy")
    networks = list(dict.fromkeys(name.partition(",")[0] for name in rows))
    for name, bins in rows.items():
        network, variant, _ = name.partition(",")
        number = networks.index(network) % 4
        look = {"color": LINES[number], "linestyle": "--" if variant else "-"}
        look |= {"marker": MARKERS[number], "markersize": 4}
        sure = [100 * row["confidence"] for row in bins]
        said = f"{name}: ECE {100 * calibration_error(bins):.1f} %"
        right = [100 * row["accuracy"] for row in bins]
        axes.plot(sure, right, label=said, **look)
        total = sum(row["voxels"] for row in bins)
        shares = [100 * row["voxels"] / total for row in bins]
        counts.plot(sure, shares, **look)
    axes.set(xlim=(20, 101), ylim=(20, 101), xlabel="confidence (%)", ylabel="right (% of bin)")
    counts.set(xlim=(20, 101), yscale="log", xlabel="confidence (%)", ylabel="pixels (% of all)")
    axes.legend(fontsize=8, loc="upper left", frameon=False)
    for each in (axes, counts):
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=8)
    return closed(figure)


def risk_coverage(curves: Mapping[str, np.ndarray], lowest: float = 0.8) -> Figure:
    """Draw how often kept pixels are wrong, by how many are kept.

    Args:
        curves: Per name the risk, 0-1, of the 1, 2, ... n most certain pixels.
        lowest: Coverage at which the axis begins, 0-1.
    Returns:
        A closed figure; the lower a line, the better its order.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 3.2), layout="constrained")
    for number, (name, risk) in enumerate(curves.items()):
        kept = np.linspace(lowest, 1, POINTS)
        places = np.clip(np.round(kept * len(risk)).astype(int) - 1, 0, len(risk) - 1)
        look = {"color": LINES[number % 4], "linestyle": STYLES[number % 4]}
        axes.plot(100 * kept, 100 * np.asarray(risk)[places], label=name, **look)
    axes.set(xlabel="coverage: pixels that are kept (% of all)", xlim=(100 * lowest, 100))
    axes.set_ylabel("risk: wrong (% of kept)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)
    return closed(figure)
