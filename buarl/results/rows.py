"""Every row that we run: the paper's Tables 1-6, the controls, and every method with both rules.

A row is plain data: an experiment, and what the paper prints for it, if it prints anything. Rows of
different tables that are the same experiment are one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from json import dumps

from buarl.arguments import check_choice
from buarl.regions import Rule, crl, url, whole
from buarl.results.controls import control_rows, method_rows
from buarl.results.paper import READINGS, Reading, table_rows
from buarl.results.printed import PrintedRow, printed_row, printed_rows
from buarl.training.config import Experiment

TABLES = ("1", "2", "3", "4", "5", "6")
MORE = {"controls": control_rows, "methods": method_rows}
WHAT = (*TABLES, *MORE)
METHOD_OF = {
    "U-Net": "supervised",
    "V-Net": "supervised",
    "MT": "mean_teacher",
    "SASSNet": "sassnet",
    "DTC": "dtc",
    "URPC": "urpc",
    "MC-Net": "mc_net",
    "SS-Net": "ss_net",
    "BCP": "bcp",
    "Ours(MT)": "mean_teacher",
    "Ours(BCP)": "bcp",
}
"""The method behind a name of Tables 1 and 2."""
READING_NAMES = {("-".join(dict.fromkeys(reading))): reading for reading in READINGS}
"""What a reading is called on the command line: voxel, region, voxel-region, region-voxel."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table: what is trained, and what is printed.

    table: One of `WHAT`.
    name: As the paper or `table_rows` has it.
    reading: "voxel" or the like where the row has rules; "" where no reading changes it.
    experiment: What is trained; its seed does not matter.
    printed: The paper's numbers, or None.

    >>> row = rows_of("3", preset="mini")[1]
    >>> row.title, row.printed.dice
    ('URL, voxel', 89.45)
    """

    table: str
    name: str
    reading: str
    experiment: Experiment
    printed: PrintedRow | None = None

    @property
    def title(self) -> str:
        """Its name, with the reading where there are several, and what the row sets for itself."""
        parts = [self.name, self.reading, self.experiment.changes]
        return ", ".join(part for part in parts if part)


def rows_of(
    what: str,
    *,
    preset: str = "mini",
    readings: Sequence[str] = ("voxel", "region"),
    labeled: int | None = None,
    base: Experiment | None = None,
) -> list[TableRow]:
    """The rows of one of the paper's tables, or of those that the paper does not have.

    Args:
        what: "1" to "6", "controls", or "methods": every method plain and with both rules.
        preset: Of every row, see `PRESETS`.
        readings: Names of `READING_NAMES`; a row with rules stands there once for each. A term
            without a rule is the same under every reading, so a plain row stands there once.
        labeled: Only rows with so many labeled patients; None for all. In Tables 3-6 and the
            controls, which have one number, it takes the place of 7, or of 8 on LA.
        base: Source, preset and numbers that all rows take over, for example the phantom; its
            method, rules and labeled patients do not matter.
    Raises:
        ValueError: an unknown table or reading, or no row with so many labeled patients.

    >>> [row.name for row in rows_of("6", readings=["voxel"])]
    ['weigh down', 'remove']
    """
    check_choice("table", what, WHAT)
    for name in readings:
        check_choice("reading", name, tuple(READING_NAMES))
    if not readings:
        raise ValueError(f"readings must name at least one of {list(READING_NAMES)}, got none")
    if labeled is not None and labeled < 1:
        raise ValueError(f"labeled must be at least 1, got {labeled}")
    if what in ("1", "2"):
        rows = _compared(int(what), preset, readings, labeled)
    else:
        on_la = what in MORE and base is not None and base.source == "la"
        source, usual = ("la", 8) if on_la else ("acdc", 7)  # the paper's
        shared = Experiment("bcp", source=source, labeled=labeled or usual, preset=preset)
        rows = []
        for name in readings:
            reading = READING_NAMES[name]
            more = MORE.get(what, lambda *given: table_rows(int(what), *given))
            found = more(reading, shared)
            rows += [_row(what, title, name, row) for title, row in found.items()]
    if not rows:
        known = sorted({printed.labeled for printed in printed_rows(int(what)) if printed.labeled})
        raise ValueError(f"table {what} has rows with {known} labeled patients, got {labeled}")
    if base is not None:
        rows = [_moved(row, base) for row in rows]
    order = list(dict.fromkeys(row.name for row in rows))
    unique = [row for i, row in enumerate(rows) if row not in rows[:i]]  # plain ones come twice
    return sorted(unique, key=lambda row: order.index(row.name))


def _compared(
    number: int, preset: str, readings: Sequence[str], labeled: int | None
) -> list[TableRow]:
    """Tables 1 and 2: all methods at two numbers of labeled patients, and everything labeled."""
    rows = []
    for printed in printed_rows(number):
        if labeled not in (None, printed.labeled):
            continue
        ours = printed.row.startswith("Ours")
        experiment = Experiment(
            METHOD_OF[printed.row],
            labeled_rule=_rule(printed.labeled_rule),
            unlabeled_rule=_rule(printed.unlabeled_rule),
            options={"unsupervised": "pseudo_label"} if printed.row == "Ours(MT)" else {},
            source=printed.data,
            labeled=printed.labeled if printed.unlabeled or printed.labeled < 10 else None,
            preset=preset,
        )
        name = f"{printed.row}, {printed.labeled} labeled"
        for reading in readings if ours else readings[:1]:
            row = _read_as(experiment, READING_NAMES[reading])
            rows.append(TableRow(str(number), name, reading if ours else "", row, printed))
    return rows


def _row(what: str, name: str, reading: str, experiment: Experiment) -> TableRow:
    experiment = _read_as(
        experiment, Reading(experiment.labeled_reduction, experiment.unlabeled_reduction)
    )
    plain = experiment.labeled_rule == experiment.unlabeled_rule == whole()
    printed = None
    if what in TABLES and experiment.labeled == 7:
        printed = printed_row(int(what), name)
    return TableRow(what, name, "" if plain else reading, experiment, printed)


def _read_as(experiment: Experiment, reading: Reading) -> Experiment:
    """A row under a reading; a term without a rule is written "voxel", as both are one."""
    plain = whole()
    return replace(
        experiment,
        labeled_reduction="voxel" if experiment.labeled_rule == plain else reading.labeled,
        unlabeled_reduction="voxel" if experiment.unlabeled_rule == plain else reading.unlabeled,
    )


def _rule(text: str) -> Rule:
    """A rule as `printed.csv` writes it.

    >>> _rule("url 95") == url(95), _rule("") == whole()
    (True, True)
    """
    if not text:
        return whole()
    name, percentile = text.split()
    return {"url": url, "crl": crl}[name](int(percentile))


def _moved(row: TableRow, base: Experiment) -> TableRow:
    """The row on other data, with the numbers of `base` and then its own."""
    ours = row.experiment
    numbers = {**base.set, **ours.set}
    moved = replace(ours, source=base.source, preset=base.preset, set=numbers)
    return replace(
        row, experiment=moved, printed=row.printed if ours.source == base.source else None
    )


def run_name(row: Experiment) -> str:
    """What a run of a row is called: readable, and different for every row and seed.

    >>> run_name(Experiment("bcp", url(95), crl(99), source="acdc", labeled=7, preset="mini"))
    'acdc7_bcp_url95_crl99_voxel_mini_seed1337_ce0c3d'
    """
    rules = [row.labeled_rule, row.unlabeled_rule]
    names = [rule.as_dict()["name"].rpartition(":")[2] for rule in rules]
    percentiles = [rule.as_dict().get("percentile") for rule in rules]
    parts = [
        name if percentile is None else f"{name}{percentile:g}"
        for name, percentile in zip(names, percentiles, strict=True)
    ]
    plain = parts == ["whole", "whole"]
    reductions = dict.fromkeys([row.labeled_reduction, row.unlabeled_reduction])
    rest = [] if plain else [*parts, "-".join(reductions)]
    words = [f"{row.source}{row.labeled or 'all'}", row.method.rpartition(":")[2], *rest]
    digest = sha256(dumps(row.as_dict(), sort_keys=True).encode()).hexdigest()[:6]
    return "_".join([*words, row.preset, f"seed{row.seed}", digest])
