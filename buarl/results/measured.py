"""What was measured: the runs of a folder, checked, and grouped into the seeds of a row.

Read are small JSON files of a ledger and whole run folders, side by side. Nothing here loads
weights. A file or a folder that is damaged, unfinished, does not agree with itself or was trained
with other numbers than its row has today is named and left out.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from buarl.arguments import counted
from buarl.capsule import read_capsule
from buarl.capsule.scores import check_scores, words_of
from buarl.data.contents import first_other, said_contents
from buarl.evaluation.metrics import metric_definition
from buarl.evaluation.protocols import Protocol
from buarl.evaluation.score import DIFFERENCES
from buarl.evaluation.scores import SCORES, summary
from buarl.results.ledger import entry_of_run, read_entry
from buarl.training.config import Experiment
from buarl.training.identity import changed_words, plain_row, row_key

SUBFOLDERS = ("", "seeds")
FULL = "fp32"


class Results(NamedTuple):
    """The runs of a folder.

    entries: As `read_entry` returns them, with "name", one for every row, seed and split.
    left_out: What was not taken, each in a line with the reason; with its row as JSON, or None
        where that could not be read.
    """

    entries: list[dict[str, Any]]
    left_out: dict[str, dict[str, Any] | None]

    def left_out_of(self, rows: Sequence[Experiment]) -> list[str]:
        """The lines of what may be a run of these rows, whatever its seed.

        >>> Results([], {"a.json: damaged": None, "b: older": {}}).left_out_of([Experiment()])
        ['a.json: damaged']
        """
        wanted = [_of_any_seed(row) for row in rows]
        return [
            line
            for line, row in self.left_out.items()
            if row is None or {**row, "seed": 0} in wanted
        ]


def read_results(folder: Path, *, split: str = "val") -> Results:
    """All runs in a folder: JSON files of a ledger (also in `seeds/`) and run folders.

    Where a row and a seed were run more than once, the newest run counts and the others are named.
    Runs in another precision than fp32 are named and left out.

    Args:
        folder: A ledger such as `results/`, or the `--out` of `buarl plan`.
        split: Whose evaluation counts.
    Raises:
        ValueError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; name one that holds runs or their JSON files")
    entries: list[dict[str, Any]] = []
    left_out: dict[str, dict[str, Any] | None] = {}
    for path, name in _places(folder):
        try:
            entries.append({"name": name, **read_measured(path, split=split)})
        except (ValueError, OSError) as error:
            left_out[str(error) if str(path) in str(error) else f"{path}: {error}"] = None
    entries = _newest(_same_contents(entries, left_out), left_out)
    return _same_cases(entries, left_out)


def read_measured(path: Path, *, split: str = "val") -> dict[str, Any]:
    """One run, a JSON file of a ledger or a run folder, checked.

    Args:
        path: Of the file or the folder.
        split: Whose evaluation counts.
    Returns:
        As `read_entry` does, its row without numbers that its preset gives anyway.
    Raises:
        ValueError: damaged, incomplete, mixed or unfinished, of another split, or trained with
            other numbers than its row has today.
    """
    if path.is_dir():
        read_capsule(path)  # whole, and of one run
    entry = entry_of_run(path, split=split) if path.is_dir() else read_entry(path)
    _check(entry)
    if said := changed_words(entry):
        raise ValueError(f"{path}: {said}")
    if entry["split"] != split:
        raise ValueError(f"{path}: was evaluated on split {entry['split']}, not {split}")
    return {**entry, "experiment": plain_experiment(entry["experiment"])}


def _places(folder: Path) -> list[tuple[Path, str]]:
    """Entries and run folders with their names; a run whose entry lies beside it is read there."""
    found = []
    for below in SUBFOLDERS:
        paths = sorted((folder / below).glob("*.json"))
        found += [(path, f"{below}/{path.stem}".strip("/")) for path in paths if _is_entry(path)]
    known = {name for _, name in found}
    runs = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    for run in runs:
        if (run / "run.json").is_file() and run.name not in known:
            found.append((run, run.name))
    return found


def _is_entry(path: Path) -> bool:
    return path.name not in ("run.json", "plan.json") and not path.name.startswith(".")


def _check(entry: Mapping[str, Any]) -> None:
    """Refuse what does not agree with itself, such as a file put together from two runs."""
    try:
        row, config = entry["experiment"], entry["config"]
        with suppress(ValueError):  # code that only its owner has
            Experiment.from_dict(row)
        for key in ("source", "preset"):
            if not isinstance(row[key], str):
                raise TypeError(f"{key} is {row[key]!r:.60}")
        said_contents(entry["data"])
        for key in ("seed", "preset", "labeled"):
            if row[key] != config[key]:
                raise ValueError(
                    f"mixed: its row has {key} {row[key]}, its numbers have {config[key]}"
                )
        for part in (entry, *([entry["paper"]] if "paper" in entry else [])):
            check_scores(part["cases"], part["notes"])
            if other := _other_evaluation(entry["metric"], part["notes"]):
                raise ValueError(f"is no evaluation as tables have it: {other}")
            again = summary([_with_nan(case) for case in part["cases"]])
            for score in SCORES:
                said = _number(part["summary"][score])
                if not math.isclose(said, again[score], rel_tol=1e-6, abs_tol=1e-6) and not (
                    math.isnan(said) and math.isnan(again[score])
                ):
                    raise ValueError(
                        f"mixed: its {score} is {said}, that of its cases {again[score]}"
                    )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged, {type(error).__name__}: {error}") from error


def _other_evaluation(metric: str, notes: Sequence[str]) -> str:
    """How an evaluation differs from that which tables compare; "" where it does not."""
    differing = [word for word in words_of(notes) if word in DIFFERENCES.values()]
    if metric != metric_definition():
        differing.append(f"metric {metric!r}")
    return "; ".join(differing)


def _newest(entries: list[dict[str, Any]], left_out: dict[str, Any]) -> list[dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = {}
    for entry in entries:
        precision = entry["environment"].get("precision", FULL)
        if precision != FULL:
            line = f"{entry['name']}: was trained in {precision}, not in {FULL}"
            left_out[line] = entry["experiment"]
            continue
        key = row_key(entry["experiment"])
        other = kept.get(key)
        if other is not None:
            older, entry = sorted((other, entry), key=lambda each: str(each["started"]))
            line = f"{older['name']}: {entry['name']} is newer, of the same row and seed"
            left_out[line] = older["experiment"]
        kept[key] = entry
    return list(kept.values())


def _same_contents(entries: list[dict[str, Any]], left_out: dict[str, Any]) -> list[dict[str, Any]]:
    """Leave out runs whose data have the names of others' and hold something else.

    Right is what most runs of a data set agree with; runs that do not know what their data held
    agree with all.
    """
    usual = {}
    for source in {entry["experiment"]["source"] for entry in entries}:
        held = Counter(
            json.dumps(said_contents(entry["data"]), sort_keys=True)
            for entry in entries
            if entry["experiment"]["source"] == source
        )
        known = [(json.loads(text), count) for text, count in held.items()]
        usual[source] = max(
            (contents for contents, _ in known if contents),
            key=lambda one: sum(n for other, n in known if first_other(one, other) is None),
            default={},
        )
    kept = []
    for entry in entries:
        other = first_other(usual[entry["experiment"]["source"]], said_contents(entry["data"]))
        if other is None:
            kept.append(entry)
        else:
            line = f"{entry['name']}: {other} of its data holds else than in other runs"
            left_out[line] = entry["experiment"]
    return kept


def _same_cases(entries: list[dict[str, Any]], left_out: dict[str, Any]) -> Results:
    """Leave out seeds that were not scored on all volumes that the others of their row were."""
    most: dict[str, frozenset[str]] = {}
    cases = [frozenset(case["case"] for case in entry["cases"]) for entry in entries]
    rows = [row_key(entry["experiment"], any_seed=True) for entry in entries]
    for row, found in zip(rows, cases, strict=True):
        most[row] = max(most.get(row, found), found, key=len)
    kept = []
    for entry, row, found in zip(entries, rows, cases, strict=True):
        if found == most[row]:
            kept.append(entry)
        else:
            line = (
                f"{entry['name']}: was scored on {counted(len(found), 'volume')}, not on the "
                f"{len(most[row])} of another seed of its row"
            )
            left_out[line] = entry["experiment"]
    return Results(kept, left_out)


def runs_of(row: Experiment, entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The runs of a row, whatever their seed, in the order of the seeds.

    Args:
        row: Its seed does not matter; everything else must be equal, see `plain_row`.
        entries: From `read_results`.
    """
    wanted = _of_any_seed(row)
    ours = [entry for entry in entries if {**entry["experiment"], "seed": 0} == wanted]
    return sorted(ours, key=lambda entry: entry["experiment"]["seed"])


def _of_any_seed(row: Experiment) -> dict[str, Any]:
    return json.loads(json.dumps(replace(plain_row(row), seed=0).as_dict()))


def plain_experiment(experiment: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON, without numbers that its preset gives anyway."""
    if not experiment.get("set"):
        return experiment
    try:
        return json.loads(json.dumps(plain_row(Experiment.from_dict(experiment)).as_dict()))
    except ValueError:  # code that only its owner has
        return experiment


def part_of(entry: Mapping[str, Any], protocol: Protocol) -> Mapping[str, Any] | None:
    """Summary, cases and notes of a run under a protocol; None where it was not evaluated so."""
    return entry if protocol == "honest" else entry.get("paper")


def scored_under(runs: Sequence[Mapping[str, Any]], protocol: Protocol) -> list[Mapping[str, Any]]:
    """Those runs that were evaluated under a protocol, with the cases of that evaluation."""
    parts = [(run, part_of(run, protocol)) for run in runs]
    return [{**run, "cases": part["cases"]} for run, part in parts if part is not None]


class Measured(NamedTuple):
    """A score over seeds.

    mean: Mean over seeds, NaN where a seed has no such score.
    spread: Standard deviation between seeds (n - 1); NaN for one seed.

    >>> mean_and_spread([0.5, 0.7])
    Measured(mean=0.6, spread=0.14142135623730948)
    """

    mean: float
    spread: float


def mean_and_spread(values: Sequence[float | None]) -> Measured:
    """Mean and standard deviation (n - 1) of one score over seeds.

    Args:
        values: One per seed; None, as JSON has NaN, makes both NaN.

    >>> mean_and_spread([0.5]).spread
    nan
    """
    if not values or None in values:
        return Measured(math.nan, math.nan)
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return Measured(statistics.mean(values), spread)


def _with_nan(case: Mapping[str, Any]) -> dict[str, Any]:
    return {**case, **{score: _number(case[score]) for score in SCORES}}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
