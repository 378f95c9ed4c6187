"""What the paper prints: every cell of its Tables 1-6, with the settings of each row.

The numbers stand in `printed.csv` as they are printed (arXiv 2502.07457): Dice and Jaccard in
percent, 95HD and ASD in voxels, one seed ("a fixed random seed"). Slips of the print are kept there
and listed in `SLIPS`. How the checkpoint was chosen, and whether the student or the teacher was
evaluated, is not in the paper's text.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from buarl.arguments import counted

SCORES = ("dice", "jaccard", "hd95", "asd")
SLIPS = {
    (5, "95, 99", "hd95"): "printed 1.6; the same run stands as 1.63 in Tables 1, 3, 4 and 6",
    (3, "URL", "hd95"): (
        "printed 6.37, and ASD 1.66, worse than BCP's 3.98 and 1.17, while Dice rises and the text "
        "calls it an improvement"
    ),
}
"""(table, row, score) -> what is odd about a printed number."""


@dataclass(frozen=True)
class PrintedRow:
    """One row of a table of the paper.

    table: 1 to 6.
    data: "acdc" (patients) or "la" (scans).
    row: Its name, as the paper or, for Tables 3-6, `table_rows` has it.
    labeled, unlabeled: Patients or scans in training.
    labeled_rule, unlabeled_rule: "url 95" and the like, or empty for the plain method.
    dice, jaccard: Percent.
    hd95, asd: Voxels.

    >>> row = printed_rows(1)[0]
    >>> row.data, row.labeled, row.dice
    ('acdc', 3, 47.83)
    """

    table: int
    data: str
    row: str
    labeled: int
    unlabeled: int
    labeled_rule: str
    unlabeled_rule: str
    dice: float
    jaccard: float
    hd95: float
    asd: float


def printed_rows(table: int | None = None) -> list[PrintedRow]:
    """The rows of one table of the paper, or of all six, in the order of the print.

    Args:
        table: 1 to 6; None for all.
    Raises:
        ValueError: a table that the paper does not have.

    >>> [row.dice for row in printed_rows(3)]
    [88.84, 89.45, 90.2, 90.4]
    """
    if table is not None and table not in range(1, 7):
        raise ValueError(f"table must lie in 1 to 6, got {table}")
    text = files("buarl.results").joinpath("printed.csv").read_text(encoding="utf-8")
    kinds = PrintedRow.__annotations__
    read = {"int": int, "float": float, "str": str}
    rows = [
        PrintedRow(**{key: read[kinds[key]](value) for key, value in line.items()})
        for line in csv.DictReader(text.splitlines())
    ]
    return [row for row in rows if table in (None, row.table)]


def printed_row(table: int, row: str, labeled: int | None = None) -> PrintedRow:
    """One row of the paper by its name, and by its labeled count where the name stands twice.

    Raises:
        ValueError: no such row, or more than one.

    >>> printed_row(1, "Ours(BCP)", labeled=7).dice
    90.4
    """
    found = [r for r in printed_rows(table) if r.row == row and labeled in (None, r.labeled)]
    if len(found) != 1:
        raise ValueError(
            f"table {table} has {counted(len(found), 'row')} {row!r} with labeled {labeled}"
        )
    return found[0]
