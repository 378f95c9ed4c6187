"""The tables of README and docs/results.md, laid out from the committed runs and from nothing else.

Each stands between two comments that name it; `python -m tools.make_results` writes them anew.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from buarl.results.measured import Results, runs_of
from buarl.results.page import quick_rows
from buarl.results.premise import CUTS, SHARES
from buarl.results.rows import rows_of
from buarl.results.statistics import compare
from buarl.results.table import markdown_table, spread_text
from buarl.results.verdicts import judge

Runs = Sequence[Mapping[str, Any]]
READINGS = ("voxel", "region")
STEPS = {
    "quick": "[`quick`]({docs}quick.md), 4,000 + 8,000 steps",
    "mini": "`mini`, 1,000 + 1,000 steps",
}


def dice_text(runs: Runs) -> str:
    """Mean and standard deviation of Dice over the seeds of a row; of one seed the number alone."""
    found = [run["summary"]["dice"] for run in runs]
    return spread_text("dice", found) if len(found) > 1 else f"{found[0]:.3f}"


def in_one_look(results: Results, docs: str = "") -> str:
    """BCP plain and with both rules in two readings, the differences and the word of the rule.

    Args:
        results: The committed runs. docs: Where the documents lie, seen from the page.
    """
    lines = [["preset", "plain", *(f"URL + CRL per {r}" for r in READINGS), "seeds"]]
    for preset, title in STEPS.items():
        rows = {(row.name, row.reading): row for row in rows_of("3", preset=preset)}
        plain, *ruled = rows["BCP", ""], *(rows["URL + CRL", reading] for reading in READINGS)
        groups = [runs_of(row.experiment, results.entries) for row in (plain, *ruled)]
        seeds = ", ".join(str(len(group)) for group in groups)
        lines.append([title.format(docs=docs), *map(dice_text, groups), seeds])
        gain = ruled[0].printed.dice - plain.printed.dice
        lines.append(["", "", *(_judged(groups[0], group, gain) for group in groups[1:]), ""])
    return markdown_table(lines)


def _judged(plain: Runs, ruled: Runs, gain: float) -> str:
    """A paired difference in points with its interval, and the word of the rule."""
    pairs = compare(plain, ruled)
    mean, low, high = (100 * value for value in (pairs.mean, pairs.low, pairs.high))
    numbers = f"{mean:+z.2f}".replace("+0.00", "0.00")
    return f"{numbers} ({low:+.2f} to {high:+.2f}): {judge(low, high, gain, len(pairs.seeds))}"


def premise(results: Results) -> str:
    """How many of the uncertain were wrong, and how many of the errors they held, under `quick`."""
    runs = runs_of(quick_rows("acdc")["quick_bcp_url_crl_voxel"], results.entries)
    lines = [["cut", "wrong above it, %", "of all errors there, %", "at most, %"]]
    for cut in CUTS:
        shares = [run["premise"]["unlabeled"][str(cut)] for run in runs]
        cells = [[100 * share[key] for share in shares] for key in SHARES]
        told = [f"{statistics.mean(cell):.0f} ± {statistics.stdev(cell):.0f}" for cell in cells]
        lines.append([f"q = {cut}", *told])
    return markdown_table(lines)


TABLES: dict[str, dict[str, Callable[[Results], str]]] = {
    "README.md": {"in one look": partial(in_one_look, docs="docs/")},
    "docs/results.md": {"in one look": in_one_look, "premise": premise},
}
"""By page and name what makes a table."""


def filled(page: str, tables: Mapping[str, Callable[[Results], str]], results: Results) -> str:
    """The text of a page with its tables made anew.

    A table that has changed is a reason to read the sentences around it, which tests pin.

    Args:
        page: The text. tables: Those that stand in it, by name. results: The committed runs.
    Raises:
        ValueError: a table has no place there, or two.
    """
    for name, make in tables.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
        place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text = f"{begin}\n{make(results)}\n\n{end}"
        page, count = place.subn(lambda _, text=text: text, page)
        if count != 1:
            raise ValueError(f"the table {name!r} must have one place, found {count}")
    return page
