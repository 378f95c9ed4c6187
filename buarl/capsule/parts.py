"""The files of a run folder, and what is read from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

LEVELS = 2**16 - 1  # of an entropy in `slices.npz`
VERSION = 1  # "capsule" in run.json; folders of before do not have it
RUN, IDS, HISTORY, VALIDATION = "run.json", "ids.csv", "history.csv", "validation.csv"
PREMISE, CALIBRATION, SLICES = "premise.csv", "calibration.csv", "slices.npz"
CASES = "validation_cases.csv"
PARTS = (IDS, HISTORY, VALIDATION, CASES, PREMISE, CALIBRATION, SLICES)
ROLES = ("labeled", "unlabeled", "validation")
Rows = list[dict[str, Any]]


class CapsuleError(ValueError):
    """A run folder that is damaged, incomplete or mixed; the message names the file and why."""


@dataclass(frozen=True)
class Slices:
    """Four unlabeled slices at several steps of a training, in few bytes.

    Which four: the unlabeled training images at 1/8, 3/8, 5/8 and 7/8 of their list, at training
    size; of a volume, the middle slice of the patch. No training sees their labels, which are
    here to look at.

    Attributes:
        names: Names of the N slices.
        image: uint8 (N, H, W), each slice from its darkest pixel (0) to its brightest (255).
        label: uint8 (N, H, W), the truth, or None where nobody labeled these images.
        stages: Name of the stage of each of the S moments.
        steps: Steps of that stage that were done at each of the S moments.
        networks: "teacher" or "student" for each moment: whose pseudo-labels these are.
        entropy: uint16 (S, N, H, W); 65535 is ln C, the highest there is. In 256 levels all voxels
            near it would be one: a percentile of two classes could not tell them apart.
        pseudo_label: uint8 (S, N, H, W), the most likely class.
        num_classes: C, background included.
    """

    names: list[str]
    image: np.ndarray
    label: np.ndarray | None
    stages: list[str]
    steps: list[int]
    networks: list[str]
    entropy: np.ndarray
    pseudo_label: np.ndarray
    num_classes: int

    @property
    def error(self) -> np.ndarray | None:
        """bool (S, N, H, W), True where a pseudo-label is wrong; None without labels."""
        return None if self.label is None else self.pseudo_label != self.label

    @property
    def nats(self) -> np.ndarray:
        """float32 (S, N, H, W), the entropy in nats, to 1/65535 of ln C."""
        return self.entropy.astype(np.float32) * np.float32(math.log(self.num_classes) / LEVELS)


@dataclass(frozen=True)
class Capsule:
    """A run, read from its folder.

    Attributes:
        folder: Where it lies.
        run: All of `run.json`.
        ids: Names of the samples or volumes by role; empty for runs of earlier versions.
        history: Rows with "stage", "step", "lr" and the losses that this stage has.
        validation: Rows with "stage", "step", "dice" and a Dice (0-1) per class; may be empty.
        premise: Rows of `premise.csv`, see `buarl.evaluation.premise`; may be empty.
        calibration: Rows of `calibration.csv`, see `buarl.evaluation.calibration`; may be empty.
        slices: The four slices, or None where they were not kept.
        metrics: Per evaluation, such as "val" or "test_mm", its rows: "case", "class", "dice",
            "jaccard", "hd95", "asd", "missed".
        notes: Per evaluation the lines above its table: metric definition, split, selection rule.
    """

    folder: Path
    run: Mapping[str, Any]
    ids: Mapping[str, list[str]] = field(default_factory=dict)
    history: Rows = field(default_factory=list)
    validation: Rows = field(default_factory=list)
    premise: Rows = field(default_factory=list)
    calibration: Rows = field(default_factory=list)
    slices: Slices | None = None
    metrics: Mapping[str, Rows] = field(default_factory=dict)
    notes: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @property
    def row(self) -> Mapping[str, Any]:
        """What was trained on what: the row of the table, as `Experiment.as_dict` writes it."""
        return self.run["experiment"]

    @property
    def seed(self) -> int:
        """What decided every draw."""
        return self.row["seed"]

    @property
    def class_names(self) -> list[str]:
        """Background first."""
        return list(self.run["data"].get("classes") or ())

    @property
    def finished(self) -> bool:
        """Whether all its steps are done."""
        return self.run["finished"]


def fingerprint(run: Mapping[str, Any]) -> str:
    """What tells a run from others: row, numbers and data, as its checkpoints carry it.

    Where the data lie, the precision and how often is saved do not count: they may change when a
    run is resumed on another machine. Nor do contents, which are compared within a thousandth.

    Args:
        run: The content of `run.json`.

    >>> run = {"experiment": {"seed": 1}, "config": {}, "data": {"root": "here"}}
    >>> fingerprint(run) == fingerprint({**run, "data": {"root": "there"}})
    True
    """
    config = {k: v for k, v in run["config"].items() if k not in ("precision", "checkpoint_every")}
    data = {k: v for k, v in run["data"].items() if k not in ("root", "licence", "contents")}
    content = {"experiment": run["experiment"], "config": config, "data": data}
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def run_tag(run: Mapping[str, Any]) -> str:
    """How the notes of an evaluation name the run that was evaluated."""
    return f"run {fingerprint(run)[:12]}"


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every part that a folder has, by its name."""
    paths = [Path(folder) / name for name in PARTS]
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}
