"""Scores of a network on whole volumes, with what they mean written beside them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from buarl.checkpoint import write_text
from buarl.config import Config
from buarl.data.source import Source
from buarl.metrics import metric_definition, multiclass_metrics
from buarl.predict import predict_slices, predict_windows
from buarl.resample import resize_nearest

SCORES = ("dice", "jaccard", "hd95", "asd")


def predict_volume(
    network: nn.Module, volume: np.ndarray, rank: int, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and entropy of a volume for a network of either rank; see `predict_slices`."""
    if rank == 2:
        return predict_slices(network, volume, config.image_size)
    stride = config.eval_stride or tuple(max(n // 2, 1) for n in config.image_size)
    return predict_windows(network, volume, config.image_size, stride)


def evaluate(
    network: nn.Module,
    source: Source,
    split: str,
    config: Config,
    *,
    empty: str = "diagonal",
    cases: Sequence[str] | None = None,
) -> list[dict]:
    """Score every volume of a split.

    Args:
        network: The student. source, split: Which volumes. config: Training size and stride.
        empty: Policy for empty masks, see `case_metrics`. cases: Only these.
    Returns:
        One dict per case and foreground class: case, class, dice, jaccard, hd95, asd, missed.
    """
    rows = []
    for case in source.cases(split) if cases is None else cases:
        sample = source.volume(case)
        prediction, _ = predict_volume(network, sample.image, source.rank, config)
        rows += _scored(case, prediction, sample.label, source, empty)
    return rows


def ceiling(
    source: Source, split: str, config: Config, *, cases: Sequence[str] | None = None
) -> list[dict]:
    """Scores of the ground truth itself, sent to the training size and back: no 2-D network at that
    size can be expected to beat them."""
    rows = []
    for case in source.cases(split) if cases is None else cases:
        label = source.volume(case).label
        small = resize_nearest(label, config.image_size)
        rows += _scored(case, resize_nearest(small, label.shape[1:]), label, source, "diagonal")
    return rows


def _scored(
    case: str, prediction: np.ndarray, label: np.ndarray, source: Source, empty: str
) -> Iterable[dict]:
    for scores in multiclass_metrics(prediction, label, source.num_classes, empty=empty):
        name = source.class_names[scores["class"]]
        yield {"case": case, "class": name, **{k: scores[k] for k in (*SCORES, "missed")}}


def summary(rows: Sequence[dict]) -> dict[str, float]:
    """Mean over cases per class, then over classes; `missed` and `cases` are counts.

    NaN (both masks empty) is not counted; a score that is NaN everywhere stays NaN.
    """
    classes = list(dict.fromkeys(row["class"] for row in rows))
    means = {
        score: [_mean(row[score] for row in rows if row["class"] == name) for name in classes]
        for score in SCORES
    }
    result = {score: _mean(values) for score, values in means.items()}
    result |= {f"dice {name}": value for name, value in zip(classes, means["dice"], strict=True)}
    cases = len({row["case"] for row in rows})
    return {**result, "missed": sum(bool(row["missed"]) for row in rows), "cases": cases}


def _mean(values: Iterable[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return float(np.mean(kept)) if kept else math.nan


def write_metrics(path: Path, rows: Sequence[dict], notes: Sequence[str], empty: str) -> None:
    """A CSV, one line per case and class, whose first lines say unit, definition and protocol."""
    text = io.StringIO()
    for note in (metric_definition(None, empty), *notes):
        text.write(f"# {note}\n")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow({**rounded, "missed": int(row["missed"])})
    write_text(Path(path), text.getvalue())


def read_metrics(path: Path) -> list[dict]:
    """The rows of `write_metrics` back, numbers as numbers."""
    lines = [line for line in Path(path).read_text().splitlines() if not line.startswith("#")]
    return [
        {
            **row,
            **{score: float(row[score]) for score in SCORES},
            "missed": bool(int(row["missed"])),
        }
        for row in csv.DictReader(lines)
    ]
