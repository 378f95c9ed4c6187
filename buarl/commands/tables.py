"""`buarl table`: printed beside measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from buarl.arguments import check_choice
from buarl.commands.console import say
from buarl.commands.words import Pairs, Words, pairs

RESULTS = Path(__file__).resolve().parent.parent.parent / "results"


@dataclass
class Table:
    """A table of the paper, printed beside measured: 1 to 6, controls, methods or verdicts."""

    what: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="1-6|controls|methods|verdicts")
    ]
    """Which table."""
    runs: Path = RESULTS
    """Folder of runs: a ledger, or the --out of a plan, which also says preset, data and split."""
    preset: str | None = None
    """Of the runs; mini without it."""
    readings: Words = ("voxel", "region")
    """Normalizers of rows with rules: voxel, region, voxel-region, region-voxel."""
    labeled: int | None = None
    """Only rows with so many labeled patients; in Tables 3-6 instead of 7."""
    protocol: Literal["both", "honest", "paper"] = "both"
    """honest: last checkpoint. paper: selected on validation, as the lineage does."""
    split: Literal["val", "test"] | None = None
    """Whose scores; val without it."""
    source: str | None = None
    """Runs of another data set than the paper's, for example phantom."""
    set: Pairs = ()
    """Numbers that all those rows set for themselves."""
    format: Literal["text", "markdown", "csv"] = "text"
    """How to print it."""

    def run(self) -> None:
        """Print the table; what was left out and not run is named below it."""
        from buarl.evaluation.protocols import PROTOCOLS
        from buarl.results.measured import read_results
        from buarl.results.tables import lines_of, table_text

        plan = self._plan()
        results = read_results(self.runs, split=plan.split)
        if self.what == "verdicts":
            self._verdicts(plan, results)
            return
        protocols = PROTOCOLS if self.protocol == "both" else (self.protocol,)
        lines = lines_of(plan.rows(), results, protocols)
        facts = {"preset": plan.preset, "split": plan.split, "form": self.format}
        print(table_text(self.what, lines, results, **facts))
        if self.format == "csv":
            for line in results.left_out:  # a file of numbers has no place for them
                say(f"left out: {line}")

    def _verdicts(self, plan, results) -> None:
        from buarl.evaluation.protocols import PROTOCOLS
        from buarl.results.verdicts import verdict_text, verdicts

        if plan.labeled is not None:
            raise ValueError(
                "verdicts are about the paper's numbers of labeled patients; leave out --labeled, "
                f"or take another folder than {self.runs}, whose plan has {plan.labeled}"
            )
        both = PROTOCOLS if self.format != "csv" else PROTOCOLS[:1]  # a file has one head
        facts = {"preset": plan.preset, "readings": plan.readings, "base": plan.base}
        for protocol in both if self.protocol == "both" else (self.protocol,):
            found = verdicts(results.entries, protocol=protocol, **facts)
            if self.format != "csv":
                own = "".join(f", {key}={value}" for key, value in (plan.set or {}).items())
                print(
                    f"data {plan.source or 'acdc and la'}, preset {plan.preset}{own}, "
                    f"split {plan.split}, protocol {protocol}\n"
                )
            print(verdict_text(found, form=self.format))
        for line in results.left_out:
            say(f"left out: {line}")

    def _plan(self):
        """What the folder says, and these options on top."""
        from buarl.results.rows import WHAT

        check_choice("table", self.what, (*WHAT, "verdicts"))
        what = self.what if self.what != "verdicts" else "1"
        own = pairs(self.set, "--set")
        plan = planned_in(self.runs, what, self.readings, self.preset, self.source, own)
        return replace(
            plan,
            labeled=plan.labeled if self.labeled is None else self.labeled,
            split=self.split or plan.split,
        )


def planned_in(folder: Path, what: str, readings: Words, preset, source, own: dict):
    """The rows to look for in a folder: those of its plan, if it has one, and options on top.

    Args:
        folder: Of runs.
        what: One table.
        readings: Names of readings.
        preset, source, own: Of the rows; None and {} take what the plan says.
    Raises:
        ValueError: an unknown preset or data set, which would read as "nobody has run this".
    """
    from buarl.results.plan import PLAN, Plan, read_plan

    check_rows(preset, source)
    kept = read_plan(folder) if (folder / PLAN).is_file() else Plan((what,))
    return replace(
        kept,
        what=(what,),
        only=(),
        readings=readings,
        preset=preset or kept.preset,
        source=source or kept.source,
        set=own or kept.set,
    )


def check_rows(preset: str | None, source: str | None) -> None:
    """Refuse an unknown preset or data set, which would read as "nobody has run this"."""
    from buarl.data.source import source_names
    from buarl.training.config import PRESETS

    if preset is not None:
        check_choice("preset", preset, tuple(PRESETS))
    if source is not None:
        check_choice("source", source, tuple(source_names()))


def rows_in(folder: Path, what: str, readings: Words, preset, source, own: dict) -> list:
    """The rows of `planned_in`."""
    return planned_in(folder, what, readings, preset, source, own).rows()
