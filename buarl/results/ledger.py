"""The committed ledger: one small JSON file per finished run, and the table made from them.

A run folder is large and stays where it was trained; what a reader needs to trust its numbers fits
in `results/NAME.json`: row, config, environment, rules, seconds, summary and every case.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from buarl.capsule import CASES
from buarl.capsule.scores import notes_of
from buarl.data.errors import DataError
from buarl.data.text import read_text
from buarl.evaluation.protocols import NotToTheEnd
from buarl.evaluation.scores import read_metrics, summary
from buarl.results.leak import TooFew, leak_of_run
from buarl.results.patients import names_tell, patients_of_run
from buarl.results.premise import premise_of_run
from buarl.results.table import COLUMNS, markdown_table, score_text, spread_text
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment
from buarl.training.environment import kind_of, machine_of
from buarl.training.run import read_run

KINDS = {
    **{"experiment": dict, "config": dict, "environment": dict, "data": dict, "selection": str},
    **{"split": str, "metric": str, "notes": list, "started": str, "seconds": dict},
    **{"summary": dict, "cases": list},
}
KEYS = tuple(KINDS)
OPTIONAL = ("peak_mib",)  # not in entries made before it was recorded
LATER = ("pretrained", "resumed", "paper", "leak", "premise", "patients")  # of runs that have them
NOT_YET = "not yet run"
BELOW = "seeds below"


def add_to_ledger(folder: Path, name: str, run_folder: Path, *, split: str = "val") -> Path:
    """Enter a finished and evaluated run into a ledger, as `folder/NAME.json`.

    Args:
        folder: The ledger, for example `results/`; made if absent.
        name: Name of the entry, which becomes its file name.
        run_folder: Folder of the run; it holds `run.json` and, after `buarl evaluate`,
            `metrics_<split>.csv`.
        split: Which evaluation to enter.
    Returns:
        The file. It holds no path of the machine.
    Raises:
        ValueError: an unfinished run, no evaluation, or an entry of this name that tells of another
            experiment; the message names the file.
    """
    entry, path = entry_of_run(run_folder, split=split), Path(folder) / f"{name}.json"
    if path.is_file() and read_entry(path)["experiment"] != entry["experiment"]:
        raise ValueError(f"{path}: holds another experiment; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, entry)
    return path


def entry_of_run(run_folder: Path, *, split: str = "val") -> dict[str, Any]:
    """What a ledger says of a finished and evaluated run, read without its weights.

    Args:
        run_folder: As in `add_to_ledger`.
        split: Which evaluation.
    Returns:
        The keys `KEYS`, and those of `OPTIONAL` and `LATER` that the run has: "paper" is the
        evaluation of the checkpoint that did best on validation, "leak" what selecting on the test
        set would have flattered it by, see `buarl.results.leak`, "premise" whether the uncertain
        were the wrong ones, see `buarl.results.premise`, "resumed" where it went on, "patients"
        whose each case is, where names do not say it.
    Raises:
        ValueError: an unfinished run, no evaluation, or a damaged file; the message names it.
    """
    run, scores = read_run(run_folder), Path(run_folder) / f"metrics_{split}.csv"
    if not run["finished"]:
        raise ValueError(f"{run_folder}: the run is not finished; resume it before it is entered")
    if not scores.is_file():
        raise ValueError(f"{scores}: no such file; evaluate the run on split {split!r} first")
    metric, notes, rows = _evaluation(scores)
    entry = {key: run[key] for key in (*KEYS, *OPTIONAL, *LATER) if key in run} | {
        "data": {key: run["data"][key] for key in ("licence", "contents") if key in run["data"]},
        "split": split,
        "metric": metric,
        "notes": notes,
        **rows,
    }
    selected = Path(run_folder) / f"metrics_{split}_paper.csv"
    if selected.is_file():
        _, notes, rows = _evaluation(selected)
        entry["paper"] = {"notes": notes, **rows}
    if (Path(run_folder) / CASES).is_file():
        with suppress(TooFew, NotToTheEnd):
            entry["leak"] = leak_of_run(run_folder)
    if not names_tell(run["experiment"]["source"]):
        entry["patients"] = patients_of_run(run_folder, [row["case"] for row in entry["cases"]])
    if (premise := premise_of_run(run_folder)) is not None:
        entry["premise"] = premise
    return {key: entry[key] for key in (*KEYS, *OPTIONAL, *LATER) if key in entry}


def _evaluation(path: Path) -> tuple[str, list[str], dict[str, Any]]:
    """The metric's definition, further notes, and summary and cases of a file of scores."""
    rows = read_metrics(path)
    metric, *notes = notes_of(read_text(path)) or [""]
    if not metric:
        raise ValueError(f"{path}: its first lines, which say what the scores are, are gone")
    scores = {"summary": _plain(summary(rows)), "cases": [_plain(row) for row in rows]}
    return metric, notes, scores


def read_ledger(folder: Path) -> list[dict[str, Any]]:
    """Read all entries of a ledger, in the order of their names.

    Args:
        folder: The ledger; one that does not exist is empty.
    Returns:
        One dict an entry, with the keys `KEYS` and "name".
    Raises:
        ValueError: a JSON file that is no entry; the message names it and what it lacks.

    >>> read_ledger(Path("no such ledger"))
    []
    """
    return [{"name": path.stem, **read_entry(path)} for path in sorted(Path(folder).glob("*.json"))]


def ledger_table(
    rows: Mapping[str, Experiment],
    ledger: Sequence[Mapping[str, Any]],
    below: Collection[str] = (),
) -> str:
    """Lay out rows with the scores of their entries, or "not yet run".

    Args:
        rows: Per title an experiment. An entry belongs to a row if its experiment is equal to it in
            every field, seed and preset included; what it sets for itself stands beside the title.
        ledger: As `read_ledger` returns it.
        below: Titles of rows whose runs stand further below on the page.
    Returns:
        A Markdown table; a row with several entries has a line for each.

    >>> ledger_table({"BCP": Experiment("bcp")}, []).splitlines()[-1][:19]
    '| BCP | not yet run'
    """
    lines = [["", *COLUMNS.values(), "split", "steps", "hours", "MiB", "on"]]
    for name, row in rows.items():
        wanted = json.loads(json.dumps(row.as_dict()))
        entries = [entry for entry in ledger if entry["experiment"] == wanted]
        title = _title(name, row)
        lines += [[title if i == 0 else "", *_cells(entry)] for i, entry in enumerate(entries)]
        if not entries:
            found = BELOW if name in below else NOT_YET
            lines.append([title, found, *[""] * (len(lines[0]) - 2)])
    return markdown_table(lines)


def spread_table(rows: Mapping[str, Experiment], ledger: Sequence[Mapping[str, Any]]) -> str:
    """Lay out rows of several seeds: mean and standard deviation (n - 1) between seeds.

    Args:
        rows: Per title an experiment; its seed does not matter.
        ledger: As `read_ledger` returns it.
    Returns:
        A Markdown table. Each precision of a row is a line of its own; lines with fewer than two
        entries are left out.

    >>> "BCP" in spread_table({"BCP": Experiment("bcp")}, [])  # no entry yet
    False
    """
    lines = [["", *COLUMNS.values(), "seeds"]]
    for title, row in rows.items():
        wanted = json.loads(json.dumps(row.as_dict()))
        of_row = [e for e in ledger if {**e["experiment"], "seed": row.seed} == wanted]
        for precision in dict.fromkeys(map(_precision, of_row)):
            entries = [entry for entry in of_row if _precision(entry) == precision]
            if len(entries) > 1:
                scores = {key: [entry["summary"][key] for entry in entries] for key in COLUMNS}
                cells = [spread_text(key, values) for key, values in scores.items()]
                seeds = ", ".join(str(entry["experiment"]["seed"]) for entry in entries)
                lines.append([f"{_title(title, row)}, {precision}", *cells, seeds])
    return markdown_table(lines)


def _title(title: str, row: Experiment) -> str:
    return f"{title} ({row.changes})" if row.changes else title


def _precision(entry: Mapping[str, Any]) -> str:
    """The precision of a run; entries made before it was recorded are of CPUs without bf16."""
    return entry["environment"].get("precision", "fp32")


def _cells(entry: Mapping[str, Any]) -> list[str]:
    steps = "+".join(str(stage["steps"]) for stage in entry["config"]["stages"])
    hours = f"{sum(entry['seconds'].values()) / 3600:.1f}"
    kind = kind_of(entry["environment"])
    where = machine_of(entry["environment"]) if kind == "cuda" else kind.upper()
    scores = [score_text(key, entry["summary"][key]) for key in COLUMNS]
    return [*scores, entry["split"], steps, hours, str(entry.get("peak_mib") or "-"), where]


def read_entry(path: Path) -> dict[str, Any]:
    """One entry of a ledger.

    Raises:
        ValueError: a JSON file that is no entry; the message names it and what it lacks.
    """
    try:
        entry = json.loads(read_text(path))
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON, damaged or cut short ({error})") from error
    missing = [key for key in KEYS if key not in entry] if isinstance(entry, dict) else list(KEYS)
    if missing:
        raise ValueError(f"{path}: a ledger entry needs {missing}")
    for key, kind in KINDS.items():
        if not isinstance(entry[key], kind):
            raise ValueError(f"{path}: {key} must be a {kind.__name__}, got {entry[key]!r:.60}")
    for key, kind in (("resumed", list), ("patients", dict)):
        if not isinstance(entry.get(key, kind()), kind):
            raise ValueError(f"{path}: {key} must be a {kind.__name__}, got {entry[key]!r:.60}")
    for key, kind in (("cases", dict), ("notes", str), ("resumed", dict)):
        if odd := [each for each in entry.get(key, []) if not isinstance(each, kind)]:
            raise ValueError(f"{path}: {key} must hold a {kind.__name__} each, got {odd[0]!r:.60}")
    return entry


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with None for NaN, which JSON does not know."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
