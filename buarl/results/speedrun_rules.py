"""What is fixed before the first step of a speedrun: track, entry, and the file that keeps both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from buarl.arguments import where_different
from buarl.data.public import check_public_lists
from buarl.data.source import Source
from buarl.data.text import read_json
from buarl.evaluation.predict import SendBack
from buarl.outside import Code
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment, build_method
from buarl.training.engine import Precision

FIRST_SEED = 1337
SAID = "speedrun.json"
YARDSTICK = {"seconds": (int, float), "machine": (str,), "native_bf16": (bool,), "threads": (int,)}


@dataclass(frozen=True)
class Track:
    """What a record is about.

    source: Name of the data set; its validation list is scored.
    labeled: Labeled patients, the first of the list; None leaves their number to the row, and the
        fewest that reach the target are the record.
    target: Mean Dice over cases, then classes, that the mean over seeds must reach.
    seeds: How many on a CPU; a GPU needs twice as many.
    """

    source: str
    labeled: int | None
    target: float = 0.85
    seeds: int = 5

    def needed(self, kind: str) -> int:
        """Seeds of a record on a kind of device, "cpu", "cuda" or "mps"."""
        return self.seeds if kind == "cpu" else 2 * self.seeds


TRACKS = {
    "acdc7": Track("acdc", 7),
    "la8": Track("la", 8),
    "acdc_fewest": Track("acdc", None),
    "phantom": Track("phantom", 3),  # to try the command; a phantom has no record
}


@dataclass(frozen=True)
class Entry:
    """What is said beforehand: the row, and what of it is scored.

    row: The row; its seed does not matter.
    teacher: Score the teacher instead of the student.
    send_back: See `predict_volume`.
    precision: Of the training.
    """

    row: Experiment
    teacher: bool = False
    send_back: SendBack = "labels"
    precision: Precision | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        row = replace(self.row, seed=FIRST_SEED).as_dict()
        said = {"teacher": self.teacher, "send_back": self.send_back}
        return json.loads(json.dumps({"row": row, **said, "precision": self.precision}))


def track_of(name: str, entry: Entry, source: Source, code: Code = ()) -> Track:
    """The track of a name, once the entry has been found to keep its rules.

    Args:
        name: One of `TRACKS`.
        entry: What is to be trained and scored.
        source: The data.
        code: See `load_run`.
    Raises:
        ValueError: an unknown track, other data, lists or labeled patients than its own, a way of
            sending back that volumes do not have, or a teacher that the method does not have.
    """
    if name not in TRACKS:
        raise ValueError(f"track must be one of {sorted(TRACKS)}, got {name!r}")
    chosen, row = TRACKS[name], entry.row
    rule = {"source": chosen.source, "labeled": chosen.labeled or row.labeled}
    found = {"source": row.source, "labeled": row.labeled}
    if rule["labeled"] is None:
        raise ValueError(f"a row on track {name} must say how many patients are labeled, got all")
    if found != rule or source.name != chosen.source:
        raise ValueError(f"a row on track {name} must have {rule}, got {found}")
    check_public_lists(source)
    if "labeled_draw" in row.set:
        raise ValueError(
            f"on track {name} the first patients of the public list are the labeled ones, got "
            f"labeled_draw={row.set['labeled_draw']}, which draws others; leave it out"
        )
    if source.rank == 3 and entry.send_back != "labels":
        raise ValueError(f"send_back of volumes must be labels, got {entry.send_back!r}")
    method = build_method(row, source.num_classes, code)  # what a row lacks is said now
    if entry.teacher and not hasattr(method, "teacher"):
        raise ValueError(f"method {row.method} has no teacher to score")
    return chosen


def said_before(out: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What was written before the first step, found to be the entry at hand.

    Args:
        out: The folder of a speedrun, or where one may begin.
        entry: What is now asked for, as plain types.
    Returns:
        The content of `speedrun.json`; empty where nothing was begun.
    Raises:
        ValueError: another entry, a damaged file, or a folder of something else.
    """
    path = Path(out) / SAID
    if not path.is_file():
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise ValueError(f"{out}: must be a new folder, or that of an earlier speedrun")
        return {}
    then = _read(path)
    for key, value in entry.items():
        if then.get(key) != value:
            key, was, value = where_different(key, then.get(key), value)
            raise ValueError(f"{path}: {key} was {was}, now it is {value}")
    return then


def say_beforehand(
    out: Path, entry: Mapping[str, Any], measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Write the entry and the yardstick where they are not written yet.

    A folder that was begun before yardsticks were kept gets its own now.

    Args:
        out: The folder.
        entry: As in `said_before`, which has found it to be the folder's.
        measure: Measures the yardstick, as plain types; called once in the life of a folder.
    Returns:
        The yardstick.
    """
    path = Path(out) / SAID
    then = _read(path) if path.is_file() else dict(entry)
    if "yardstick" not in then:
        then["yardstick"] = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, then)
    return then["yardstick"]


def _read(path: Path) -> dict[str, Any]:
    way_out = "bring it back from a copy, or begin in a new folder"
    then = read_json(path, f"; {way_out}")
    if not isinstance(then, dict):
        raise ValueError(f"{path}: must hold what was said, got {then!r:.60}; {way_out}")
    kept = then.get("yardstick")
    if "yardstick" in then and not (
        isinstance(kept, dict)
        and all(type(kept.get(key)) in kinds for key, kinds in YARDSTICK.items())
    ):
        raise ValueError(
            f"{path}: yardstick must have {', '.join(YARDSTICK)}, got {kept!r:.60}; {way_out}, or "
            "delete it there, and it is measured anew"
        )
    return then
