"""The paper's tables, printed beside measured: as text, Markdown or CSV.

All scores stand in the units of the print: Dice and Jaccard in percent, 95HD and ASD in voxels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from buarl.arguments import check_choice, counted
from buarl.evaluation.protocols import PROTOCOLS, Protocol
from buarl.evaluation.scores import SCORES
from buarl.results.measured import Measured, Results, mean_and_spread, part_of, runs_of
from buarl.results.printed import SLIPS
from buarl.results.rows import TableRow
from buarl.results.table import COLUMNS, csv_table, markdown_table, with_notes

Format = Literal["text", "markdown", "csv"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "csv")
PERCENT = ("dice", "jaccard")
SHOWN = 4  # names of runs that belong to no row
SELECTED = {
    "honest": "last checkpoint, nothing selected",
    "paper": "best validation Dice, as the public code of the lineage selects (an inference: the "
    "paper's text does not say)",
}
HELD_OUT = (
    "LA: the last 10 of the 80 training scans are held out and never trained on, so 80 labeled are "
    "70 here, and beside 4 and 8 labeled stand 66 and 62 unlabeled where the print has 76 and 72."
)
UNITS = "Dice and Jaccard in percent, 95HD and ASD in voxels"


@dataclass(frozen=True)
class Line:
    """A row of a table with what was measured under one protocol.

    row: The row.
    protocol: "honest" or "paper".
    seeds: Of the runs that count; empty where the row was not run.
    scores: By the names of the paper's scores, in its units.
    """

    row: TableRow
    protocol: Protocol
    seeds: tuple[int, ...]
    scores: Mapping[str, Measured]


def lines_of(
    rows: Sequence[TableRow],
    results: Results,
    protocols: Sequence[Protocol] = PROTOCOLS,
) -> list[Line]:
    """Every row with its measurements; the protocol "paper" only where a run has it.

    Args:
        rows: From `rows_of`.
        results: From `read_results`.
        protocols: Which to show.
    """
    lines = []
    for row in rows:
        runs = runs_of(row.experiment, results.entries)
        for protocol in protocols:
            parts = [(run, part_of(run, protocol)) for run in runs]
            found = [(run, part) for run, part in parts if part is not None]
            if found or protocol == protocols[0]:
                lines.append(_line(row, protocol, found))
    return lines


def _line(row: TableRow, protocol: Protocol, found: Sequence[tuple[Any, Any]]) -> Line:
    seeds = tuple(run["experiment"]["seed"] for run, _ in found)
    scores = {}
    for score in SCORES:
        values = [part["summary"][score] for _, part in found]
        factor = 100 if score in PERCENT else 1
        mean, spread = mean_and_spread(values)
        scores[score] = Measured(factor * mean, factor * spread)
    return Line(row, protocol, seeds, scores)


def table_text(
    what: str,
    lines: Sequence[Line],
    results: Results,
    *,
    preset: str,
    split: str,
    form: Format = "text",
) -> str:
    """A table in one of three forms.

    Args:
        what: Its name, see `rows_of`.
        lines: From `lines_of`.
        results: What the lines were made of, for those runs that were left out.
        preset, split: Of the runs.
        form: "text" and "markdown" have a head, notes, and the rows that were not run; "csv" has
            one line for each row and protocol, with the same facts in columns.
    Raises:
        ValueError: an unknown form.
    """
    check_choice("format", form, FORMATS)
    if form == "csv":
        return _csv(what, lines, preset, split)
    title = f"Table {what}" if what.isdigit() else what.capitalize()
    data = sorted({line.row.experiment.source for line in lines})
    labeled = {line.row.experiment.labeled for line in lines}
    known = [", all labeled" if count is None else f", {count} labeled" for count in labeled]
    labels = known[0] if len(known) == 1 else ""
    printed = any(line.row.printed for line in lines)
    beside = "printed beside measured" if printed else "measured"
    head = f"{title} on {', '.join(data)}{labels}: {beside}, preset {preset}, split {split}"
    shown = list(dict.fromkeys(line.protocol for line in lines))
    notes = [f"{UNITS}; measured: mean ± standard deviation (n - 1) over seeds."]
    notes += [f"Protocol {protocol}: {SELECTED[protocol]}." for protocol in shown]
    notes += [f"Slip of the print: {text}." for text in _slips(what, lines)]
    notes += [HELD_OUT] if printed and "la" in data else []
    notes += _missing(lines, results)
    notes += _left_out(lines, results)
    notes += _elsewhere(lines, results)
    return with_notes(head, markdown_table(_cells(lines)), notes, form)


def _cells(lines: Sequence[Line]) -> list[list[str]]:
    names = [COLUMNS[score] for score in SCORES]
    printed = any(line.row.printed for line in lines)
    several = len({line.protocol for line in lines}) > 1
    first = [f"printed {names[0]}", *names[1:]] if printed else []
    rows = [["row", *first, f"measured {names[0]}", *names[1:], "seeds"]]
    if several:
        rows[0].insert(1, "protocol")
    for line in lines:
        row = [line.row.title, *([line.protocol] if several else [])]
        if printed:
            row += [_printed(line.row, score) for score in SCORES]
        row += [_shown(line.scores[score]) for score in SCORES]
        row.append(_seeds(line.seeds))
        rows.append(row)
    return rows


def _missing(lines: Sequence[Line], results: Results) -> list[str]:
    """Rows that nobody has run, and those whose runs were not evaluated under a protocol shown."""
    titles = list(dict.fromkeys(line.row.title for line in lines))
    have = {line.row.title: bool(runs_of(line.row.experiment, results.entries)) for line in lines}
    absent = [title for title in titles if not have[title]]
    notes = [f"Not run ({len(absent)}): {'; '.join(absent)}."] if absent else []
    for protocol in dict.fromkeys(line.protocol for line in lines):
        scored = {line.row.title for line in lines if line.protocol == protocol and line.seeds}
        rest = [title for title in titles if have[title] and title not in scored]
        if rest:
            notes.append(f"Run, but not evaluated under protocol {protocol}: {'; '.join(rest)}.")
    return notes


def _left_out(lines: Sequence[Line], results: Results) -> list[str]:
    """Runs that may be of these rows and do not count, with the reason; of others how many."""
    here = results.left_out_of([line.row.experiment for line in lines])
    notes = [f"Left out ({len(here)}): {'; '.join(here)}."] if here else []
    if others := len(results.left_out) - len(here):
        notes.append(f"Left out of other rows: {counted(others, 'run')}.")
    return notes


def _elsewhere(lines: Sequence[Line], results: Results) -> list[str]:
    """What is in the folder and not in the table, so that no run is missed in silence."""
    if not results.entries and not results.left_out:
        return ["The folder holds no run."]
    here = [run["name"] for line in lines for run in runs_of(line.row.experiment, results.entries)]
    names = [entry["name"] for entry in results.entries if entry["name"] not in here]
    if not names:
        return []
    some = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    shown = {line.row.experiment.preset for line in lines}
    presets = [entry["experiment"]["preset"] for entry in results.entries]
    others = {preset: presets.count(preset) for preset in presets if preset not in shown}
    more = "".join(f"; {n} with --preset {preset}" for preset, n in others.items())
    return [
        f"Of no row here, but of other rows, numbers, data or labels: "
        f"{counted(len(names), 'run')} ({some}{more})."
    ]


def _printed(row: TableRow, score: str) -> str:
    return "" if row.printed is None else f"{getattr(row.printed, score):.2f}"


def _shown(value: Measured) -> str:
    if math.isnan(value.mean):
        return "-"
    spread = "" if math.isnan(value.spread) else f" ± {value.spread:.2f}"
    return f"{value.mean:.2f}{spread}"


def _seeds(seeds: Sequence[int]) -> str:
    """How many, and which.

    >>> _seeds([0, 1, 2]), _seeds([])
    ('3: 0 1 2', 'not run')
    """
    return f"{len(seeds)}: {' '.join(map(str, seeds))}" if seeds else "not run"


def _slips(what: str, lines: Sequence[Line]) -> list[str]:
    names = {line.row.name for line in lines if line.row.printed}
    return [
        f"{name}, {COLUMNS[score]}: {text}"
        for (table, name, score), text in SLIPS.items()
        if str(table) == what and name in names
    ]


def _csv(what: str, lines: Sequence[Line], preset: str, split: str) -> str:
    columns = ["table", "row", "reading", "source", "labeled", "set", "protocol", "selection"]
    columns += ["preset", "split", *(f"printed_{score}" for score in SCORES)]
    columns += [f"{score}_{part}" for score in SCORES for part in ("mean", "sd")]
    rows: list[list[Any]] = [[*columns, "n", "seeds"]]
    for line in lines:
        row, experiment = line.row, line.row.experiment
        facts = [what, row.name, row.reading, experiment.source, experiment.labeled or "all"]
        facts += [experiment.changes, line.protocol, SELECTED[line.protocol], preset, split]
        printed = [_printed(row, score) for score in SCORES]
        numbers = [number for score in SCORES for number in line.scores[score]]
        cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
        seeds = [len(line.seeds), " ".join(map(str, line.seeds))]
        rows.append([*facts, *printed, *cells, *seeds])
    return csv_table(rows)
