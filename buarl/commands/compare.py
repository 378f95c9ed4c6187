"""`buarl compare`: two groups of runs, paired. `buarl leak`: what a choice of checkpoint adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    """A row, by a ledger's name or such as "3:URL + CRL, voxel"; a folder of runs; or a run."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """What is compared with it; B minus A is reported."""
    runs: Path = RESULTS
    """Where the runs of rows lie."""
    preset: str | None = None
    """Of the runs of TABLE:ROW; mini without it, or that of the plan in --runs."""
    source: str | None = None
    """Other data than the paper's, for runs of TABLE:ROW."""
    set: Pairs = ()
    """Numbers that rows of TABLE:ROW set for themselves."""
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
        from buarl.results.comparison import comparison_text
        from buarl.results.statistics import compare
        from buarl.results.tables import SELECTED

        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        self._check_options()
        found = [self._group(name) for name in (self.a, self.b)]
        groups, left_out = [group for group, _ in found], [line for _, out in found for line in out]
        if groups[0] == groups[1]:
            raise ValueError(f"{self.a} and {self.b} are the same runs")
        pairs = compare(*groups, self.score, seed=self.seed)
        print(comparison_text(f"{self.b} minus {self.a}", pairs, self.score))
        self._judge(pairs)
        print(f"split {self.split}; protocol {self.protocol}: {SELECTED[self.protocol]}")
        facts = [_facts(group) for group in groups]
        for name, of_group in zip("AB", facts, strict=True):
            print(f"{name}: {'; '.join(of_group.values())}")
        print(f"A and B differ in: {_what_differs(groups, facts)}")
        for line in dict.fromkeys(left_out):
            print(f"left out: {line}")

    def _judge(self, pairs) -> None:
        """Of two rows of a table, the printed gain and the word of the rule."""
        from buarl.results.verdicts import RULE, judge

        if self.score != "dice" or not (self._is_table_row(self.a) and self._is_table_row(self.b)):
            return
        a, b = (self._row(*name.split(":", 1)).printed for name in (self.a, self.b))
        if a is None or b is None or not (gain := b.dice - a.dice) > 0:
            return
        word = judge(100 * pairs.low, 100 * pairs.high, gain, len(pairs.seeds))
        print(f"printed gain {gain:+.2f} points: {word} ({RULE})")

    def _check_options(self) -> None:
        """Options that choose among rows of a table are nothing to a ledger's name or a folder."""
        from buarl.commands.tables import check_rows

        check_rows(self.preset, self.source)
        given = [name for name in ("preset", "source", "set") if getattr(self, name)]
        named = [name for name in (self.a, self.b) if not self._is_table_row(name)]
        if given and len(named) == 2:
            raise ValueError(
                f"--{given[0]} chooses among runs of TABLE:ROW, such as 3:BCP, and {self.a} and "
                f"{self.b} name theirs already"
            )

    def _is_table_row(self, name: str) -> bool:
        return ":" in name and not Path(name).exists()

    def _group(self, name: str) -> tuple[Group, list[str]]:
        """The runs of a name under the protocol, and what was left out."""
        from buarl.results.measured import scored_under

        runs, left_out = self._runs(name)
        group = scored_under(runs, self.protocol)
        if not group:
            why = f"none evaluated under protocol {self.protocol}" if runs else "no run yet"
            more = "".join(f"; left out: {line}" for line in left_out)
            raise ValueError(f"{name}: {why} on split {self.split} in {self.runs}{more}")
        return group, left_out

    @cached_property
    def _results(self):
        """The runs of --runs, read once for both groups."""
        from buarl.results.measured import read_results

        return read_results(self.runs, split=self.split)

    def _runs(self, name: str) -> tuple[Group, list[str]]:
        from buarl.results.page import ROWS, ledger_rows, quick_rows

        named = [all_of(source) for all_of in (ledger_rows, quick_rows) for source in ROWS]
        rows = {name: row for of_source in named for name, row in of_source.items()}
        if name not in rows and Path(name).exists():
            return _of_path(Path(name), self.split)
        if name in rows:
            return self._of_row(rows[name])
        table, mark, title = name.partition(":")
        if not mark:
            raise ValueError(
                f"{name}: neither a folder nor a row; rows are {', '.join(rows)}, or TABLE:ROW"
            )
        return self._of_row(self._row(table, title).experiment)

    def _of_row(self, row) -> tuple[Group, list[str]]:
        from buarl.results.measured import runs_of

        return runs_of(row, self._results.entries), self._results.left_out_of([row])

    def _row(self, table: str, title: str):
        from buarl.commands.tables import rows_in
        from buarl.results.rows import READING_NAMES

        title, own = title.strip(), pairs(self.set, "--set")
        readings = tuple(READING_NAMES)
        found = rows_in(self.runs, table, readings, self.preset, self.source, own)
        names = [", ".join(part for part in (row.name, row.reading) if part) for row in found]
        if title not in names:
            raise ValueError(f"table {table} has the rows {'; '.join(names)}, got {title!r}")
        return found[names.index(title)]


def _of_path(path: Path, split: str) -> tuple[Group, list[str]]:
    """The runs of a folder, a run folder or one entry; all of one row."""
    from buarl.results.measured import read_measured, read_results

    if path.is_file():
        return [{"name": path.stem, **read_measured(path, split=split)}], []
    results = read_results(path, split=split)
    if not results.entries:
        nothing = "it holds no run and no entry, nor does seeds/ in it"
        raise ValueError(f"{path}: no runs; {'; '.join(results.left_out) or nothing}")
    rows = [{**entry["experiment"], "seed": 0} for entry in results.entries]
    names = [entry["name"] for entry in results.entries]
    if other := [name for name, row in zip(names, rows, strict=True) if row != rows[0]]:
        raise ValueError(
            f"{path}: a group is one row with several seeds, and {other[0]} is another row than "
            f"{names[0]}"
        )
    return results.entries, [*results.left_out]


def _facts(group: Group) -> dict[str, str]:
    """What the runs of a group have in common, and what differs among them, by its name."""
    from buarl.training.environment import environments_of, machine_of

    rows = [run["experiment"] for run in group]
    where = [each for run in group for each in environments_of(run)]
    words = {
        "method": (row["method"] for row in rows),
        "data": (f"{row['source']}, {row['labeled'] or 'all'} labeled" for row in rows),
        "preset": (" ".join((row["preset"], *_own(row))) for row in rows),
        "precision": (each.get("precision", "fp32") for each in where),
        "on": map(machine_of, where),
    }
    said = {name: f"{name} {' and '.join(dict.fromkeys(found))}" for name, found in words.items()}
    return {**said, "runs": f"runs {', '.join(str(run.get('name', '?')) for run in group)}"}


def _what_differs(groups: Sequence[Group], facts: Sequence[Mapping[str, str]]) -> str:
    """The switches of the rows that differ, then what else does; a difference may be due to any."""
    a, b = (group[0]["experiment"] for group in groups)  # a group is one row
    switches = [
        name for name in dict.fromkeys([*a, *b]) if name != "seed" and a.get(name) != b.get(name)
    ]
    others = ["precision"] if facts[0]["precision"] != facts[1]["precision"] else []
    others += ["machine"] if _on_other_machines(*groups) else []
    return ", ".join([*switches, *others]).replace("_", " ") or "nothing but their runs"


def _on_other_machines(a: Group, b: Group) -> bool:
    """Whether a pair of one seed was trained on two kinds of machine, as far as they say."""
    from buarl.training.environment import environments_of, same_machine

    ours = {run["experiment"]["seed"]: environments_of(run) for run in a}
    theirs = {run["experiment"]["seed"]: environments_of(run) for run in b}
    return any(
        not same_machine(one, other)
        for seed in ours.keys() & theirs
        for one in ours[seed]
        for other in theirs[seed]
    )


def _own(row: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in (row.get("set") or {}).items()]


@dataclass
class Leak:
    """What one run gains on paper when its checkpoint is chosen on the test set.

    Half of the validation patients choose, the other half stand in for a test; no test case is
    opened.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]
    """A run of `buarl plan` or `buarl train --validate`, its folder or its JSON file."""

    def run(self) -> None:
        """Print the four rules and the Dice that each reports."""
        from buarl.results.leak import leak_of_run, leak_text
        from buarl.results.ledger import read_entry

        if self.run_folder.is_file():
            found = read_entry(self.run_folder).get("leak")
            if found is None:
                raise ValueError(
                    f"{self.run_folder}: the run kept no Dice of single volumes while it was "
                    "trained; `buarl plan` and `buarl train --validate STEPS` train runs that do"
                )
        else:
            found = leak_of_run(self.run_folder)
        print(leak_text(found))
