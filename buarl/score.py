"""Score a finished run and write the table of its cases beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from buarl.config import Experiment, config_for
from buarl.data.source import Source
from buarl.evaluate import evaluate, write_metrics
from buarl.run import SELECTION, load_run


class Scored(NamedTuple):
    """rows: As `evaluate` returns them. note: How they were obtained. path: The file with both."""

    rows: list[dict]
    note: str
    path: Path
    experiment: Experiment
    source: Source


def score_run(
    folder: Path,
    root: Path | None = None,
    *,
    split: str = "val",
    empty: str = "diagonal",
    cases: Sequence[str] | None = None,
) -> Scored:
    """Evaluate the last checkpoint of a run on whole volumes.

    Args:
        folder: A finished run; `metrics_<split>.csv` is written into it, with another policy
            `metrics_<split>_<empty>.csv`.
        root: Where the data lie, if they have moved. split: Which volumes.
        empty: Policy for empty masks, see `case_metrics`. cases: Only these.
    Raises:
        ValueError: no run there, or an unfinished one.
    """
    row, source, method = load_run(folder, root)
    rows = evaluate(method.student, source, split, config_for(row), empty=empty, cases=cases)
    volumes = len({scores["case"] for scores in rows})
    note = (
        f"split {split}, {volumes} volumes; {SELECTION}; seed {row.seed}; preset {row.preset}; "
        f"labeled {row.labeled}"
    )
    suffix = "" if empty == "diagonal" else f"_{empty}"
    path = Path(folder) / f"metrics_{split}{suffix}.csv"
    write_metrics(path, rows, (note,), empty)
    return Scored(rows, note, path, row, source)
