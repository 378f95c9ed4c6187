"""How the student's Dice grows while it trains: a curve to look at that selects nothing."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from buarl.data.resample import resize_nearest
from buarl.data.source import Source
from buarl.data.text import read_text
from buarl.entropy import most_likely
from buarl.evaluation.evaluate import predict_volume
from buarl.methods.base import Method, Step
from buarl.training.checkpoint import write_text
from buarl.training.config import Config

BATCH = 32  # slices per call of a 2-D network, whichever volume they are from
NOTE = (
    "# Dice 0-1 in 3-D of the student after so many steps of a stage; split {split}, {cases} "
    "volumes, mean over cases, then over classes; a case without the class in label and prediction "
    "is not counted\n# a curve to look at: the last checkpoint is evaluated, not the best one\n"
)


class DiceCurve:
    """A callback for `fit` that scores Dice on whole volumes every so many steps.

    The volumes are read once. Slices of all 2-D volumes are predicted together, on the network's
    device and in float32, and they are scored in another thread while the training goes on. All
    scores up to a checkpoint are in the file before the checkpoint is, and a resumed training drops
    rows beyond it, so the file ends up as that of an uninterrupted run.

    Args:
        source: The data set.
        config: Numbers of the run: training size, stride, and how volumes are scaled.
        path: CSV file, written anew after every validation.
        every: Steps between validations; the last step of a stage is validated too.
        split: Which volumes.
    Raises:
        ValueError: `every` below 1.
    """

    def __init__(
        self, source: Source, config: Config, path: Path, *, every: int = 200, split: str = "val"
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 step, got {every}")
        self.source, self.config, self.path, self.every = source, config, Path(path), every
        self.samples = [source.volume(case) for case in source.cases(split)]
        self.note = NOTE.format(split=split, cases=len(self.samples))
        self.rows = _read(self.path)
        self._slices: Tensor | None = None
        self._waiting: tuple[tuple[str, int], Future] | None = None
        self._pool = ThreadPoolExecutor(1)

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after each step; training goes on as soon as labels are predicted."""
        done = step.index + 1
        if done % self.every == 0 or done == step.steps:
            labels = self._predict(method.student)
            self.collect()
            self._waiting = (stage, done), self._pool.submit(self._score, labels)

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step: forget what a resumed training will do again.

        Args:
            done: Steps already done of every stage that has begun.
        """
        self.rows = {
            (stage, step): scores
            for (stage, step), scores in self.rows.items()
            if step <= done.get(stage, 0)
        }

    def flush(self) -> None:
        """Called by `fit` before every checkpoint: all scores so far are written."""
        self.collect()

    def finish(self) -> dict[tuple[str, int], dict[str, float]]:
        """Wait for the last scores.

        Returns:
            For each (stage, steps done) the Dice of every class, 0-1, and as "dice" their mean.
        """
        self.collect()
        self._pool.shutdown()
        return self.rows

    def collect(self) -> None:
        """Wait for the scores of the last validation, and write them."""
        if self._waiting is not None:
            place, scores = self._waiting
            self.rows[place] = scores.result()
            self._waiting = None
            _write(self.path, self.note, self.rows)

    def _predict(self, network: nn.Module) -> list[np.ndarray]:
        """Labels of every volume, in 2-D still at training size."""
        if self.source.rank == 3:
            images = (sample.image for sample in self.samples)
            return [predict_volume(network, image, 3, self.config)[0] for image in images]
        if self._slices is None:
            size = self.config.image_size
            stack = np.concatenate([resize_nearest(s.image, size) for s in self.samples])
            device = next(network.parameters()).device
            self._slices = torch.from_numpy(stack)[:, None].to(device)  # (all slices, 1, H, W)
        label = _predicted(network, self._slices)
        return np.split(label, np.cumsum([len(s.image) for s in self.samples])[:-1])

    def _score(self, labels: list[np.ndarray]) -> dict[str, float]:
        return self.means_of(self.dice_of_cases(labels))

    def means_of(self, dice: np.ndarray) -> dict[str, float]:
        """Means over cases of every class, and "dice", that of the classes which have one.

        Args:
            dice: From `dice_of_cases`; NaN where a class is neither there nor predicted.
        """
        with warnings.catch_warnings():  # a class may be in no case at all
            warnings.simplefilter("ignore", RuntimeWarning)
            means = np.nanmean(dice, 0)  # (C-1,)
            mean = np.nanmean(means)
        names = self.source.class_names[1:]
        return {"dice": float(mean), **dict(zip(names, means.tolist(), strict=True))}

    def dice_of_cases(self, labels: list[np.ndarray]) -> np.ndarray:
        """Dice of every volume and foreground class, float64 (cases, C-1), see `dice_of_classes`.

        Args:
            labels: As predicted, uint8; those of slices at training size.
        """
        scores = []
        for sample, label in zip(self.samples, labels, strict=True):
            if self.source.rank == 2:
                label = resize_nearest(label, sample.label.shape[1:])
            scores.append(dice_of_classes(label, sample.label, self.source.num_classes))
        return np.stack(scores)


def dice_of_classes(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> np.ndarray:
    """Compute the Dice of every foreground class, as `case_metrics` does, without distances.

    Args:
        prediction: uint8 of any shape, 0 to C-1.
        label: uint8 of the same shape.
        num_classes: Number of classes C, background included.
    Returns:
        float64 (C-1,), 0-1; NaN for a class that is in neither.

    >>> label = np.array([0, 1, 1, 2], np.uint8)
    >>> dice_of_classes(np.array([0, 1, 2, 2], np.uint8), label, 3).round(3)
    array([0.667, 0.667])
    """
    pairs = prediction.astype(np.int64).ravel() * num_classes + label.ravel()
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    sizes = counts.sum(0) + counts.sum(1)
    with np.errstate(invalid="ignore"):
        return (2 * counts.diagonal() / sizes)[1:]  # 0 / 0: NaN


@torch.no_grad()
def _predicted(network: nn.Module, slices: Tensor) -> np.ndarray:
    """uint8 (N, H, W) of slices (N, 1, H, W); the host waits once, for the labels of all."""
    network.eval()
    parts = [most_likely(network(part).float().softmax(1)).byte() for part in slices.split(BATCH)]
    return torch.cat(parts).cpu().numpy()


def _write(path: Path, note: str, rows: dict[tuple[str, int], dict[str, float]]) -> None:
    text = io.StringIO(note)
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stage", "step", *next(iter(rows.values()))])
    for place, scores in rows.items():
        writer.writerow([*place, *(f"{score:.6g}" for score in scores.values())])
    write_text(path, text.getvalue())


def _read(path: Path) -> dict[tuple[str, int], dict[str, float]]:
    if not path.is_file():
        return {}
    lines = [line for line in read_text(path).splitlines() if not line.startswith("#")]
    rows = {}
    try:
        for row in csv.DictReader(lines, strict=True):
            place = row.pop("stage"), int(row.pop("step"))
            rows[place] = {name: float(score) for name, score in row.items()}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{path}: not a curve of an earlier part of this run ({error}); move it away"
        ) from error
    return rows
