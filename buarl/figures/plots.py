"""The paper's figures as functions of arrays; each returns a closed matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from buarl.entropy import entropy_threshold, uncertain_mask
from buarl.evaluation.errors import error_capture

# Told apart from each other and from every grey with normal sight and all three dichromacies:
# tests/test_colors.py simulates them. The background's black is never drawn.
PALETTE = ("#000000", "#FDA76C", "#08CAEE", "#A761FF")
ERROR, UNCERTAIN, BOTH = "#D55E00", "#0072B2", "#F0E442"
WIDTH = 9.0  # inches, a notebook's column


def to_slice(array: np.ndarray) -> np.ndarray:
    """(H, W) as it is; of a volume (X, Y, Z) the middle slice along the last axis."""
    return array if array.ndim == 2 else array[..., array.shape[-1] // 2]


def draw_labels(
    axes: Axes, image: np.ndarray, label: np.ndarray | None, opacity: float = 0.55
) -> None:
    """An image in grey with its classes in colour.

    Args:
        image: (H, W). label: whole numbers (H, W), 0 is left clear, or None.
    """
    axes.imshow(image, cmap="gray", interpolation="nearest")
    if label is not None:
        shown = np.ma.masked_equal(label, 0)
        colours = ListedColormap(PALETTE)
        axes.imshow(shown, colours, vmin=0, vmax=3, alpha=opacity, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def draw_mask(axes: Axes, mask: np.ndarray, colour: str, opacity: float = 0.85) -> None:
    """A bool mask (H, W) in one colour, clear elsewhere."""
    axes.imshow(
        np.ma.masked_equal(mask.astype(np.uint8), 0),
        ListedColormap([colour]),
        alpha=opacity,
        interpolation="nearest",
    )


def class_legend(figure: Figure, class_names: Sequence[str]) -> None:
    """One legend of the classes below all axes."""
    handles = [Patch(color=PALETTE[i], label=name) for i, name in enumerate(class_names) if i]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)


def entropy_cuts(
    image: np.ndarray, entropy: np.ndarray, percentiles: Sequence[float] = (95, 97, 99)
) -> Figure:
    """Fig. 5: an image, its entropy, and the uncertain mask at each percentile of this image.

    Args:
        image: (H, W). entropy: (H, W), nats. percentiles: Cuts.
    """
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
        draw_mask(panel, mask, UNCERTAIN)
        title = f"q = {percentile:g}: {100 * mask.mean():.1f} % of pixels\nH > {threshold:.3f} nats"
        panel.set_title(title, fontsize=9)
    return _closed(figure)


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
        image, label, pseudo_label, entropy: (H, W). percentile: Cut, over this image.
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
    return _closed(figure)


def class_probabilities(probs: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Fig. 1 c, d: class probabilities of single pixels as bars, with their entropy.

    Args:
        probs: Per panel title, (C,), sums to 1.
    """
    figure, axes = plt.subplots(
        1, len(probs), figsize=(WIDTH * 0.75, 2.6), sharey=True, layout="constrained"
    )
    for panel, (title, values) in zip(np.atleast_1d(axes), probs.items(), strict=True):
        bars = panel.bar(class_names, values, color=("#999999", *PALETTE[1:]))
        panel.bar_label(bars, fmt="%.2f", fontsize=8)
        entropy = float(torch.special.entr(torch.as_tensor(values)).sum())
        panel.set_title(f"{title}\nH = {entropy:.2f} nats", fontsize=9)
        panel.set_ylim(0, 1.1)
    np.atleast_1d(axes)[0].set_ylabel("probability")
    return _closed(figure)


def predictions_side_by_side(
    images: Sequence[np.ndarray],
    columns: Mapping[str, Sequence[np.ndarray]],
    class_names: Sequence[str],
) -> Figure:
    """Fig. 3: the same slices in every row's columns, one column per method.

    Args:
        images: Slices (H, W). columns: Per title one label map (H, W) for every slice.
    """
    rows, count = len(images), len(columns) + 1
    figure, axes = plt.subplots(
        rows,
        count,
        figsize=(WIDTH, WIDTH / count * rows + 0.5),
        squeeze=False,
        layout="constrained",
    )
    for row, image in enumerate(images):
        draw_labels(axes[row, 0], image, None)
        for column, labels in enumerate(columns.values(), start=1):
            draw_labels(axes[row, column], image, labels[row])
    for panel, title in zip(axes[0], ("image", *columns), strict=True):
        panel.set_title(title, fontsize=9)
    class_legend(figure, class_names)
    return _closed(figure)


def curves(histories: Mapping[str, Sequence[Mapping]], key: str, ylabel: str) -> Figure:
    """A logged value over the steps of all stages, one line per run.

    Args:
        histories: Per name, rows as `fit` returns them. key: Which value to draw.
    """
    figure, axes = plt.subplots(figsize=(WIDTH * 0.75, 2.8), layout="constrained")
    styles = ("-", "--", "-.", ":")
    for number, (name, history) in enumerate(histories.items()):
        points = [(i, row[key]) for i, row in enumerate(history) if key in row]
        steps = [_running_step(history, i) for i, _ in points]
        colour = (*PALETTE[1:], "#009E73", "#0072B2")[number % 5]
        axes.plot(steps, [v for _, v in points], styles[number % 4], color=colour, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=8)
    return _closed(figure)


def _running_step(history: Sequence[Mapping], index: int) -> int:
    """Step counted through all stages."""
    ends = {row["stage"]: row["step"] for row in history}
    earlier = []
    for row in history[: index + 1]:
        if row["stage"] not in earlier:
            earlier.append(row["stage"])
    return sum(ends[stage] for stage in earlier[:-1]) + history[index]["step"]


def _percent(value: float) -> str:
    return "none" if np.isnan(value) else f"{100 * value:.0f} %"


def _closed(figure: Figure) -> Figure:
    plt.close(figure)  # a notebook shows what a cell returns; pyplot would show it once more
    return figure
