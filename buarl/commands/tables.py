"""`buarl table`: printed beside measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from buarl.arguments import check_choice
from buarl.commands.console import say
from buarl.commands.words import Pairs, Words, pairs

JUDGED = ("verdicts", "premise")
"""What is told of all runs of a preset, whatever table their rows stand in."""
RESULTS = Path(__file__).resolve().parent.parent.parent / "results"


@dataclass
class Table:
    """A table of the paper, printed beside measured; verdicts on its claims; its premise."""

    what: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(metavar="1-6|controls|methods|verdicts|premise")
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
        from buarl.results.measured import Results, read_results
        from buarl.results.tables import lines_of, table_text

        plan = self._plan()
        if self.runs == RESULTS and not RESULTS.is_dir():  # installed without the repository
            say(
                "no runs come with an installed buarl; name yours with --runs, or take results/ of "
                "its repository"
            )
            results = Results([], {})
        else:
            results = read_results(self.runs, split=plan.split)
        if self.what == "verdicts":
            self._verdicts(plan, results)
            return
        if self.what == "premise":
            from buarl.results.premise import premise_table

            if self.set or self.protocol != "both":
                raise ValueError("--set and --protocol choose nothing in the table of the premise")
            wanted = {"source": plan.source, "labeled": plan.labeled}
            wanted = {key: value for key, value in wanted.items() if value is not None}
            found = [e for e in results.entries if wanted.items() <= e["experiment"].items()]
            print(premise_table(found, plan.preset, self.format))
            _say_left_out(results, plan.preset)
            return
        protocols = PROTOCOLS if self.protocol == "both" else (self.protocol,)
        lines = lines_of(plan.rows(), results, protocols)
        facts = {"preset": plan.preset, "split": plan.split, "form": self.format}
        print(table_text(self.what, lines, results, **facts))
        if self.format == "csv":
            rows = [line.row.experiment for line in lines]
            for line in results.left_out_of(rows):  # a file of numbers has no place for them
                say(f"left out: {line}")

    def _verdicts(self, plan, results) -> None:
        from buarl.evaluation.protocols import PROTOCOLS
        from buarl.results.verdicts import verdict_csv, verdict_text, verdicts

        if plan.labeled is not None:
            whose = f"take another folder than {self.runs}, whose plan has {plan.labeled}"
            raise ValueError(
                "verdicts are about the paper's numbers of labeled patients; "
                f"{whose if self.labeled is None else 'leave out --labeled'}"
            )
        facts = {"preset": plan.preset, "readings": plan.readings, "base": plan.base}
        found = {
            protocol: verdicts(results.entries, protocol=protocol, **facts)
            for protocol in (PROTOCOLS if self.protocol == "both" else (self.protocol,))
        }
        if self.format == "csv":
            print(verdict_csv(found, plan.preset, plan.split))
        else:
            own = "".join(f", {key}={value}" for key, value in (plan.set or {}).items())
            head = f"data {plan.source or 'acdc and la'}, preset {plan.preset}{own}"
            for protocol, judged in found.items():
                print(f"{head}, split {plan.split}, protocol {protocol}\n")
                print(verdict_text(judged))
        _say_left_out(results, plan.preset)

    def _plan(self):
        """What the folder says, and these options on top."""
        from buarl.results.rows import WHAT

        check_choice("table", self.what, (*WHAT, *JUDGED))
        what = "1" if self.what in JUDGED else self.what
        own = pairs(self.set, "--set")
        plan = planned_in(self.runs, what, self.readings, self.preset, self.source, own)
        return replace(
            plan,
            labeled=plan.labeled if self.labeled is None else self.labeled,
            split=self.split or plan.split,
        )


def _say_left_out(results, preset: str) -> None:
    """Say what may be of a preset and was not taken."""
    for line, row in results.left_out.items():
        if row is None or row["preset"] == preset:
            say(f"left out: {line}")


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
