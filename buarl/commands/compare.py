"""`buarl compare`: two groups of runs, paired. `buarl leak`: what a choice of checkpoint adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from buarl.commands.tables import RESULTS
from buarl.commands.words import Pairs, pairs

Group = list[Mapping[str, Any]]


@dataclass
class Compare:
    """Compare two groups of runs, seed by seed and case by case: what does B add to A?"""

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """A folder of runs, a run, or a row: a ledger's name, or such as "3:URL + CRL, voxel"."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """What is compared with it; B minus A is reported."""
    runs: Path = RESULTS
    """Where the runs of rows lie."""
    preset: str | None = None
    """Of the runs of TABLE:ROW; mini without it, or that of the plan in --runs."""
    source: str | None = None
    """Other data than the paper's, for runs of TABLE:ROW."""
    set: Pairs = ()
    """Numbers that those rows set for themselves."""
    score: Literal["dice", "jaccard", "hd95", "asd"] = "dice"
    """Which score."""
    protocol: Literal["honest", "paper"] = "honest"
    """honest: last checkpoint. paper: selected on validation."""
    split: Literal["val", "test"] = "val"
    """Whose scores."""
    seed: int = 0
    """Draws the bootstrap."""

    def run(self) -> None:
        """Print the difference, its interval, and what it would take to see half a point."""
        from buarl.results.statistics import compare, comparison_text
        from buarl.results.tables import SELECTED

        groups = [self._group(name) for name in (self.a, self.b)]
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        found = compare(*groups, self.score, seed=self.seed)
        print(comparison_text(f"{self.b} minus {self.a}", found, self.score))
        print(f"split {self.split}; protocol {self.protocol}: {SELECTED[self.protocol]}")

    def _group(self, name: str) -> Group:
        from buarl.results.measured import part_of

        runs = self._runs(name)
        parts = [(run, part_of(run, self.protocol)) for run in runs]
        group = [{**run, "cases": part["cases"]} for run, part in parts if part is not None]
        if not group:
            why = f"none evaluated under protocol {self.protocol}" if runs else "no run yet"
            raise ValueError(f"{name}: {why} on split {self.split} in {self.runs}")
        return group

    def _runs(self, name: str) -> Group:
        from buarl.results.measured import read_results, runs_of
        from buarl.results.page import ROWS, ledger_rows

        if Path(name).exists():
            return _of_path(Path(name), self.split)
        entries = read_results(self.runs, split=self.split).entries
        rows = {key: row for source in ROWS for key, row in ledger_rows(source).items()}
        if name in rows:
            return runs_of(rows[name], entries)
        table, mark, title = name.partition(":")
        if not mark:
            raise ValueError(
                f"{name}: neither a folder nor a row; rows are {', '.join(rows)}, or TABLE:ROW"
            )
        return runs_of(self._row(table, title.strip()).experiment, entries)

    def _row(self, table: str, title: str):
        from buarl.commands.tables import rows_in
        from buarl.results.rows import READING_NAMES

        own = pairs(self.set, "--set")
        readings = tuple(READING_NAMES)
        found = rows_in(self.runs, table, readings, self.preset, self.source, own)
        names = [", ".join(part for part in (row.name, row.reading) if part) for row in found]
        if title not in names:
            raise ValueError(f"table {table} has the rows {'; '.join(names)}, got {title!r}")
        return found[names.index(title)]


def _of_path(path: Path, split: str) -> Group:
    """The runs of a folder, a run folder or one entry; all of one row."""
    from buarl.results.ledger import read_entry
    from buarl.results.measured import read_results

    if path.is_file():
        return [{"name": path.stem, **read_entry(path)}]
    results = read_results(path, split=split)
    if not results.entries:
        raise ValueError(f"{path}: no runs; {'; '.join(results.left_out) or 'it is empty'}")
    rows = [{**entry["experiment"], "seed": 0} for entry in results.entries]
    names = [entry["name"] for entry in results.entries]
    if other := [name for name, row in zip(names, rows, strict=True) if row != rows[0]]:
        raise ValueError(
            f"{path}: a group is one row with several seeds, and {other[0]} is another row than "
            f"{names[0]}"
        )
    return results.entries


@dataclass
class Leak:
    """What one run gains on paper when its checkpoint is chosen on the test set.

    Half of the validation patients choose, the other half stand in for a test; no test case is
    opened.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    """A run of `buarl plan`, its folder or its JSON file."""

    def run(self) -> None:
        """Print the four rules and the Dice that each reports."""
        from buarl.results.leak import leak_of_run, leak_text
        from buarl.results.ledger import read_entry

        if self.run_folder.is_file():
            found = read_entry(self.run_folder).get("leak")
            if found is None:
                raise ValueError(f"{self.run_folder}: the run was trained without validations")
        else:
            found = leak_of_run(self.run_folder)
        print(leak_text(found))
