"""Scores of several runs as one text table, the way they are printed and committed."""

from __future__ import annotations

from collections.abc import Mapping

COLUMNS = {  # key of a summary -> heading
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95": "95HD",
    "asd": "ASD",
    "missed": "missed",
}


def text_table(scores: Mapping[str, Mapping[str, float]], extra: tuple[str, ...] = ()) -> str:
    """A Markdown table, one line per name.

    Args:
        scores: Per name a summary (see `evaluate.summary`); dice and jaccard 0-1, distances in the
            unit they were computed in. extra: More keys of the summaries, shown as they are.
    """
    headings = ["", *COLUMNS.values(), *extra]
    rows = [
        [
            name,
            *(_cell(key, values[key]) for key in COLUMNS),
            *(str(values.get(k, "")) for k in extra),
        ]
        for name, values in scores.items()
    ]
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    rule = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in [headings, rule, *rows]
    ]
    return "\n".join(lines)


def _cell(key: str, value: float) -> str:
    if key == "missed":
        return str(int(value))
    return f"{value:.3f}" if key in ("dice", "jaccard") else f"{value:.2f}"
