"""Tables of scores: their means, and the files they are written to and read from."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from buarl.arguments import counted
from buarl.capsule.scores import check_scores, notes_of
from buarl.data.errors import reading
from buarl.data.text import read_text
from buarl.evaluation.metrics import Unit, metric_definition
from buarl.training.checkpoint import write_text

SCORES = ("dice", "jaccard", "hd95", "asd")


def summary(rows: Sequence[dict]) -> dict[str, float]:
    """Average scores over the cases of each class, then over the classes.

    Args:
        rows: As `evaluate` returns them.
    Returns:
        "dice", "jaccard", "hd95", "asd" and "dice CLASS" for each class are means, in the units of
        the rows; "missed" and "cases" are counts. A NaN (both masks empty) is not counted, and a
        score that is NaN everywhere stays NaN.

    >>> row = {"class": "disc", "jaccard": 0.5, "hd95": 1.0, "asd": 0.5, "missed": False}
    >>> found = summary([{**row, "case": "a", "dice": 0.5}, {**row, "case": "b", "dice": 0.75}])
    >>> found["dice"], found["dice disc"], found["missed"], found["cases"]
    (0.625, 0.625, 0, 2)
    """
    classes = list(dict.fromkeys(row["class"] for row in rows))
    means = {
        score: [_mean(row[score] for row in rows if row["class"] == name) for name in classes]
        for score in SCORES
    }
    result = {score: _mean(values) for score, values in means.items()}
    result |= {f"dice {name}": value for name, value in zip(classes, means["dice"], strict=True)}
    cases = len({row["case"] for row in rows})
    return {**result, "missed": sum(bool(row["missed"]) for row in rows), "cases": cases}


def _mean(values: Iterable[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return float(np.mean(kept)) if kept else math.nan


def write_metrics(
    path: Path, rows: Sequence[dict], notes: Sequence[str], empty: str, unit: Unit = "voxels"
) -> None:
    """Write scores as CSV, one line for each case and class.

    The first lines begin with # and say what the numbers mean, so that the file can stand alone.

    Args:
        path: The file, replaced if it exists.
        rows: As `evaluate` returns them, at least one.
        notes: More lines for its head, for example how the scores were obtained.
        empty: What was given to `evaluate`.
        unit: What was given to `evaluate`.
    """
    text = io.StringIO()
    for note in (metric_definition(None, empty, unit), *notes):
        text.write(f"# {note}\n")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow({**rounded, "missed": int(row["missed"])})
    write_text(Path(path), text.getvalue())


def read_metrics(path: Path) -> list[dict]:
    """Read the rows of a file of `write_metrics` back, numbers as numbers.

    Only lines before the table are notes: a case may have a name that begins with "#".

    Args:
        path: The file.
    Raises:
        DataError: no such file, no table, a cell that holds something else (line and column are
            named), or rows that are not those of one whole evaluation, see `check_scores`.

    >>> import tempfile
    >>> row = {"case": "a", "class": "LV", "dice": 0.8, "jaccard": 2 / 3, "hd95": 1, "asd": 0.2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "metrics.csv"
    ...     write_metrics(path, [{**row, "missed": False}], ["a made-up row"], "diagonal")
    ...     read_metrics(path)[0]["dice"]
    0.8
    """
    text = read_text(Path(path))
    notes = notes_of(text)
    table = csv.DictReader(text.splitlines()[len(notes) :])
    with reading(path, "table of scores"):
        rows = [_row_of_scores(row) for row in table]
        check_scores(rows, notes)
    return rows


def _row_of_scores(row: dict) -> dict:
    """A row with numbers as numbers."""
    columns = (*SCORES, "missed", "case", "class", *row)  # one more heading is one cell missing
    if absent := [name for name in columns if row.get(name) is None]:
        raise ValueError(f"a row lacks {absent[0]!r}")
    if None in row:
        raise ValueError(f"a row has {counted(len(row[None]), 'cell')} too many")
    scores = {}
    for score in SCORES:
        top = 1 if score in ("dice", "jaccard") else sys.float_info.max
        try:
            scores[score] = value = float(row[score])
        except ValueError:
            value = -1
        if not (math.isnan(value) or 0 <= value <= top):
            raise ValueError(f"{score} must lie in 0 to {top:g} or be nan, got {row[score]!r:.80}")
    if row["missed"] not in ("0", "1"):
        raise ValueError(f"missed must be 0 or 1, got {row['missed']!r:.80}")
    return {**row, **scores, "missed": row["missed"] == "1"}
