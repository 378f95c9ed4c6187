"""Metric explorer: a stray blob, and what Dice, 95HD and ASD make of it under every definition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from buarl.evaluation.metrics import EMPTY_POLICIES
from buarl.figures.draw import BOTH, ERROR, UNCERTAIN
from buarl.widgets.explorers import live
from buarl.widgets.explorers.controls import Check, Choice, Slider
from buarl.widgets.explorers.definitions import (
    Blob,
    add_blob,
    definition_table,
    directed_distances,
    every_definition,
)
from buarl.widgets.still import Chart, Curve, Panel

TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buarl.widgets.explorers.box import Explorer


class MetricView(live.LiveView):
    """The two masks, the distribution of their surface distances, and a table of definitions.

    Args:
        image: (H, W) or None. shape: (H, W).
    """

    def __init__(self, image: np.ndarray | None, shape: tuple[int, int]) -> None:
        self.background = live.grey(np.zeros(shape) if image is None else image)
        self.longest = math.hypot(*shape)
        self.legend = {"both": BOTH, "label only": ERROR, "prediction only": UNCERTAIN}

    def show(
        self,
        label: np.ndarray,
        prediction: np.ndarray,
        spacing: Sequence[float] = (1.5, 1.5),
        empty: str = "diagonal",
    ) -> dict[str, dict[str, float]]:
        """Show other values.

        Args:
            label: bool (H, W).
            prediction: bool (H, W).
            spacing: Size of a pixel in mm, rows first.
            empty: What an empty mask scores, see `case_metrics`.
        Returns:
            `every_definition` in "pixels" and in "mm".
        """
        codes = label + 2 * prediction.astype(np.int64)  # 3: both
        colors = (ERROR, UNCERTAIN, BOTH)
        masks = live.overlay(self.background, codes, colors, 0.75)
        self.panels = [Panel("the masks", masks)]
        readings = {
            "pixels": every_definition(prediction, label, None, empty),
            "mm": every_definition(prediction, label, spacing, empty),
        }
        self.chart = self._chart(label, prediction, readings["pixels"])
        self.tables = [definition_table(readings, spacing)]
        return readings

    def _chart(self, label: np.ndarray, prediction: np.ndarray, scores: dict) -> Chart:
        """How much of a surface lies within a distance of the other, and the two 95HDs."""
        there, back = directed_distances(prediction, label), directed_distances(label, prediction)
        both = np.sort(np.concatenate([there, back]))
        curves = [
            Curve("from the prediction", self._climb(there), "solid", UNCERTAIN),
            Curve("from the label", self._climb(back), "dashed", ERROR),
            Curve("both lists pooled", self._climb(both), "dotted"),
        ]
        for name, key, style, color in (
            ("95HD, pooled", "hd95", "solid", None),
            ("95HD, larger of two", "hd95_max", "dashdot", "#009E73"),
        ):
            if not math.isnan(scores[key]):
                place = self._place(scores[key])
                curves.append(Curve(name, [(place, 0.0), (place, 1.0)], style, color))
        ticks = [(self._place(n), str(n)) for n in TICKS if n <= self.longest]
        shares = [(n / 100, str(n)) for n in (0, 20, 40, 60, 80, 95)]
        title = "% of the surface within a distance"
        return Chart(title, "distance (pixels)", ticks, shares, curves)

    def _climb(self, values: np.ndarray) -> list[tuple[float, float]]:
        """The share of values up to each, as a curve of few points."""
        found, counts = np.unique(values, return_counts=True)
        shares = np.cumsum(counts) / max(len(values), 1)
        points, before = [], 0.0
        for value, share in zip(found, shares, strict=True):  # steps: up where a value lies
            points += [(self._place(value), before), (self._place(value), float(share))]
            before = float(share)
        return points + [(1.0, before)] * bool(points)

    def _place(self, distance: float) -> float:
        """0-1 along the axis: even up to 2 pixels, logarithmic beyond."""

        def stretched(value: float) -> float:
            return value / 2 if value <= 2 else 1 + math.log(value / 2)

        return float(stretched(min(distance, self.longest)) / stretched(self.longest))


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
    return view.figure()


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

    >>> label = np.zeros((20, 20), bool)
    >>> label[5:15, 5:15] = True
    >>> explorer = metric_explorer(label, np.roll(label, 1, axis=0))
    >>> explorer.controls["row_mm"].value = 3
    >>> print(explorer.readout.splitlines()[2].split())
    ['Dice', '0.900']
    """
    from buarl.widgets.explorers import box

    def build() -> Explorer:
        truth, guess = _checked(label, prediction, len(class_names))
        view = MetricView(image, truth.shape)
        height, width = truth.shape
        classes = [(name, number) for number, name in enumerate(class_names) if number]
        controls = {
            "structure": Choice("structure", classes, classes[-1][1]),
            "row": Slider("row", 0, height - 1, min(blob.row, height - 1)),
            "column": Slider("column", 0, width - 1, min(blob.column, width - 1)),
            "radius": Slider("radius", 0, max(max(height, width) // 6, blob.radius), blob.radius),
            "empty_prediction": Check("empty the prediction", False),
            "empty_label": Check("empty the label", False),
            "empty": Choice("empty mask", list(EMPTY_POLICIES), "diagonal"),
            "row_mm": Slider("row, mm", 0.5, 10, 1.5, 0.25),
            "column_mm": Slider("column, mm", 0.5, 10, 1.5, 0.25),
        }
        columns = {
            "Masks": ("structure", "empty_prediction", "empty_label"),
            "Stray blob, in pixels": ("row", "column", "radius"),
            "Definitions": ("empty", "row_mm", "column_mm"),
        }

        def update(structure: int, empty: str, row_mm: float, column_mm: float, **on: int) -> str:
            chosen = (truth == structure) & (not on["empty_label"])
            stray = Blob(on["row"], on["column"], on["radius"])
            found = add_blob(guess == structure, stray) & (not on["empty_prediction"])
            for name in ("row", "column", "radius"):  # nothing is added to an empty prediction
                controls[name].disabled = on["empty_prediction"]
            view.show(chosen, found, (row_mm, column_mm), empty)
            names = ("label", "prediction")
            none = [name for name, m in zip(names, (chosen, found), strict=True) if not m.any()]
            if not none:
                return ""
            return f"empty: {' and '.join(none)}. Policy '{empty}': {EMPTY_POLICIES[empty]}"

        return box.Explorer(view, controls, update, columns)

    return box.guarded(build)


def _checked(
    label: np.ndarray, prediction: np.ndarray, classes: int
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
        if values.min() < 0 or values.max() >= classes:
            raise ValueError(
                f"{name} must lie in 0 to {classes - 1}, as many as class_names, "
                f"got {values.min()} to {values.max()}"
            )
        arrays.append(values.astype(np.int64))
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(
            f"label and prediction must have one shape, got {arrays[0].shape}, {arrays[1].shape}"
        )
    return arrays[0], arrays[1]
