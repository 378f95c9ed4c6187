"""Metric explorer: a stray blob, and what Dice, 95HD and ASD make of it under every definition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from buarl.evaluation.metrics import EMPTY_POLICIES
from buarl.figures.draw import BOTH, ERROR, UNCERTAIN
from buarl.widgets.explorers import live
from buarl.widgets.explorers.definitions import (
    Blob,
    add_blob,
    definition_table,
    directed_distances,
    every_definition,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buarl.widgets.explorers.box import Explorer


class MetricView(live.LiveView):
    """The two masks, the distribution of their surface distances, and a table of definitions.

    Args:
        image: (H, W) or None. shape: (H, W).
    """

    def __init__(self, image: np.ndarray | None, shape: tuple[int, int]) -> None:
        self.figure = Figure(figsize=(9.1, 3.3))
        axes = self.figure.add_axes((0.005, 0.1, 0.37, 0.82))
        self.background = live.grey(np.zeros(shape) if image is None else image)
        self.masks = live.panel(axes, "the masks")
        names = ("both", "label only", "prediction only")
        live.legend(self.figure, dict(zip(names, (BOTH, ERROR, UNCERTAIN), strict=True)))
        self._curves(math.hypot(*shape))
        self.text = live.text_below(self.figure)
        self.moving = [self.masks, *self.lines, *self.cuts]

    def _curves(self, longest: float) -> None:
        axes = self.figure.add_axes((0.42, 0.15, 0.4, 0.77))
        styles = (UNCERTAIN, "-", "from prediction"), (ERROR, "--", "from label")
        styles += (("#000000", ":", "both lists pooled"),)
        self.lines = [axes.plot([], [], s, color=c, label=n)[0] for c, s, n in styles]
        self.cuts = [
            axes.axvline(0, color="#000000", linestyle=":", linewidth=1, label="pooled 95HD"),
            axes.axvline(0, color="#009E73", linestyle="-.", linewidth=1.5, label="larger 95HD"),
        ]
        axes.axhline(95, color="#999999", linewidth=0.8)
        axes.set_xscale("symlog", linthresh=2)
        axes.set(xlim=(-0.1, longest), ylim=(0, 103))
        axes.set_xticks([0, 1, 2, 5, 10, 20, 50], ["0", "1", "2", "5", "10", "20", "50"])
        axes.set_xticks([], minor=True)
        axes.set_title("% of surface within a distance", fontsize=9)
        axes.set_xlabel("distance (pixels)", fontsize=9, labelpad=1)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)

    def show(
        self,
        label: np.ndarray,
        prediction: np.ndarray,
        spacing: Sequence[float] = (1.5, 1.5),
        empty: str = "diagonal",
    ) -> dict[str, dict[str, float]]:
        """Move the artists.

        Args:
            label: bool (H, W).
            prediction: bool (H, W).
            spacing: Size of a pixel in mm, rows first.
            empty: What an empty mask scores, see `case_metrics`.
        Returns:
            `every_definition` in "pixels" and in "mm".
        """
        codes = label + 2 * prediction.astype(np.int64)  # 3: both
        colours = (ERROR, UNCERTAIN, BOTH)
        live.paint(self.masks, live.overlay(self.background, codes, colours, 0.75))
        there, back = directed_distances(prediction, label), directed_distances(label, prediction)
        both = np.sort(np.concatenate([there, back]))
        for line, values in zip(self.lines, (there, back, both), strict=True):
            shares = 100 * np.arange(1, len(values) + 1) / max(len(values), 1)
            line.set_data(values, shares)
        readings = {
            "pixels": every_definition(prediction, label, None, empty),
            "mm": every_definition(prediction, label, spacing, empty),
        }
        for line, key in zip(self.cuts, ("hd95", "hd95_max"), strict=True):
            line.set_xdata([readings["pixels"][key]] * 2)
        self.text.set_text(definition_table(readings, spacing))
        return readings


def draw_metrics(
    label: np.ndarray,
    prediction: np.ndarray,
    blob: Blob = Blob(),
    image: np.ndarray | None = None,
    **shown: object,
) -> Figure:
    """The static picture.

    Args:
        label: bool (H, W).
        prediction: bool (H, W).
        blob: Added to the prediction.
        image: (H, W), drawn below.
        shown: `spacing` and `empty` of `MetricView.show`.
    """
    view = MetricView(image, label.shape)
    view.show(label, add_blob(prediction, blob), **shown)
    return view.figure


def metric_explorer(
    label: np.ndarray,
    prediction: np.ndarray,
    image: np.ndarray | None = None,
    class_names: Sequence[str] = ("background", "structure"),
    blob: Blob = Blob(8, 8),
) -> Explorer:
    """Move a stray blob, empty a mask, change the spacing; watch the scores.

    Args:
        label: Classes, whole numbers or bool (H, W).
        prediction: Classes, the same shape.
        image: (H, W), drawn below.
        class_names: Background first; one class is scored at a time.
        blob: Where the stray blob starts.
    Returns:
        A box; bad input becomes a message in it.
    """
    from buarl.widgets.explorers import box

    def build() -> Explorer:
        import ipywidgets

        truth, guess = _checked(label, prediction, len(class_names))
        view = MetricView(image, truth.shape)
        height, width = truth.shape
        classes = [(name, number) for number, name in enumerate(class_names) if number]
        tick = {"indent": False, "layout": {"width": "290px"}}
        controls = {
            "structure": box.choice("structure", classes, classes[-1][1]),
            "row": box.slider("row", 0, height - 1, min(blob.row, height - 1)),
            "column": box.slider("column", 0, width - 1, min(blob.column, width - 1)),
            "radius": box.slider(
                "radius", 0, max(max(height, width) // 6, blob.radius), blob.radius
            ),
            "empty_prediction": ipywidgets.Checkbox(description="empty the prediction", **tick),
            "empty_label": ipywidgets.Checkbox(description="empty the label", **tick),
            "empty": box.choice("empty masks", list(EMPTY_POLICIES), "diagonal"),
            "row_mm": box.slider("mm per row", 0.5, 10, 1.5, 0.25),
            "column_mm": box.slider("mm per col.", 0.5, 10, 1.5, 0.25),
        }
        columns = {
            "Masks": ("structure", "empty_prediction", "empty_label"),
            "Stray blob, in pixels": ("row", "column", "radius"),
            "Definitions": ("empty", "row_mm", "column_mm"),
        }

        def update(structure: int, empty: str, row_mm: float, column_mm: float, **on: int) -> str:
            chosen = (truth == structure) & (not on["empty_label"])
            stray = Blob(on["row"], on["column"], on["radius"])
            found = add_blob((guess == structure) & (not on["empty_prediction"]), stray)
            view.show(chosen, found, (row_mm, column_mm), empty)
            names = ("label", "prediction")
            none = [name for name, m in zip(names, (chosen, found), strict=True) if not m.any()]
            if not none:
                return ""
            return f"empty: {' and '.join(none)}. Policy '{empty}': {EMPTY_POLICIES[empty]}"

        return box.Explorer(view, controls, update, columns)

    return box.guarded(build)


def _checked(
    label: np.ndarray, prediction: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name, values in (("label", np.asarray(label)), ("prediction", np.asarray(prediction))):
        if values.ndim != 2:
            raise ValueError(
                f"{name} must be one slice (H, W), got shape {values.shape}; of a volume, give one"
            )
        live.check_finite(name, values)
        if values.dtype.kind not in "bui":
            raise ValueError(f"{name} must hold whole numbers, got {values.dtype}")
        if values.size and not (values.min() >= 0 and values.max() < num_classes):
            raise ValueError(
                f"{name} must hold classes 0 to {num_classes - 1}, as class_names says, got "
                f"{values.min()} to {values.max()}"
            )
        arrays.append(values.astype(np.int64))
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(
            f"label and prediction must have one shape, got {arrays[0].shape}, {arrays[1].shape}"
        )
    return arrays[0], arrays[1]
