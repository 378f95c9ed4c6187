"""Scores of a network on whole volumes, with what they mean written beside them."""

from __future__ import annotations

import csv
import io
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import dropwhile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from buarl.components import largest_component
from buarl.data.h5 import DataError, Sample
from buarl.data.resample import resize_nearest, working_copy
from buarl.data.source import Source
from buarl.data.text import read_text
from buarl.evaluation.metrics import Unit, metric_definition, multiclass_metrics
from buarl.evaluation.predict import predict_slices, predict_windows
from buarl.training.checkpoint import write_text
from buarl.training.config import Config

SCORES = ("dice", "jaccard", "hd95", "asd")


class CaseError(ValueError):
    """A case that could not be scored; the message names it, then the cause."""


def predict_volume(
    network: nn.Module,
    volume: np.ndarray,
    rank: int,
    config: Config,
    *,
    keep_largest: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and entropy of a volume for a network of either rank; see `predict_slices`.

    keep_largest: Keep the largest component per class of the whole volume, for either rank.
    """
    if rank == 2:
        label, entropy = predict_slices(network, volume, config.image_size)
        if keep_largest:
            stack = torch.from_numpy(label)[None]  # (1, Z, H, W)
            label = largest_component(stack, int(label.max()) + 1)[0].numpy()
        return label, entropy
    stride = config.eval_stride or tuple(max(n // 2, 1) for n in config.image_size)
    small = working_copy(volume, config.shrink, config.standardise)
    label, entropy = predict_windows(
        network, small, config.image_size, stride, keep_largest=keep_largest
    )
    if config.shrink == 1:
        return label, entropy
    return resize_nearest(label, volume.shape), resize_nearest(entropy, volume.shape)


def evaluate(
    network: nn.Module,
    source: Source,
    split: str,
    config: Config,
    *,
    empty: str = "diagonal",
    unit: Unit = "voxels",
    keep_largest: bool = False,
    cases: Sequence[str] | None = None,
    workers: int | None = None,
) -> list[dict]:
    """Score every volume of a split.

    Args:
        network: The student. source, split: Which volumes. config: Training size and stride.
        empty: Policy for empty masks, see `case_metrics`. cases: Only these.
        unit: Of the distances; "mm" takes the spacing of each case from its file.
        keep_largest: See `predict_volume`; the paper's ACDC protocol keeps all.
        workers: Threads that score earlier cases while the next is predicted; 0 scores in turn,
            None takes torch's number of threads. Rows and their order do not depend on it, and no
            more than `workers` + 1 predictions wait.
    Returns:
        One dict per case and foreground class: case, class, dice, jaccard, hd95, asd, missed.
    Raises:
        DataError: a file that breaks a rule, or that has no spacing with unit "mm".
        CaseError: any other failure in a case.
    """

    def predict(sample: Sample) -> np.ndarray:
        return predict_volume(
            network, sample.image, source.rank, config, keep_largest=keep_largest
        )[0]

    return _score(
        predict, source, source.cases(split) if cases is None else cases, empty, unit, workers
    )


def ceiling(
    source: Source,
    split: str,
    config: Config,
    *,
    unit: Unit = "voxels",
    cases: Sequence[str] | None = None,
) -> list[dict]:
    """Scores of the ground truth itself, sent to the training resolution and back: no network at
    that resolution can be expected to beat them."""

    def there_and_back(sample: Sample) -> np.ndarray:
        native = sample.label.shape
        if source.rank == 2:
            return resize_nearest(resize_nearest(sample.label, config.image_size), native[1:])
        return resize_nearest(working_copy(sample.label, config.shrink, False), native)

    cases = source.cases(split) if cases is None else cases
    return _score(there_and_back, source, cases, "diagonal", unit, None)


def _score(
    predict: Callable[[Sample], np.ndarray],
    source: Source,
    cases: Sequence[str],
    empty: str,
    unit: Unit,
    workers: int | None,
) -> list[dict]:
    """Predict case by case here, and score what is predicted in other threads."""
    metric_definition(None, empty, unit)  # unknown names fail before the first prediction
    workers = torch.get_num_threads() if workers is None else workers
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, or None, got {workers}")

    def jobs() -> Iterator[Callable[[], list[dict]]]:
        for case in cases:
            with _named(case):
                sample = source.volume(case)
                spacing = _spacing(sample, source.volume_path(case)) if unit == "mm" else None
                prediction, label = predict(sample), sample.label
            yield partial(_case_rows, case, prediction, label, spacing, source, empty)

    return [row for rows in _in_order(jobs(), workers) for row in rows]


def _in_order(jobs: Iterable[Callable[[], list[dict]]], workers: int) -> Iterator[list[dict]]:
    """Results in the order of the jobs. Threads, not processes: scoring the 20 volumes of ACDC's
    val split takes half a second beside half a minute of prediction, importing torch takes two."""
    if not workers:
        yield from (job() for job in jobs)
        return
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _case_rows(
    case: str,
    prediction: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float] | None,
    source: Source,
    empty: str,
) -> list[dict]:
    with _named(case):
        metrics = multiclass_metrics(prediction, label, source.num_classes, spacing, empty)
    return [
        {
            "case": case,
            "class": source.class_names[scores["class"]],
            **{key: scores[key] for key in (*SCORES, "missed")},
        }
        for scores in metrics
    ]


def _spacing(sample: Sample, path: Path) -> tuple[float, ...]:
    if sample.spacing is None:
        raise DataError(
            f"{path}: distances in mm need the h5 attribute 'spacing' (mm per axis), the file has "
            "none; score in voxels"
        )
    return sample.spacing


@contextmanager
def _named(case: str) -> Iterator[None]:
    """Whatever fails inside says in which case; a DataError names its file already."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise CaseError(f"case {case}: {type(error).__name__}: {error}") from error


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


def write_metrics(
    path: Path, rows: Sequence[dict], notes: Sequence[str], empty: str, unit: Unit = "voxels"
) -> None:
    """A CSV, one line per case and class, whose first lines say unit, definition and protocol."""
    text = io.StringIO()
    for note in (metric_definition(None, empty, unit), *notes):
        text.write(f"# {note}\n")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow({**rounded, "missed": int(row["missed"])})
    write_text(Path(path), text.getvalue())


def read_metrics(path: Path) -> list[dict]:
    """The rows of `write_metrics` back, numbers as numbers.

    Only lines before the table are notes: a case may have a name that begins with "#".
    """
    lines = read_text(Path(path)).splitlines()
    table = dropwhile(lambda line: line.startswith("#"), lines)
    return [
        {
            **row,
            **{score: float(row[score]) for score in SCORES},
            "missed": bool(int(row["missed"])),
        }
        for row in csv.DictReader(table)
    ]
