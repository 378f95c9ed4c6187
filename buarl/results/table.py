"""Tables of text: scores of several runs, the way they are printed and committed."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

COLUMNS = {  # key of a summary -> heading
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "95HD",
    "asd": "ASD",
    "missed": "missed",
}
DECIMALS = {"dice": 3, "jaccard": 3, "hd95": 2, "asd": 2, "missed": 0}


def markdown_table(
    rows: Sequence[Sequence[str]], *, numbers: Literal["left", "right"] = "left"
) -> str:
    """Lay out rows of cells as a Markdown table that also reads well as plain text.

    Args:
        rows: Cells; the first row holds the headings, and all rows are as long as it.
        numbers: On which side the cells of every column but the first stand.
    Returns:
        Lines of equal length, without a line break at the end.

    >>> print(markdown_table([["", "Dice"], ["BCP", "0.777"], ["plain", "0.5"]], numbers="right"))
    |       |  Dice |
    | ----- | ----: |
    | BCP   | 0.777 |
    | plain |   0.5 |
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = numbers == "right"
    rule = [
        "-" * (width - 1) + ":" if right and i else "-" * width for i, width in enumerate(widths)
    ]
    return "\n".join(
        f"| {' | '.join(_aligned(row, widths, right))} |" for row in (rows[0], rule, *rows[1:])
    )


def csv_table(rows: Sequence[Sequence[Any]]) -> str:
    """Lay out rows of cells as CSV, without a line break at the end.

    Args:
        rows: Cells; the first row holds the headings.

    >>> csv_table([["row", "Dice"], ["95, 99", 0.5]])
    'row,Dice\\n"95, 99",0.5'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")


def with_notes(title: str, table: str, notes: Sequence[str], form: str) -> str:
    """A table below its title and above its notes.

    Args:
        title: One line.
        table: From `markdown_table`.
        notes: Sentences.
        form: "text", or "markdown", where the title is a heading and the notes are a list.

    >>> print(with_notes("Scores", "| a |", ["Of one seed."], "markdown"))
    ### Scores
    <BLANKLINE>
    | a |
    <BLANKLINE>
    - Of one seed.
    """
    if form == "markdown":
        listed = "\n".join(f"- {note}" for note in notes)
        return f"### {title}\n\n{table}\n\n{listed}"
    return "\n".join([title, "", table, "", *notes])


def text_table(scores: Mapping[str, Mapping[str, float]], extra: Sequence[str] = ()) -> str:
    """Lay out the summaries of several evaluations, one line each.

    Args:
        scores: Per title a summary, see `buarl.evaluation.scores.summary`: dice and jaccard in
            0-1, hd95 and asd in the unit they were computed in, missed a count.
        extra: More keys of the summaries, shown as they are; a summary may lack them.
    Returns:
        A Markdown table, numbers on the right.

    >>> best = {"dice": 0.95, "jaccard": 0.905, "hd95": 1.0, "asd": 0.25, "missed": 0}
    >>> print(text_table({"ceiling": best}))
    |         |  Dice | Jaccard | 95HD |  ASD | missed |
    | ------- | ----: | ------: | ---: | ---: | -----: |
    | ceiling | 0.950 |   0.905 | 1.00 | 0.25 |      0 |
    """
    rows = [["", *COLUMNS.values(), *extra]]
    for title, values in scores.items():
        more = (str(values.get(key, "")) for key in extra)
        rows.append([title, *(score_text(key, values[key]) for key in COLUMNS), *more])
    return markdown_table(rows, numbers="right")


def score_text(key: str, value: float | None) -> str:
    """A score with the decimals it is shown with everywhere.

    Args:
        key: One of `COLUMNS`.
        value: The score; NaN, or None, as JSON writes it, is shown as a dash.

    >>> score_text("dice", 0.77651), score_text("hd95", 5.164), score_text("asd", None)
    ('0.777', '5.16', '-')
    """
    return "-" if _is_none(value) else f"{value:.{DECIMALS[key]}f}"


def spread_text(key: str, values: Sequence[float | None]) -> str:
    """Mean and standard deviation of a score over runs, with the decimals of `score_text`.

    Args:
        key: One of `COLUMNS`.
        values: The scores of at least two runs; the deviation divides by one less than their
            number. One NaN, or None, as JSON writes it, makes a dash of all.

    >>> spread_text("dice", [0.5, 0.75]), spread_text("asd", [1.0, None])
    ('0.625 ± 0.177', '-')
    >>> spread_text("hd95", [math.nan, 1.0])
    '-'
    """
    if any(map(_is_none, values)):
        return "-"
    mean, spread = statistics.mean(values), statistics.stdev(values)
    return f"{mean:.{DECIMALS[key]}f} ± {spread:.{DECIMALS[key]}f}"


def _is_none(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _aligned(row: Sequence[str], widths: Sequence[int], right: bool) -> list[str]:
    cells = zip(row, widths, strict=True)
    return [cell.rjust(w) if right and i else cell.ljust(w) for i, (cell, w) in enumerate(cells)]
