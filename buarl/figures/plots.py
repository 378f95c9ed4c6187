"""The paper's figures as functions of arrays; each returns a closed matplotlib Figure.

Fig. 2 is `schematics.architecture`; Fig. 1 c and d stand in `undecided`, Fig. 4 in `surfaces`,
Fig. 6 in `pseudo_labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from buarl.arguments import check_choice
from buarl.entropy import entropy_threshold, uncertain_mask
from buarl.evaluation.errors import error_capture
from buarl.figures.draw import (
    BOTH,
    ERROR,
    PALETTE,
    UNCERTAIN,
    WIDTH,
    class_legend,
    closed,
    draw_labels,
    draw_mask,
    draw_outline,
    to_slice,
)

PAPER_LOW, PAPER_HIGH = "#D62728", "#00B050"  # red and green, as the paper's Fig. 5

__all__ = [
    "class_probabilities",
    "curves",
    "entropy_cuts",
    "errors_beside_uncertainty",
    "predictions_side_by_side",
    "to_slice",
]


def entropy_cuts(
    image: np.ndarray,
    entropy: np.ndarray,
    percentiles: Sequence[float] = (95, 97, 99),
    colors: Literal["ours", "paper"] = "ours",
) -> Figure:
    """Fig. 5: an image, its entropy, and the uncertain mask at each percentile of this image.

    Args:
        image: (H, W), any numbers.
        entropy: float (H, W), nats.
        percentiles: Cuts in percent, one panel each.
        colors: "ours" lays blue on what is uncertain; "paper" green on that and red on the rest,
            which one man in twelve cannot tell apart.
    Returns:
        A closed figure; titles say each threshold and the share of pixels above it.
    Raises:
        ValueError: other colors.

    >>> image = np.linspace(0, 1, 400).reshape(20, 20)
    >>> [axes.get_title() for axes in entropy_cuts(image, image, percentiles=[95]).axes][2]
    'q = 95: 5.0 % of pixels\\nU > 0.950 nats'
    """
    check_choice("colors", colors, ("ours", "paper"))
    columns = 2 + len(percentiles)
    figure, axes = plt.subplots(1, columns, figsize=(WIDTH, 2.5), layout="constrained")
    draw_labels(axes[0], image, None)
    axes[0].set_title("image", fontsize=9)
    shown = axes[1].imshow(entropy, cmap="cividis", interpolation="nearest")
    axes[1].set_title("entropy (nats)", fontsize=9)
    axes[1].set_xticks([])
    axes[1].set_yticks([])
    figure.colorbar(shown, ax=axes[1], shrink=0.75)
    batch = torch.from_numpy(np.ascontiguousarray(entropy))[None]
    for panel, percentile in zip(axes[2:], percentiles, strict=True):
        mask = uncertain_mask(batch, percentile)[0].numpy()
        threshold = float(entropy_threshold(batch, percentile))
        draw_labels(panel, image, None)
        if colors == "paper":
            draw_mask(panel, ~mask, PAPER_LOW, 0.35)
        draw_mask(panel, mask, PAPER_HIGH if colors == "paper" else UNCERTAIN)
        title = f"q = {percentile:g}: {100 * mask.mean():.1f} % of pixels\nU > {threshold:.3f} nats"
        panel.set_title(title, fontsize=9)
    return closed(figure)


def errors_beside_uncertainty(
    image: np.ndarray,
    label: np.ndarray,
    pseudo_label: np.ndarray,
    entropy: np.ndarray,
    class_names: Sequence[str],
    percentile: float = 99,
) -> Figure:
    """Fig. 1 a, b: where the pseudo-label is wrong, beside where the entropy is highest.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W), the truth.
        pseudo_label: Whole numbers (H, W), what the teacher says.
        entropy: float (H, W), nats.
        class_names: Background first.
        percentile: Cut in percent, over this image.
    Returns:
        A closed figure; titles say the share of wrong pixels and how many of them are uncertain.
    """
    error = label != pseudo_label
    batch = torch.from_numpy(np.ascontiguousarray(entropy))[None]
    uncertain = uncertain_mask(batch, percentile)[0].numpy()
    capture = error_capture(torch.from_numpy(error)[None], batch, percentile)
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 2.9), layout="constrained")
    for panel, title, shown in (
        (axes[0], "label", label),
        (axes[1], "pseudo-label", pseudo_label),
        (axes[2], f"(a) errors: {100 * error.mean():.1f} % of pixels", None),
        (
            axes[3],
            f"(b) q = {percentile:g}: {_percent(capture.recall)} of errors",
            None,
        ),
    ):
        draw_labels(panel, image, shown)
        panel.set_title(title, fontsize=9)
    draw_mask(axes[2], error, ERROR)
    draw_mask(axes[3], uncertain & ~error, UNCERTAIN)
    draw_mask(axes[3], uncertain & error, BOTH)
    handles = [Patch(color=PALETTE[i], label=name) for i, name in enumerate(class_names) if i]
    handles += [
        Patch(color=ERROR, label="error"),
        Patch(color=UNCERTAIN, label="uncertain, correct"),
        Patch(color=BOTH, label="uncertain and wrong"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return closed(figure)


def class_probabilities(probs: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Fig. 1 c, d: class probabilities of single pixels as bars, with their entropy.

    Args:
        probs: Per title of a panel the probabilities of one pixel, (C,), which sum to 1.
        class_names: Background first.
    """
    figure, axes = plt.subplots(
        1, len(probs), figsize=(WIDTH * 0.75, 2.6), sharey=True, layout="constrained"
    )
    for panel, (title, values) in zip(np.atleast_1d(axes), probs.items(), strict=True):
        bars = panel.bar(class_names, values, color=("#999999", *PALETTE[1:]))
        panel.bar_label(bars, fmt="%.2f", fontsize=8)
        entropy = float(torch.special.entr(torch.as_tensor(values)).sum())
        panel.set_title(f"{title}\nU = {entropy:.2f} nats", fontsize=9)
        panel.set_ylim(0, 1.1)
    np.atleast_1d(axes)[0].set_ylabel("probability")
    return closed(figure)


def predictions_side_by_side(
    images: Sequence[np.ndarray],
    columns: Mapping[str, Sequence[np.ndarray]],
    class_names: Sequence[str],
    truth: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Fig. 3: one slice a row, one method a column.

    Args:
        images: Slices (H, W), of one size or of several.
        columns: Per title one label map (H, W) for every slice.
        class_names: Background first, for the legend.
        truth: The true label (H, W) of every slice; a line goes around what differs from it.
    """
    rows, count = len(images), len(columns) + 1
    height = sum(len(image) / image.shape[1] for image in images) * WIDTH / count
    figure, axes = plt.subplots(
        rows,
        count,
        figsize=(WIDTH, height + 0.5),
        squeeze=False,
        layout="constrained",
    )
    for row, image in enumerate(images):
        draw_labels(axes[row, 0], image, None)
        for column, labels in enumerate(columns.values(), start=1):
            draw_labels(axes[row, column], image, labels[row])
            if truth is not None:
                draw_outline(axes[row, column], labels[row] != truth[row])
    for panel, title in zip(axes[0], ("image", *columns), strict=True):
        panel.set_title(title, fontsize=9)
    class_legend(figure, class_names, errors=truth is not None)
    return closed(figure)


def curves(histories: Mapping[str, Sequence[Mapping]], key: str, ylabel: str) -> Figure:
    """Draw a logged value over the steps of all stages, one line a run.

    Args:
        histories: Per name the rows that `fit` returns as `history`.
        key: Which value to draw, for example "student_loss".
        ylabel: What it is, with its unit.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 2.8), layout="constrained")
    styles = ("-", "--", "-.", ":")
    for number, (name, history) in enumerate(histories.items()):
        points = [(i, row[key]) for i, row in enumerate(history) if key in row]
        steps = [_running_step(history, i) for i, _ in points]
        color = (*PALETTE[1:], "#009E73", "#0072B2")[number % 5]
        look = {"color": color, "label": name, "marker": "o" if len(points) == 1 else None}
        axes.plot(steps, [v for _, v in points], styles[number % 4], **look)
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=8)
    return closed(figure)


def _running_step(history: Sequence[Mapping], index: int) -> int:
    """The step of a row of the history, counted through all stages."""
    ends = {row["stage"]: row["step"] for row in history}
    earlier = []
    for row in history[: index + 1]:
        if row["stage"] not in earlier:
            earlier.append(row["stage"])
    return sum(ends[stage] for stage in earlier[:-1]) + history[index]["step"]


def _percent(value: float) -> str:
    return "none" if np.isnan(value) else f"{100 * value:.0f} %"
