"""Read run folders; what is damaged, incomplete or mixed is named and left out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from itertools import dropwhile
from pathlib import Path
from typing import Any

import numpy as np

from .parts import (
    CALIBRATION,
    HISTORY,
    IDS,
    LEVELS,
    PREMISE,
    ROLES,
    RUN,
    SLICES,
    VALIDATION,
    VERSION,
    Capsule,
    CapsuleError,
    Rows,
    Slices,
    digests,
    fingerprint,
    run_tag,
)
from .scores import RANGES, check_scores, notes_of, words_of

ALWAYS = (IDS, HISTORY)  # every finished run has these; others may have been switched off
NEEDED = ("experiment", "config", "data", "environment", "selection", "finished")
PREMISE_COLUMNS = (
    *("stage", "step", "images", "network", "class", "where"),
    *("percentile_from", "percentile_to", "voxels", "errors"),
)
CALIBRATION_COLUMNS = (
    *("stage", "step", "temperature", "confidence_from", "confidence_to"),
    *("voxels", "confidence", "accuracy"),
)
COUNTS = frozenset({"step", "voxels", "errors"})
TEXTS = frozenset({"stage", "images", "network", "class", "where", "case", "role", "patient"})


def find_capsules(folder: str | Path) -> list[Path]:
    """Every run folder at or below a folder, in the order of their names.

    Args:
        folder: A run folder, or one that holds many.

    >>> find_capsules("no such folder")
    []
    """
    return sorted(path.parent for path in Path(folder).rglob(RUN))


def read_capsules(
    folders: Iterable[str | Path], *, unfinished: bool = False
) -> tuple[list[Capsule], list[str]]:
    """Read many runs: the good ones, and what is wrong with the others.

    Args:
        folders: Run folders; one that is named twice is read once.
        unfinished: Take runs that are still in training too.
    Returns:
        Capsules in the order of their folders, and one sentence for every folder that was left out.

    >>> read_capsules(["no such run"])
    ([], ['no such run: not a run folder, it has no run.json'])
    """
    good, faults = [], []
    for folder in {Path(folder).resolve(): Path(folder) for folder in folders}.values():
        try:
            good.append(read_capsule(folder, unfinished=unfinished))
        except CapsuleError as error:
            faults.append(str(error))
    return good, faults


def read_capsule(folder: str | Path, *, unfinished: bool = False) -> Capsule:
    """Read a run folder, and check that its parts are whole and belong together.

    Args:
        folder: The run folder.
        unfinished: Take a run that is still in training too.
    Returns:
        The run. A run of an earlier version lacks what was not written then.
    Raises:
        CapsuleError: what is damaged, missing or of another run; file and reason are named.
    """
    try:
        return _read(Path(folder), unfinished)
    except (AttributeError, TypeError, KeyError, OSError, UnicodeDecodeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise CapsuleError(f"{folder}: damaged, not as a run writes it ({said})") from error


def _read(folder: Path, unfinished: bool) -> Capsule:
    run = _read_run(folder)
    if not (run["finished"] or unfinished):
        raise CapsuleError(f"{folder}: the run is not finished; resume it first")
    _check_parts(folder, run)
    ids = _by_role(read_table(folder / IDS, ("role", "patient", "name")))
    history = read_table(folder / HISTORY, ("stage", "step", "lr"))
    _check_history(folder / HISTORY, history, run)
    metrics, notes = {}, {}
    for path in sorted(folder.glob("metrics_*.csv")):
        name = path.stem.removeprefix("metrics_")
        metrics[name], notes[name] = _read_metrics(path, run, ids)
    return Capsule(
        folder,
        run,
        ids,
        history,
        read_table(folder / VALIDATION, ("stage", "step", "dice")),
        read_table(folder / PREMISE, PREMISE_COLUMNS),
        read_table(folder / CALIBRATION, CALIBRATION_COLUMNS),
        read_slices(folder / SLICES) if (folder / SLICES).is_file() else None,
        metrics,
        notes,
    )


def _read_run(folder: Path) -> dict[str, Any]:
    path = folder / RUN
    if not path.is_file():
        raise CapsuleError(f"{folder}: not a run folder, it has no {RUN}")
    try:
        run = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CapsuleError(f"{path}: damaged, it is no JSON ({error})") from error
    missing = [key for key in NEEDED if key not in run] if isinstance(run, dict) else [*NEEDED]
    if missing:
        raise CapsuleError(f"{path}: damaged, it has no {missing[0]}")
    for key in NEEDED[:4]:
        if not isinstance(run[key], dict):
            raise CapsuleError(f"{path}: damaged, {key} must be a table, got {run[key]!r:.60}")
    for place, kind in (("seed", int), ("method", str)):
        if type(run["experiment"].get(place)) is not kind:
            raise CapsuleError(f"{path}: damaged, the row has no {place}")
    if run.get("capsule", VERSION) != VERSION:
        raise CapsuleError(f"{path}: capsule {run['capsule']}, and this reader knows {VERSION}")
    if (said := run.get("fingerprint")) is not None and said != fingerprint(run):
        raise CapsuleError(
            f"{path}: mixed, its row, numbers or data are not those that it began with"
        )
    return run


def _check_parts(folder: Path, run: Mapping[str, Any]) -> None:
    """Every file that the end of the run listed must be here, and be the same to the last byte."""
    if "capsule" not in run or not run["finished"]:
        return
    listed, found = run.get("parts"), digests(folder)
    if not isinstance(listed, dict) or any(name not in listed for name in ALWAYS):
        raise CapsuleError(f"{folder / RUN}: damaged, it does not list the files of the run")
    for name, digest in listed.items():
        if name not in found:
            raise CapsuleError(f"{folder / name}: incomplete, this file of the run is missing")
        if found[name] != digest:
            raise CapsuleError(f"{folder / name}: damaged, or a file of another run")
    if extra := [name for name in found if name not in listed]:
        raise CapsuleError(f"{folder / extra[0]}: mixed, this run ended without such a file")


def read_role(folder: Path, role: str) -> Rows:
    """Who has a role in a run, as `ids.csv` says it: rows with "patient" and "name".

    Args:
        folder: The run folder; one from before `ids.csv` was written has none.
        role: One of `ROLES`.
    Raises:
        CapsuleError: see `read_table`.
    """
    rows = read_table(Path(folder) / IDS, ("role", "patient", "name"))
    return [row for row in rows if row["role"] == role]


def read_table(path: Path, needed: tuple[str, ...]) -> Rows:
    """Read a CSV file of a run folder: lines that begin with # above its head are notes.

    Args:
        path: The file. needed: Columns that it must have.
    Returns:
        Rows with numbers as numbers and without empty cells; none if there is no such file.
    Raises:
        CapsuleError: no such table.
    """
    if not path.is_file():
        return []
    try:
        file = io.StringIO(path.read_bytes().decode("utf-8"), newline="")
        lines = dropwhile(lambda line: line.startswith("#"), file)
        table = csv.DictReader(lines, strict=True)
        if absent := [name for name in needed if name not in (table.fieldnames or ())]:
            raise ValueError(f"no column {absent[0]!r}")
        rows = [
            {name: _cell(name, text) for name, text in row.items() if text != ""} for row in table
        ]
        if absent := [name for row in rows for name in needed if name not in row]:
            raise ValueError(f"a row lacks {absent[0]!r}")
        return rows
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise CapsuleError(f"{path}: damaged, no table of a run ({error})") from error


def _cell(name: str | None, text: str | None) -> str | int | float:
    if name is None or text is None:
        raise ValueError("a row is longer or shorter than the head")
    if name in TEXTS or name == "name":
        return text
    return int(text) if name in COUNTS or text.lstrip("-").isdigit() else float(text)


def _by_role(rows: Rows) -> dict[str, list[str]]:
    return {role: [row["name"] for row in rows if row["role"] == role] for role in ROLES if rows}


def _check_history(path: Path, history: Rows, run: Mapping[str, Any]) -> None:
    """Steps rise within each stage, and a finished run has all that its numbers planned."""
    last: dict[str, int] = {}
    for row in history:
        if row["step"] <= last.get(row["stage"], 0):
            raise CapsuleError(
                f"{path}: damaged, step {row['step']} of stage {row['stage']!r} stands there twice "
                "or out of order"
            )
        last[row["stage"]] = row["step"]
    planned = [stage.get("steps") for stage in run["config"].get("stages", ())]
    if run["finished"] and list(last.values()) != planned:
        raise CapsuleError(f"{path}: incomplete, its stages end at {[*last.values()]} of {planned}")


def _read_metrics(
    path: Path, run: Mapping[str, Any], ids: Mapping[str, list[str]]
) -> tuple[Rows, list[str]]:
    """Rows and notes of an evaluation of this run."""
    rows = read_table(path, ("case", "class", *RANGES, "missed"))
    notes = notes_of(path.read_text("utf-8"))
    tags = [word for word in words_of(notes) if word.startswith("run ")]
    if tags and tags[0] != run_tag(run):
        raise CapsuleError(f"{path}: mixed, an evaluation of another run ({tags[0]})")
    whole = path.stem.startswith("metrics_val") and ids and not path.stem.endswith("_part")
    try:
        check_scores(
            rows,
            notes,
            classes=(run["data"].get("classes") or [])[1:],
            cases=ids["validation"] if whole else None,
        )
    except ValueError as error:
        raise CapsuleError(f"{path}: {error}") from error
    for row in rows:
        row["missed"] = bool(row["missed"])
    return rows, notes


def _in_levels(entropy: np.ndarray) -> np.ndarray:
    """Entropy as it is written today; runs of before 1 December 2026 kept it in bytes."""
    if entropy.dtype == np.uint8:
        return entropy.astype(np.uint16) * np.uint16(LEVELS // 255)
    if entropy.dtype != np.uint16:
        raise ValueError(f"entropy of type {entropy.dtype}")
    return entropy


def read_slices(path: Path) -> Slices:
    """Read `slices.npz`.

    Args:
        path: The file.
    Raises:
        CapsuleError: damaged, or arrays that do not fit each other.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
        names, stages = ([str(text) for text in found[key]] for key in ("names", "stages"))
        networks = [str(text) for text in found["networks"]]
        moments = (len(stages), *found["image"].shape)
        shapes = [found[key].shape for key in ("entropy", "pseudo_label")]
        label = found.get("label")
        fits = shapes == [moments, moments] and len(found["image"]) == len(names)
        fits &= label is None or label.shape == found["image"].shape
        if not fits or len(found["steps"]) != len(stages) or len(networks) != len(stages):
            raise ValueError(f"arrays of shapes {moments}, {shapes} for {len(names)} names")
        steps, classes = [int(step) for step in found["steps"]], int(found["num_classes"])
        arrays = _in_levels(found["entropy"]), found["pseudo_label"]
        return Slices(names, found["image"], label, stages, steps, networks, *arrays, classes)
    except Exception as error:  # whatever zip, zlib and numpy say of a spoiled file
        raise CapsuleError(f"{path}: damaged, no slices of a run ({error})") from error
