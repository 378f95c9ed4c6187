"""What every run writes down of itself while it trains: the premise, its confidence, four slices.

Nothing here trains or selects. The labels of unlabeled training images are read to count errors,
those of validation images to fit a temperature, and neither reaches the method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from buarl.capsule import CALIBRATION, PREMISE, SLICES, Rows, read_slices, read_table
from buarl.capsule.parts import LEVELS
from buarl.capsule.read import CALIBRATION_COLUMNS, PREMISE_COLUMNS
from buarl.data.source import Source
from buarl.entropy import entropy_map, most_likely
from buarl.evaluation.calibration import fit_temperature, reliability
from buarl.evaluation.predict import predict_logits
from buarl.evaluation.premise import premise_counts, premise_rows
from buarl.evaluation.watched import PICTURES, Watched, watched_training, watched_validation
from buarl.methods.base import Method, Step
from buarl.training.checkpoint import write_atomic, write_text
from buarl.training.config import Config
from buarl.training.state import csv_text

SHARES = (0.1, 0.4, 1.0)  # of every stage: early, halfway in effect, its end
PREMISE_NOTE = (
    "# voxels and errors of {labeled} labeled and {unlabeled} unlabeled training images, evenly "
    "spaced in their lists, at training size, neither turned nor flipped; percentiles run over the "
    "entropy of these images together\n"
    "# class and border are those of the label; labels of unlabeled images are read for this count "
    "only and train nothing\n"
)
CALIBRATION_NOTE = (
    "# the student on validation images at training size: confidence, and the share of voxels that "
    "are right, in 0-1\n"
    "# temperature 1 is the student as it is; the other is fitted on {fitted} images of {fit} "
    "validation volumes; both are measured on {measured} images of {measure}\n"
)


class Moment(NamedTuple):
    """Entropy (uint16, 65535 = ln C) and pseudo-labels (uint8) of the four slices, (N, H, W)."""

    stage: str
    step: int
    network: str
    entropy: np.ndarray
    pseudo_label: np.ndarray


class Monitor:
    """A callback for `fit` that fills `premise.csv`, `calibration.csv` and `slices.npz`.

    It looks at 10 %, 40 % and 100 % of the steps of every stage, and at the end of a stage it fits
    a temperature too. All of it up to a checkpoint is on the disk before the checkpoint is, and a
    resumed training drops what lies beyond it, so the files end up as those of an uninterrupted
    run, byte for byte. Networks are asked in evaluation mode, and no random number is drawn.

    Args:
        source: The data set.
        config: Numbers of the run: which patients are labeled, and the training size.
        folder: The run folder.
    """

    def __init__(self, source: Source, config: Config, folder: Path) -> None:
        self.source, self.config, self.folder = source, config, Path(folder)
        self.premise: Rows = []
        self.calibration: Rows = []
        self.moments: list[Moment] = []
        self._changed = False

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step: read the images, and what is there already.

        Args:
            done: Steps already done of every stage that has begun.
        """
        sides = self.source.split_labeled(self.config.labeled)
        self.labeled, self.unlabeled = (
            watched_training(self.source, self.config, names) for names in sides
        )
        self.validation = watched_validation(self.source, self.config)
        tables = (
            read_table(self.folder / PREMISE, PREMISE_COLUMNS),
            read_table(self.folder / CALIBRATION, CALIBRATION_COLUMNS),
        )
        self.premise, self.calibration = (
            [row for row in table if row["step"] <= done.get(row["stage"], 0)] for table in tables
        )
        before = _read_moments(self.folder / SLICES)
        self.moments = [moment for moment in before if moment.step <= done.get(moment.stage, 0)]

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after every step; looks at a few of them."""
        done = step.index + 1
        if done not in {max(1, round(share * step.steps)) for share in SHARES}:
            return
        place = {"stage": stage, "step": done}
        if self.labeled is not None:
            logits = predict_logits(method.student, self.labeled.image)
            self._count({**place, "images": "labeled", "network": "student"}, self.labeled, logits)
        if self.unlabeled is not None:
            name, network = pseudo_labeler(method, stage)
            logits = predict_logits(network, self.unlabeled.image)
            self._count({**place, "images": "unlabeled", "network": name}, self.unlabeled, logits)
            shown = logits[:PICTURES]
            share = _middle(entropy_map(shown).numpy()) / math.log(logits.shape[1])
            entropy = np.round(LEVELS * share).clip(0, LEVELS).astype(np.uint16)
            guess = _middle(most_likely(shown).byte().numpy())
            self.moments.append(Moment(stage, done, name, entropy, guess))
        if done == step.steps and self.validation is not None:
            self._calibrate(place, method.student)
        self._changed = True

    def flush(self) -> None:
        """Called by `fit` before every checkpoint: all that was seen so far is written."""
        if not self._changed:
            return
        if self.premise:
            sides = {"labeled": self.labeled, "unlabeled": self.unlabeled}
            count = {side: len(images.names) if images else 0 for side, images in sides.items()}
            note = PREMISE_NOTE.format(**count)
            write_text(self.folder / PREMISE, note + csv_text(self.premise))
        if self.calibration:
            write_text(self.folder / CALIBRATION, self._note() + csv_text(self.calibration))
        if self.moments:
            write_atomic(self.folder / SLICES, partial(_save, arrays=self._arrays()))
        self._changed = False

    def _count(self, place: Mapping[str, Any], watched: Watched, logits: Tensor) -> None:
        if watched.label is None:
            return
        said, classes = most_likely(logits), self.source.num_classes
        counts = premise_counts(entropy_map(logits), watched.label, said, classes)
        rows = premise_rows(counts, self.source.class_names)
        self.premise += [{**place, **row} for row in rows]

    def _calibrate(self, place: Mapping[str, Any], student: nn.Module) -> None:
        fit, measure = self.validation
        temperature = fit_temperature(predict_logits(student, fit.image), fit.label)
        logits = predict_logits(student, measure.image)
        for value in (1.0, temperature):
            rows = reliability((logits / value).softmax(1), measure.label)
            self.calibration += [{**place, "temperature": value, **row} for row in rows]

    def _note(self) -> str:
        fit, measure = self.validation
        ours, others = (len(set(part.names)) for part in self.validation)
        same = set(fit.names) == set(measure.names)
        measured = "the same one, as there is no other" if same else f"{others} others"
        counts = {"fitted": len(fit.names), "fit": ours, "measured": len(measure.names)}
        return CALIBRATION_NOTE.format(**counts, measure=measured)

    def _arrays(self) -> dict[str, np.ndarray]:
        image = _middle(self.unlabeled.image[:PICTURES])
        low, high = (f(image, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        gray = np.round(255 * (image - low) / np.where(high > low, high - low, 1))
        arrays = {
            "names": np.array(self.unlabeled.names[:PICTURES]),
            "image": gray.astype(np.uint8),
            "num_classes": np.array(self.source.num_classes),
            "stages": np.array([moment.stage for moment in self.moments]),
            "steps": np.array([moment.step for moment in self.moments]),
            "networks": np.array([moment.network for moment in self.moments]),
            "entropy": np.stack([moment.entropy for moment in self.moments]),
            "pseudo_label": np.stack([moment.pseudo_label for moment in self.moments]),
        }
        if self.unlabeled.label is not None:
            arrays["label"] = _middle(self.unlabeled.label[:PICTURES].byte().numpy())
        return arrays


def pseudo_labeler(method: Method, stage: str) -> tuple[str, nn.Module]:
    """Who says what the pseudo-labels of a stage are.

    Args:
        method: In training, or trained.
        stage: Name of one of its stages.
    Returns:
        "teacher" and the teacher where there is one that this stage teaches, else "student" and
        the student, which is what a teacher would begin as.
    """
    taught = next(each.after_step for each in method.stages() if each.name == stage) is not None
    if taught and hasattr(method, "teacher"):
        return "teacher", method.teacher
    return "student", method.student


def _middle(stack: np.ndarray) -> np.ndarray:
    """(N, H, W) as it is, of patches (N, X, Y, Z) the middle slice."""
    return stack if stack.ndim == 3 else stack[..., stack.shape[-1] // 2]


def _read_moments(path: Path) -> list[Moment]:
    if not path.is_file():
        return []
    found = read_slices(path)
    columns = (found.stages, found.steps, found.networks, found.entropy, found.pseudo_label)
    return [Moment(*values) for values in zip(*columns, strict=True)]


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # numpy would add an ending to a name
        np.savez_compressed(file, **arrays)
