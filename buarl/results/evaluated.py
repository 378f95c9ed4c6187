"""The table of `buarl evaluate`: every run and class, and runs of one row together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from buarl.evaluation.scores import summary
from buarl.results.table import COLUMNS, markdown_table, score_text, spread_text
from buarl.training.experiment import Experiment

Rows = Sequence[Mapping[str, Any]]
"""Scores of one run as `buarl.evaluation.evaluate` returns them, a line for each case and class."""


def table_of_runs(
    runs: Mapping[str, tuple[Experiment, Rows]], more: Mapping[str, Mapping[str, float]]
) -> str:
    """Lay out the scores of runs: the mean over classes, each class, and what seeds make of them.

    Runs of one row, alike in all but the seed, are followed by their mean and standard deviation.

    Args:
        runs: Per title a run: what was trained, and its scores.
        more: Per title a summary that stands below, such as the ceiling.
    Returns:
        A Markdown table, numbers on the right.

    >>> row = {"class": "disc", "case": "a", "jaccard": 0.5, "hd95": 1.0, "asd": 0.5, "missed": 0}
    >>> print(table_of_runs({"runs/a": (Experiment(), [{**row, "dice": 0.75}])}, {}))
    |        |  Dice | Jaccard | 95HD |  ASD | missed |
    | ------ | ----: | ------: | ---: | ---: | -----: |
    | runs/a | 0.750 |   0.500 | 1.00 | 0.50 |      0 |
    """
    lines = [["", *COLUMNS.values()]]
    for title, (_, rows) in runs.items():
        for name, values in by_class(rows).items():
            lines.append([_label(title, name), *(score_text(key, values[key]) for key in COLUMNS)])
    for titles in same_row(runs):
        lines.extend(_lines_of_spread(titles, runs))
    for title, values in more.items():
        lines.append([title, *(score_text(key, values[key]) for key in COLUMNS)])
    return markdown_table(lines, numbers="right")


def by_class(rows: Rows) -> dict[str, dict[str, float]]:
    """The summary over all classes under "", then that of each class where there are several."""
    names = list(dict.fromkeys(row["class"] for row in rows))
    parts = {name: summary([row for row in rows if row["class"] == name]) for name in names}
    return {"": summary(rows), **(parts if len(names) > 1 else {})}


def same_row(runs: Mapping[str, tuple[Experiment, Rows]]) -> list[list[str]]:
    """The titles of runs that differ in their seed alone, wherever there are two and more.

    A second run of the same row and seed, such as a copy, is no further observation: it stands in
    no group.
    """
    groups: list[tuple[Any, list[str]]] = []
    known_rows: list[Experiment] = []
    for title, (row, rows) in runs.items():
        if row in known_rows:
            continue
        known_rows.append(row)
        key = replace(row, seed=0), {(each["case"], each["class"]) for each in rows}
        same = next((titles for other, titles in groups if other == key), None)
        if same is None:
            groups.append((key, [title]))
        else:
            same.append(title)
    return [titles for _, titles in groups if len(titles) > 1]


def _lines_of_spread(
    titles: Sequence[str], runs: Mapping[str, tuple[Experiment, Rows]]
) -> list[list[str]]:
    seeds = ", ".join(str(runs[title][0].seed) for title in titles)
    which = "" if len(titles) == len(runs) else f", as {titles[0]}"
    again = [t for t in runs if t not in titles and runs[t][0] in [runs[o][0] for o in titles]]
    which += f", not {', '.join(again)} (a seed again)" if again else ""
    head = f"mean ± deviation, seeds {seeds}{which}"
    found = [by_class(runs[title][1]) for title in titles]
    return [
        [_label(head, name), *(spread_text(key, [f[name][key] for f in found]) for key in COLUMNS)]
        for name in found[0]
    ]


def _label(title: str, name: str) -> str:
    """A class stands a little further in than its run."""
    return f"  {name}" if name else title
