"""Case browser: every volume of a run, worst first, with what the network says of it and where it
is wrong."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from buarl.data.source import Source
from buarl.figures.draw import BOTH, ERROR, UNCERTAIN
from buarl.methods import Method
from buarl.training.config import Config
from buarl.widgets.explorers import live
from buarl.widgets.explorers.case_list import Case, Cases, score_table
from buarl.widgets.explorers.controls import Choice, Slider
from buarl.widgets.still import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buarl.widgets.explorers.box import Explorer

ERRORS = ("missed", "added", "mistaken for another class")
ERROR_COLORS = (ERROR, UNCERTAIN, BOTH)


class CaseView(live.LiveView):
    """Image, label, prediction, entropy, errors of a slice, and the scores of the case."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.highest = math.log(len(class_names))
        self.legend = live.class_colors(class_names)
        self.legend |= dict(zip(ERRORS, ERROR_COLORS, strict=True))

    def show(self, case: Case, index: int) -> None:
        """Show a slice of a case."""
        image, label, prediction, entropy, errors = case.cut(index)
        pixels = live.grey(image)
        shown = {
            "image": pixels,
            "label": live.class_overlay(pixels, label),
            "prediction": live.class_overlay(pixels, prediction),
            f"entropy, 0 to {self.highest:.2f} nats": live.heat(entropy, self.highest),
            "errors": live.overlay(pixels, errors, ERROR_COLORS),
        }
        self.panels = [Panel(title, panel) for title, panel in shown.items()]
        depth, wrong = case.image.shape[case.axis], np.count_nonzero(errors)
        head = f"{case.name}, slice {index + 1} of {depth}: {wrong} of {errors.size} pixels wrong"
        self.tables = [score_table(case.rows, head)]


def draw_case(case: Case, class_names: Sequence[str], index: int | None = None) -> Figure:
    """Draw a slice of a case as a static picture.

    Args:
        case: What to draw.
        class_names: Background first.
        index: Which slice, from 0; None draws the one with most errors.
    """
    view = CaseView(class_names)
    view.show(case, case.worst_slice() if index is None else index)
    return view.figure()


def case_browser(
    run: str | Path | Method,
    source: Source | None = None,
    config: Config | None = None,
    *,
    split: str = "val",
    root: Path | None = None,
) -> Explorer:
    """Browse the cases of a run, sorted by Dice: choose one, move through its slices.

    Args:
        run: A finished run folder, or a method; a method needs its source and config.
        source: The data set of a method.
        config: Numbers of a method, for training size and stride.
        split: Which volumes.
        root: Where the data of a run folder lie, if they have moved.
    Returns:
        A box; bad input, such as a missing folder, becomes a message in it.
    """
    from buarl.widgets.explorers import box

    def build() -> Explorer:
        if isinstance(run, Method):
            if source is None or config is None:
                raise ValueError("a method alone has no cases: give its source and config too")
            cases = Cases(run, source, config, split)
        else:
            cases = Cases.of_run(run, split, root)
        view = CaseView(cases.source.class_names)
        ranking = cases.ranking()
        options = [(f"{dice:.3f}  {name}", name) for name, dice in ranking.items()]
        worst = next(iter(ranking))
        controls = {
            "case": Choice("case", options, worst, "list"),
            "order": Choice("order", ("worst first", "best first"), "worst first"),
            "index": Slider("slice", 1, 1, 1),
        }
        columns = {"Cases, mean Dice": ("case", "order"), "Shown": ("index",)}

        def update(case: str, order: str, index: int) -> str:
            shown = cases.get(case)
            view.show(shown, index - 1)
            empty = [row["class"] for row in shown.rows if math.isnan(row["dice"])]
            return f"not in the label and not predicted: {', '.join(empty)}" if empty else ""

        explorer = box.Explorer(view, controls, update, columns)
        return _linked(explorer, cases, options)

    return box.guarded(build)


def _linked(explorer: Explorer, cases: Cases, options: list[tuple[str, str]]) -> Explorer:
    """A new case comes with its own number of slices and starts at its worst one."""
    from buarl.widgets.explorers.box import EXPECTED

    index = explorer.controls["index"]

    def select(change: dict) -> None:
        try:
            case = cases.get(change["new"])
        except EXPECTED as error:
            explorer.say(error)
            return
        with explorer.paused():
            index.max = case.image.shape[case.axis]
            index.value = case.worst_slice() + 1
        explorer.refresh()

    def sort(change: dict) -> None:
        select_box = explorer.controls["case"]
        chosen = select_box.value
        with explorer.paused():
            select_box.options = options if change["new"] == "worst first" else options[::-1]
            select_box.value = chosen

    explorer.controls["case"].unobserve(explorer.changed, "value")
    explorer.controls["case"].observe(select, "value")
    explorer.controls["order"].unobserve(explorer.changed, "value")
    explorer.controls["order"].observe(sort, "value")
    select({"new": explorer.controls["case"].value})
    return explorer
