"""The cases of a run: their scores, and on demand what the network says of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from buarl.data.source import Source
from buarl.evaluation.evaluate import evaluate, predict_volume
from buarl.evaluation.scores import SCORES, read_metrics
from buarl.methods import Method
from buarl.training.config import Config, config_for
from buarl.training.run import load_run
from buarl.widgets.explorers.live import check_finite
from buarl.widgets.still import Table

HEAD = ("class", "Dice", "Jaccard", "95HD, voxels", "ASD, voxels")


class Case(NamedTuple):
    """A volume with its label, prediction, entropy and scores.

    Attributes:
        name: The case.
        image: float32 (Z, H, W) for 2-D networks, (X, Y, Z) for 3-D ones.
        label: uint8, the same shape.
        prediction: uint8, the same shape.
        entropy: float32, the same shape, nats.
        axis: Along which it is sliced.
        rows: Scores as `evaluate` returns them, one row a class.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    entropy: np.ndarray
    axis: int
    rows: list[dict]

    def cut(self, index: int) -> tuple[np.ndarray, ...]:
        """Cut a slice: image, label, prediction, entropy and error codes, each (H, W)."""
        volumes = (self.image, self.label, self.prediction, self.entropy)
        slices = tuple(volume.take(index, self.axis) for volume in volumes)
        return *slices, error_codes(slices[1], slices[2])

    def worst_slice(self) -> int:
        """Find the slice with the most wrong voxels."""
        others = tuple(a for a in range(3) if a != self.axis)
        return int((self.label != self.prediction).sum(others).argmax())


class Cases:
    """What can be browsed: a network on the volumes of a split, and their scores.

    Args:
        method: Its student predicts.
        source: The data set.
        config: Numbers of the run, for training size and stride.
        split: Which volumes.
        rows: Scores as `evaluate` returns them, for example read from a run folder; None computes
            them.
    Raises:
        ValueError: the split holds no case.
    """

    def __init__(
        self,
        method: Method,
        source: Source,
        config: Config,
        split: str = "val",
        rows: Sequence[dict] | None = None,
    ) -> None:
        self.source, self.student, self.config = source, method.student, config
        self.rows = evaluate(self.student, source, split, config) if rows is None else rows
        if not self.rows:
            raise ValueError(f"{source.root}: split {split!r} holds no case")
        self.get = lru_cache(maxsize=8)(self._get)

    @classmethod
    def of_run(cls, folder: str | Path, split: str = "val", root: Path | None = None) -> Cases:
        """Open those of a finished run; its `metrics_<split>.csv` is used if there is one.

        Args:
            folder: Folder of the run.
            split: Which volumes.
            root: Where the data lie, if they have moved.
        """
        experiment, source, method = load_run(Path(folder), root)
        scores = Path(folder) / f"metrics_{split}.csv"
        rows = read_metrics(scores) if scores.is_file() else None
        return cls(method, source, config_for(experiment), split, rows)

    def ranking(self) -> dict[str, float]:
        """Rank cases by their mean Dice, worst first; cases without any class come last."""
        means = {}
        for name in dict.fromkeys(row["case"] for row in self.rows):
            values = [row["dice"] for row in self.rows if row["case"] == name]
            kept = [value for value in values if not math.isnan(value)]
            means[name] = float(np.mean(kept)) if kept else math.nan
        return dict(sorted(means.items(), key=lambda item: (math.isnan(item[1]), item[1])))

    def _get(self, name: str) -> Case:
        sample = self.source.volume(name)
        rank = self.source.rank
        prediction, entropy = predict_volume(self.student, sample.image, rank, self.config)
        check_finite(f"{name}: entropy", entropy)
        rows = [row for row in self.rows if row["case"] == name]
        axis = 0 if rank == 2 else 2
        return Case(name, sample.image, sample.label, prediction, entropy, axis, rows)


def error_codes(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Tell the kinds of error apart.

    Args:
        label: Whole numbers of any shape.
        prediction: Whole numbers of the same shape.
    Returns:
        0 right, 1 missed (predicted background), 2 added (background in truth), 3 another class.

    >>> error_codes(np.array([0, 1, 0, 1]), np.array([0, 0, 2, 2])).tolist()
    [0, 1, 2, 3]
    """
    codes = np.where(prediction == 0, 1, np.where(label == 0, 2, 3))
    return np.where(label == prediction, 0, codes)


def score_table(rows: Sequence[dict], title: str = "") -> Table:
    """Scores of a case per class and their mean.

    Args:
        rows: As from `evaluate`. title: Above them.
    """
    shown = {
        row["class"] + (", missed" if row["missed"] else ""): [row[score] for score in SCORES]
        for row in rows
    }
    kept = [[row[s] for row in rows if not math.isnan(row[s])] for s in SCORES]
    shown["mean"] = [float(np.mean(values)) if values else math.nan for values in kept]
    return Table(title, HEAD, [(name, *_numbers(values)) for name, values in shown.items()])


def _numbers(values: Sequence[float]) -> list[str]:
    digits = (3, 3, 2, 2)
    return ["-" if math.isnan(v) else f"{v:.{n}f}" for v, n in zip(values, digits, strict=True)]
