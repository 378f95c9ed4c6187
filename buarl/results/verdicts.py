"""One verdict for every claim that the paper's tables make, by a rule that was fixed beforehand.

The rule, written before the runs it judges: a claim "this row is better than that one" **holds** if
the 95 % interval of the paired difference in Dice, over seeds and patients together, lies above 0;
it is **refuted** if the interval lies below half the printed gain; else it is **undecided**. With
fewer than three paired seeds it is undecided whatever the interval, as the spread between seeds is
then not known.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from buarl.evaluation.protocols import Protocol
from buarl.results.comparison import TOO_NARROW
from buarl.results.measured import part_of, runs_of
from buarl.results.printed import printed_row
from buarl.results.rows import READING_NAMES, TableRow, rows_of
from buarl.results.statistics import Comparison, compare
from buarl.results.table import markdown_table
from buarl.training.config import Experiment
from buarl.training.environment import machine_of

Word = Literal["holds", "refuted", "undecided", "not run"]
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Claim:
    """A row of a table that the paper calls better than another.

    table: 1 to 6.
    better, other: Names of the rows.
    labeled: Labeled patients or scans.

    >>> round(Claim(3, "URL + CRL", "BCP", 7).gain, 2)
    1.56
    """

    table: int
    better: str
    other: str
    labeled: int

    @property
    def gain(self) -> float:
        """The printed gain in points of Dice."""
        rows = [printed_row(self.table, n, self.labeled) for n in (self.better, self.other)]
        return rows[0].dice - rows[1].dice

    def __str__(self) -> str:
        return f"Table {self.table}, {self.labeled} labeled: {self.better} over {self.other}"


def _claims() -> tuple[Claim, ...]:
    few = {1: (3, 7), 2: (4, 8)}
    found = [
        Claim(table, f"Ours({base})", base, labeled)
        for table, counts in few.items()
        for labeled in counts
        for base in ("MT", "BCP")
    ]
    found += [Claim(3, name, "BCP", 7) for name in ("URL", "CRL", "URL + CRL")]
    found += [Claim(3, "URL + CRL", name, 7) for name in ("URL", "CRL")]
    found += [Claim(4, "URL + CRL", n, 7) for n in ("CRL on both", "CRL + URL", "URL on both")]
    found += [Claim(5, "95, 99", name, 7) for name in ("95, 95", "99, 99")]
    return (*found, Claim(6, "weigh down", "remove", 7))


CLAIMS = _claims()
"""Every claim that we judge."""


@dataclass(frozen=True)
class Verdict:
    """What our runs say of a claim under one reading.

    claim: The claim.
    reading: Of the rows with rules, see `READING_NAMES`.
    word: "holds", "refuted", "undecided" or "not run".
    why: What stands behind the word, in one line.
    comparison: The numbers; None where a row was not run.
    runs: Names of the runs, of the better row and of the other one.
    """

    claim: Claim
    reading: str
    word: Word
    why: str
    comparison: Comparison | None
    runs: tuple[tuple[str, ...], tuple[str, ...]]


def judge(low: float, high: float, gain: float, seeds: int) -> Word:
    """The rule.

    Args:
        low, high: The 95 % interval of the difference, in points of Dice.
        gain: The printed gain, in points.
        seeds: Paired seeds.

    >>> judge(0.1, 0.9, 1.56, 3), judge(-0.4, 0.6, 1.56, 3), judge(-0.4, 0.9, 1.56, 3)
    ('holds', 'refuted', 'undecided')
    >>> judge(0.1, 0.9, 1.56, 2)
    'undecided'
    """
    if seeds < LEAST_SEEDS:
        return "undecided"
    if low > 0:
        return "holds"
    return "refuted" if high < gain / 2 else "undecided"


def verdicts(
    entries: Sequence[Mapping[str, Any]],
    *,
    preset: str = "mini",
    readings: Sequence[str] = tuple(READING_NAMES)[:2],
    protocol: Protocol = "honest",
    base: Callable[[str], Experiment | None] = lambda table: None,
) -> list[Verdict]:
    """One verdict for every claim and reading.

    Args:
        entries: Runs, see `read_results`.
        preset: Of the runs that count.
        readings: Names of `READING_NAMES`.
        protocol: Which evaluation counts.
        base: Other data and numbers for all rows of a table, by its name, see `Plan.base`.
    """
    found = []
    tables = {
        (table, reading): rows_of(
            str(table), preset=preset, readings=[reading], base=base(str(table))
        )
        for table in sorted({claim.table for claim in CLAIMS})
        for reading in readings
    }
    for claim in CLAIMS:
        for reading in readings:
            rows = tables[claim.table, reading]
            better, other = (_row(rows, claim, name) for name in (claim.better, claim.other))
            groups = [_runs(row, entries, protocol) for row in (better, other)]
            found.append(_verdict(claim, reading, *groups))
    return found


def _row(rows: Sequence[TableRow], claim: Claim, name: str) -> TableRow:
    title = f"{name}, {claim.labeled} labeled" if claim.table < 3 else name
    (row,) = (row for row in rows if row.name == title)
    return row


def _runs(
    row: TableRow, entries: Sequence[Mapping[str, Any]], protocol: Protocol
) -> list[Mapping[str, Any]]:
    runs = [(run, part_of(run, protocol)) for run in runs_of(row.experiment, entries)]
    return [{**run, "cases": part["cases"]} for run, part in runs if part is not None]


def _verdict(
    claim: Claim,
    reading: str,
    better: Sequence[Mapping[str, Any]],
    other: Sequence[Mapping[str, Any]],
) -> Verdict:
    names = tuple(tuple(run["name"] for run in group) for group in (better, other))
    missing = [n for n, g in ((claim.better, better), (claim.other, other)) if not g]
    if missing:
        return Verdict(claim, reading, "not run", f"not run: {', '.join(missing)}", None, names)
    try:
        found = compare(other, better)
    except ValueError as error:
        return Verdict(claim, reading, "not run", f"nothing to pair: {error}", None, names)
    low, high = 100 * found.low, 100 * found.high
    word = judge(low, high, claim.gain, len(found.seeds))
    why = f"{100 * found.mean:+.2f} points, {low:+.2f} to {high:+.2f}, seeds: {len(found.seeds)}"
    if len(found.seeds) < LEAST_SEEDS:
        why += f" of the {LEAST_SEEDS} that it takes"
    elif word == "holds" and high < claim.gain / 2:
        why += ", though below half the printed gain"
    places = [{machine_of(run["environment"]) for run in group} for group in (better, other)]
    if places[0] != places[1]:
        why += f"; trained on {' and '.join(' or '.join(sorted(each)) for each in places)}"
    return Verdict(claim, reading, word, why, found, names)


RULE = (
    "holds: the 95 % interval over paired seeds and patients lies above 0; refuted: it lies below "
    f"half the printed gain; else, and with fewer than {LEAST_SEEDS} seeds, undecided."
)


def verdict_text(found: Sequence[Verdict], form: str = "text") -> str:
    """The verdicts as a table.

    Args:
        found: From `verdicts`.
        form: "text", "markdown" or "csv".
    """
    rows = [["claim", "reading", "printed gain", "verdict", "measured"]]
    for each in found:
        gain = each.claim.gain
        said = "" if math.isnan(gain) else f"{gain:+.2f}"
        rows.append([str(each.claim), each.reading, said, each.word, each.why])
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*rows[0], "runs", "other_runs"])
        for row, each in zip(rows[1:], found, strict=True):
            writer.writerow([*row, *(" ".join(group) for group in each.runs)])
        return text.getvalue().rstrip("\n")
    counts = [f"{sum(v.word == w for v in found)} {w}" for w in ("holds", "refuted", "undecided")]
    counts.append(f"{sum(v.word == 'not run' for v in found)} not run")
    return f"{markdown_table(rows)}\n\n{', '.join(counts)}. {RULE}\n{TOO_NARROW.capitalize()}."
