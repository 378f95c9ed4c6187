"""One verdict for every claim that the paper's tables make, all by one rule.

The rule: a claim "this row is better than that one" **holds** if the 95 % interval of the paired
difference in Dice, over seeds and patients together, lies above 0; if not, it is **refuted** if the
interval lies below half the printed gain; else it is **undecided**. With fewer than three paired
seeds it is undecided whatever the interval, as the spread between seeds is then not known.

It was committed on 29 November 2026 (a181cf7), before the three seeds of BCP per region under
`mini` and all runs of `quick`. The other runs of `mini` were there before, one of BCP per region
among them: for those the rule was written with the scores known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from buarl.evaluation.protocols import Protocol
from buarl.results.comparison import TOO_NARROW
from buarl.results.measured import runs_of, scored_under
from buarl.results.printed import printed_row
from buarl.results.rows import READING_NAMES, TableRow, rows_of
from buarl.results.statistics import Comparison, compare
from buarl.results.table import csv_table, markdown_table
from buarl.training.config import Experiment
from buarl.training.environment import environments_of, machine_of

Word = Literal["holds", "refuted", "undecided", "not run"]
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Claim:
    """A row of a table that the paper calls better than another.

    table: 1 to 6.
    better, other: Names of the rows.
    labeled: Labeled patients or scans.
    other_table: Where the other row stands, if elsewhere.

    >>> round(Claim(3, "URL + CRL", "BCP", 7).gain, 2)
    1.56
    """

    table: int
    better: str
    other: str
    labeled: int
    other_table: int | None = None

    @property
    def places(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """Table and name of the better row, then of the other."""
        return (self.table, self.better), (self.other_table or self.table, self.other)

    @property
    def gain(self) -> float:
        """The printed gain in points of Dice."""
        rows = [printed_row(*place, self.labeled) for place in self.places]
        return rows[0].dice - rows[1].dice

    def __str__(self) -> str:
        where = f" of Table {self.other_table}" if self.other_table else ""
        return f"Table {self.table}, {self.labeled} labeled: {self.better} over {self.other}{where}"


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
    found += [Claim(4, n, "BCP", 7, 3) for n in ("CRL on both", "CRL + URL", "URL on both")]
    found += [Claim(5, "95, 99", name, 7) for name in ("95, 95", "99, 99")]
    found += [Claim(5, name, "BCP", 7, 3) for name in ("95, 95", "99, 99")]
    return (*found, Claim(6, "weigh down", "remove", 7))


CLAIMS = _claims()
"""Every claim that we judge."""
NOT_JUDGED = (
    "Not judged: the same gains in Jaccard, 95HD and ASD; that Ours(BCP) surpasses the other "
    "methods of Tables 1 and 2; what Fig. 1, 5 and 6 show (their captions say it in numbers)."
)


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
        for table in sorted({table for claim in CLAIMS for table, _ in claim.places})
        for reading in readings
    }
    for claim in CLAIMS:
        for reading in readings:
            places = [_row(tables[place[0], reading], claim, place) for place in claim.places]
            runs = [runs_of(row.experiment, entries) for row in places]
            found.append(_verdict(claim, reading, *runs, protocol))
    return found


def _row(rows: Sequence[TableRow], claim: Claim, place: tuple[int, str]) -> TableRow:
    table, name = place
    title = f"{name}, {claim.labeled} labeled" if table < 3 else name
    (row,) = (row for row in rows if row.name == title)
    return row


def _verdict(
    claim: Claim,
    reading: str,
    better_runs: Sequence[Mapping[str, Any]],
    other_runs: Sequence[Mapping[str, Any]],
    protocol: Protocol,
) -> Verdict:
    better, other = (scored_under(runs, protocol) for runs in (better_runs, other_runs))
    names = tuple(tuple(run["name"] for run in group) for group in (better, other))
    lacking = [
        f'"{name}" {"run without validations" if runs else "not run"}'
        for name, runs, scored in (
            (claim.better, better_runs, better),
            (claim.other, other_runs, other),
        )
        if not scored
    ]
    if lacking:
        return Verdict(claim, reading, "not run", "; ".join(lacking), None, names)
    try:
        found = compare(other, better)
    except ValueError as error:
        return Verdict(claim, reading, "not run", f"nothing to pair: {error}", None, names)
    low, high = 100 * found.low, 100 * found.high
    word = judge(low, high, claim.gain, len(found.seeds))
    why = f"{100 * found.mean:+z.2f} points, {low:+.2f} to {high:+.2f}, seeds: {len(found.seeds)}"
    if len(found.seeds) < LEAST_SEEDS:
        why += f" of the {LEAST_SEEDS} that it takes"
    elif word == "holds" and high < claim.gain / 2:
        why += ", though below half the printed gain"
    places = [
        {machine_of(where) for run in group for where in environments_of(run)}
        for group in (better, other)
    ]
    if places[0] != places[1]:
        why += f"; trained on {' and '.join(' or '.join(sorted(each)) for each in places)}"
    return Verdict(claim, reading, word, why, found, names)


RULE = (
    "holds: the 95 % interval over paired seeds and patients lies above 0; refuted: it lies below "
    f"half the printed gain; else, and with fewer than {LEAST_SEEDS} seeds, undecided."
)


def verdict_text(found: Sequence[Verdict]) -> str:
    """The verdicts as a table, which is Markdown too.

    Args:
        found: From `verdicts`.
    """
    rows = [["claim", "reading", "printed gain", "verdict", "measured"]]
    for each in found:
        gain = each.claim.gain
        said = "" if math.isnan(gain) else f"{gain:+.2f}"
        rows.append([str(each.claim), each.reading, said, each.word, each.why])
    counts = [f"{sum(v.word == w for v in found)} {w}" for w in ("holds", "refuted", "undecided")]
    counts.append(f"{sum(v.word == 'not run' for v in found)} not run")
    notes = f"{', '.join(counts)}. {RULE}\n{TOO_NARROW.capitalize()}.\n{NOT_JUDGED}"
    return f"{markdown_table(rows)}\n\n{notes}"


def verdict_csv(found: Mapping[Protocol, Sequence[Verdict]], preset: str, split: str) -> str:
    """The verdicts as a file of numbers, a line for each.

    Args:
        found: By protocol what `verdicts` returns.
        preset, split: Of the runs.
    Returns:
        Differences and their interval in points of Dice; empty where there is nothing to compare.
    """
    head = ["claim", "reading", "preset", "split", "protocol", "printed_gain", "verdict"]
    rows: list[list[Any]] = [[*head, "mean", "low", "high", "seeds", "why", "runs", "other_runs"]]
    for protocol, each in ((name, each) for name, judged in found.items() for each in judged):
        pairs, gain = each.comparison, each.claim.gain
        numbers = [] if pairs is None else [pairs.mean, pairs.low, pairs.high]
        cells = [f"{100 * n:.6g}" for n in numbers] or [""] * 3
        facts = [each.claim, each.reading, preset, split, protocol]
        facts += ["" if math.isnan(gain) else f"{gain:.2f}", each.word, *cells]
        seeds = len(pairs.seeds) if pairs is not None else 0
        rows.append([*facts, seeds, each.why, *(" ".join(group) for group in each.runs)])
    return csv_table(rows)
