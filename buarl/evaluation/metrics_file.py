"""The table of scores beside a run: written with what the numbers mean, read back and checked."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path

from buarl.data.errors import reading
from buarl.data.text import read_text
from buarl.evaluation.metrics import Unit, metric_definition
from buarl.training.checkpoint import write_text

SCORES = ("dice", "jaccard", "hd95", "asd")


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
        DataError: no such file, no table, or a cell that holds something else; line and column are
            named.
    """
    lines = read_text(Path(path)).splitlines()
    table = csv.DictReader(dropwhile(lambda line: line.startswith("#"), lines))
    with reading(path, "table of scores"):
        rows = [_row_of_scores(row) for row in table]
        if not rows:
            raise ValueError("no row")
    return rows


def _row_of_scores(row: dict) -> dict:
    """A row with numbers as numbers."""
    if absent := [name for name in (*SCORES, "missed", "case", "class") if row.get(name) is None]:
        raise ValueError(f"a row lacks {absent[0]!r}")
    if None in row:
        raise ValueError(f"a row has {len(row[None])} cells too many")
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
