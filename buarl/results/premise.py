"""The paper's premise in numbers: are the voxels above the cut of the entropy the wrong ones?

Every run counts voxels and errors by percentile while it trains (`premise.csv`). Here the counts at
its end become a few shares, which a ledger keeps and `buarl table premise` lays out over seeds.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buarl.capsule import CALIBRATION, PREMISE, read_table
from buarl.capsule.read import CALIBRATION_COLUMNS, PREMISE_COLUMNS
from buarl.evaluation.premise import Cut, counts_of_rows, cut_at
from buarl.results.rows import run_name
from buarl.results.table import csv_table, markdown_table, with_notes
from buarl.training.config import Experiment
from buarl.training.identity import row_key
from buarl.training.run import read_run

CUTS = (95, 99)
SHARES = ("precision", "recall", "ceiling")
NOTES = (
    "At the end of each training, on as many labeled and as many unlabeled training images as half "
    "a batch has, but 4 to 12 (6 slices in quick, 12 in mini, 4 patches of volumes), at training "
    "size, percentiles over those images together; percent, mean ± standard deviation (n - 1) over "
    "seeds.",
    "wrong: errors as a share of all voxels. Above the cut: errors as a share of the voxels there; "
    "held: errors there as a share of all errors; at most: what so few voxels could hold.",
    "Labels of unlabeled images are read to count errors here and for nothing else.",
)


def premise_of_run(folder: Path) -> dict[str, Any] | None:
    """What the premise came to at the end of a run.

    Args:
        folder: A run folder.
    Returns:
        "stage" and "step"; "labeled" and "unlabeled", as far as there are such images, each with
        "network" and, by percentile, the numbers of `Cut`; "temperature", which makes the student's
        confidence match its accuracy on validation images. None where the run kept no counts.
    Raises:
        ValueError: no run there, or damaged counts.
    """
    rows = read_table(Path(folder) / PREMISE, PREMISE_COLUMNS)
    if not rows:
        return None
    names = read_run(folder)["data"]["classes"]
    stage, step = rows[-1]["stage"], rows[-1]["step"]
    found: dict[str, Any] = {"stage": stage, "step": step}
    for images in ("labeled", "unlabeled"):
        place = {"stage": stage, "step": step, "images": images}
        ours = [row for row in rows if place.items() <= row.items()]
        if ours:
            counts = counts_of_rows(ours, names)
            cuts = {str(q): _plain(cut_at(counts, q)) for q in CUTS}
            found[images] = {"network": ours[-1]["network"], **cuts}
    fitted = read_table(Path(folder) / CALIBRATION, CALIBRATION_COLUMNS)
    other = [row["temperature"] for row in fitted if row["temperature"] != 1]
    return found | ({"temperature": other[-1]} if other else {})


def premise_table(entries: Sequence[Mapping[str, Any]], preset: str, form: str = "text") -> str:
    """The premise of every row that kept it, over its seeds.

    Args:
        entries: Runs, see `read_results`.
        preset: Of the runs that are shown.
        form: "text", "markdown" or "csv".
    Raises:
        ValueError: an entry whose premise is damaged; it is named.
    """
    kept = [e for e in entries if e["experiment"]["preset"] == preset and "premise" in e]
    names = _names(kept)
    groups: dict[tuple[str, str, str], list[tuple[int, Mapping[str, Any]]]] = {}
    for entry in kept:
        for images, part in _sides(entry):
            key = (names[row_key(entry["experiment"], any_seed=True)], images, part["network"])
            groups.setdefault(key, []).append((entry["experiment"]["seed"], part))
    head = ["row", "images", "network", "wrong"]
    head += [f"{word}, q = {q}" for q in CUTS for word in ("above", "held", "at most")]
    lines = [[*head, "seeds"]]
    for key, found in groups.items():
        parts = [part for _, part in found]
        cells = [_share(parts, CUTS[0], "base")]
        cells += [_share(parts, q, word) for q in CUTS for word in SHARES]
        lines.append([*key, *cells, f"{len(found)}: {' '.join(str(seed) for seed, _ in found)}"])
    if form == "csv":
        return csv_table(lines)
    title = f"The premise, preset {preset}: are the uncertain voxels the wrong ones?"
    notes = [*NOTES, *([] if groups else ["No run of this preset kept its premise."])]
    return with_notes(title, markdown_table(lines), notes, form)


def _names(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each row is called: readable, and with its hash where another is called the same."""
    named: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if (key := row_key(entry["experiment"], any_seed=True)) in named:
            continue
        try:
            row = Experiment.from_dict({**entry["experiment"], "seed": 0})
        except ValueError:  # code that only its owner has
            named[key] = entry.get("name", "?"), ""
            continue
        short, _, digest = run_name(row).rsplit("_", 2)
        own = [row.changes, *(f"{option}={value}" for option, value in row.options.items())]
        named[key] = " ".join(word for word in (short, *own) if word), digest
    shown = Counter(name for name, _ in named.values())
    return {
        key: f"{name} {hash_}" if shown[name] > 1 else name for key, (name, hash_) in named.items()
    }


def _sides(entry: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The images that were looked at, checked."""
    kept = entry["premise"]
    try:
        found = [(name, kept[name]) for name in ("labeled", "unlabeled") if name in kept]
        for _, part in found:
            numbers = [part[str(q)][key] for q in CUTS for key in Cut._fields]
            if not all(n is None or 0 <= n <= 1 for n in numbers) or "network" not in part:
                raise ValueError(f"shares must lie in 0 to 1, got {numbers}")
    except (KeyError, TypeError, ValueError) as error:
        name = entry.get("name", "?")
        raise ValueError(f"{name}: its premise is damaged ({error})") from error
    return found


def _share(parts: Sequence[Mapping[str, Any]], percentile: int, key: str) -> str:
    """Percent, with what lies between seeds where there are several, and how many of them know."""
    values = [part[str(percentile)][key] for part in parts]
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    part = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    return f"{statistics.mean(known):.1f}{spread}{part}"


def _plain(cut: Cut) -> dict[str, float | None]:
    return {key: None if math.isnan(n) else round(n, 6) for key, n in cut._asdict().items()}
