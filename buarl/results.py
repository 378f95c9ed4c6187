"""The committed ledger: one small JSON file per finished run, and the table made from them.

A run folder is large and stays where it was trained; what a reader needs to trust its numbers fits
in `results/NAME.json`: row, config, environment, rules, seconds, summary and every case.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buarl.checkpoint import write_json
from buarl.config import Experiment
from buarl.evaluate import read_metrics, summary
from buarl.run import read_run
from buarl.table import text_table

KEYS = (
    *("experiment", "config", "environment", "data", "selection", "split", "metric", "notes"),
    *("started", "seconds", "summary", "cases"),
)
NOT_YET = "not yet run"


def add_to_ledger(folder: Path, name: str, run_folder: Path, *, split: str = "val") -> Path:
    """Write `folder/NAME.json` from a finished and evaluated run.

    Args:
        folder: The ledger, e.g. `results/`; made if absent. name: Of the entry, a file name.
        run_folder: Holds `run.json` and `metrics_<split>.csv` (`python -m buarl evaluate`).
        split: Which evaluation.
    Returns:
        The file. It holds no path of the machine.
    Raises:
        ValueError: an unfinished run, no evaluation, or an entry of this name that tells of another
            experiment; the message names the file.
    """
    run, scores = read_run(run_folder), Path(run_folder) / f"metrics_{split}.csv"
    if not run["finished"]:
        raise ValueError(f"{run_folder}: the run is not finished; resume it before it is entered")
    if not scores.is_file():
        raise ValueError(f"{scores}: no such file; evaluate the run on split {split!r} first")
    metric, *notes = [line[2:] for line in scores.read_text().splitlines() if line[:2] == "# "]
    rows = read_metrics(scores)
    entry = {key: run[key] for key in KEYS if key in run} | {
        "data": {"licence": run["data"]["licence"]},  # where it lay is nobody's business
        "split": split,
        "metric": metric,
        "notes": notes,
        "summary": _plain(summary(rows)),
        "cases": [_plain(row) for row in rows],
    }
    path = Path(folder) / f"{name}.json"
    if path.is_file() and _read(path)["experiment"] != entry["experiment"]:
        raise ValueError(f"{path}: holds another experiment; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {key: entry[key] for key in KEYS})
    return path


def read_ledger(folder: Path) -> list[dict[str, Any]]:
    """All entries of a ledger by name; each has KEYS and "name". A folder not there is empty.

    Raises:
        ValueError: a JSON file that is no entry; the message names it and what it lacks.
    """
    return [{"name": path.stem, **_read(path)} for path in sorted(Path(folder).glob("*.json"))]


def ledger_table(rows: Mapping[str, Experiment], ledger: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of rows with the scores of their entries, or "not yet run".

    Args:
        rows: Per title an experiment. An entry belongs to a row if its experiment is equal to it in
            every field, seed and preset included. ledger: As `read_ledger` returns it.
    """
    found, lines = {}, []
    for title, row in rows.items():
        wanted = _as_json(row)
        entries = [entry for entry in ledger if entry["experiment"] == wanted]
        for number, entry in enumerate(entries):
            key = title if not number else f"{title} ({entry['name']})"
            found[key] = _with_extras(entry)
            lines.append(key)
        if not entries:
            lines.append(title)
    return _table_with_gaps(lines, found)


def _with_extras(entry: Mapping[str, Any]) -> dict[str, Any]:
    scores = {k: math.nan if v is None else v for k, v in entry["summary"].items()}
    steps = "+".join(str(stage["steps"]) for stage in entry["config"]["stages"])
    where = entry["environment"]["gpu"] or "CPU"
    hours = f"{sum(entry['seconds'].values()) / 3600:.1f}"
    return {**scores, "split": entry["split"], "steps": steps, "hours": hours, "on": where}


def _table_with_gaps(titles: Sequence[str], found: Mapping[str, Mapping]) -> str:
    """`text_table` of all titles; those without scores get one remark and empty cells."""
    gap = {"dice": 0.0, "jaccard": 0.0, "hd95": 0.0, "asd": 0.0, "missed": 0}
    table = text_table(
        {title: found.get(title, gap) for title in titles}, ("split", "steps", "hours", "on")
    )
    head, rule, *body = table.split("\n")
    if len(found) == len(titles):
        return table
    lines = [f"{head} {'':{len(NOT_YET)}} |", f"{rule} {'-' * len(NOT_YET)} |"]
    for title, line in zip(titles, body, strict=True):
        if title in found:
            lines.append(f"{line} {'':{len(NOT_YET)}} |")
            continue
        first, *cells = line.strip("|").split("|")
        blank = "|".join(" " * len(cell) for cell in cells)
        lines.append(f"|{first}|{blank}| {NOT_YET} |")
    return "\n".join(lines)


def _read(path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON, damaged or cut short ({error})") from error
    missing = [key for key in KEYS if key not in entry] if isinstance(entry, dict) else list(KEYS)
    if missing:
        raise ValueError(f"{path}: a ledger entry needs {missing}")
    return entry


def _as_json(row: Experiment) -> dict[str, Any]:
    return json.loads(json.dumps(row.as_dict()))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """NaN is no JSON: null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
