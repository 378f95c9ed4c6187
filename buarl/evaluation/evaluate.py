"""Scores of a network on whole volumes, with what they mean written beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn

from buarl.arguments import check_choice
from buarl.components import largest_component
from buarl.data.h5 import DataError, Sample
from buarl.data.resample import resize_nearest, working_copy
from buarl.data.source import Source
from buarl.evaluation.metrics import Unit, metric_definition, multiclass_metrics
from buarl.evaluation.predict import SendBack, predict_slices, predict_windows
from buarl.evaluation.scores import SCORES
from buarl.training.config import Config


class CaseError(ValueError):
    """A case could not be scored; the message names the case, then the cause."""


def predict_volume(
    network: nn.Module,
    volume: np.ndarray,
    rank: int,
    config: Config,
    *,
    keep_largest: bool = False,
    send_back: SendBack = "labels",
) -> tuple[np.ndarray, np.ndarray]:
    """Predict labels and entropy of a volume, slice by slice in 2-D, by a window in 3-D.

    Args:
        network: It is put into evaluation mode.
        volume: float32 (Z, H, W) for rank 2, (X, Y, Z) for rank 3.
        rank: Axes of the images that the network was trained on.
        config: Numbers of its run: training size, stride, and how volumes were scaled.
        keep_largest: Keep only the largest component of each class in the whole volume.
        send_back: What is sent back to the volume's own size, see `predict.SendBack`; volumes know
            "labels" alone.
    Returns:
        Labels uint8 and entropy float32 in nats, both of the volume's shape.
    Raises:
        ValueError: a `send_back` that is unknown or not for volumes.
    """
    _check_send_back(send_back, rank)
    if rank == 2:
        label, entropy = predict_slices(network, volume, config.image_size, send_back)
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
    send_back: SendBack = "labels",
    cases: Sequence[str] | None = None,
    workers: int | None = None,
) -> list[dict]:
    """Score a network on every volume of a split.

    Args:
        network: What to evaluate, the student of a method or its teacher.
        source: The data set.
        split: "train", "val" or "test".
        config: Numbers of the run, see `predict_volume`.
        empty: What an empty mask scores, see `case_metrics`.
        unit: Unit of the distances; "mm" takes the spacing of each case from its file.
        keep_largest: Keep only the largest component of each class. The public evaluation of ACDC
            keeps all (docs/protocol.md 1.4).
        send_back: See `predict_volume`.
        cases: Score these volumes only; None scores all of the split.
        workers: Threads that score earlier cases while the next is predicted. 0 scores in turn,
            None takes torch's number of threads. The rows and their order do not depend on it, and
            no more than `workers` + 1 predictions wait in memory.
    Returns:
        One dict for each case and foreground class, in order: "case", "class", "dice", "jaccard",
        "hd95", "asd", "missed".
    Raises:
        ValueError: a `send_back` that is unknown or not for volumes.
        DataError: a file that breaks a rule, or that has no spacing with unit "mm".
        CaseError: any other failure in a case.
    """

    _check_send_back(send_back, source.rank)

    def predict(sample: Sample) -> np.ndarray:
        options = {"keep_largest": keep_largest, "send_back": send_back}
        return predict_volume(network, sample.image, source.rank, config, **options)[0]

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
    """Score the ground truth itself, sent to the training resolution and back.

    No network at that resolution can be expected to beat these scores.

    Args:
        source: The data set.
        split: "train", "val" or "test".
        config: Numbers of a run; the training size is taken from it.
        unit: Unit of the distances, see `evaluate`.
        cases: Score these volumes only; None scores all of the split.
    Returns:
        Rows as `evaluate` returns them.
    """

    def there_and_back(sample: Sample) -> np.ndarray:
        native = sample.label.shape
        if source.rank == 2:
            return resize_nearest(resize_nearest(sample.label, config.image_size), native[1:])
        return resize_nearest(working_copy(sample.label, config.shrink, False), native)

    cases = source.cases(split) if cases is None else cases
    return _score(there_and_back, source, cases, "diagonal", unit, None)


def _check_send_back(send_back: str, rank: int) -> None:
    words = get_args(SendBack) if rank == 2 else ("labels",)
    check_choice("send_back" if rank == 2 else "send_back of volumes", send_back, words)


def _score(
    predict: Callable[[Sample], np.ndarray],
    source: Source,
    cases: Sequence[str],
    empty: str,
    unit: Unit,
    workers: int | None,
) -> list[dict]:
    """Predict case by case in this thread, and score what is predicted in others."""
    metric_definition(None, empty, unit)  # unknown names fail before the first prediction
    workers = torch.get_num_threads() if workers is None else workers
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, or None, got {workers}")

    def jobs() -> Iterator[Callable[[], list[dict]]]:
        for case in cases:
            with _named(case):
                sample = source.volume(case)
                if sample.label is None:
                    raise DataError(f"{source.volume_path(case)}: has no label to score against")
                spacing = _spacing(sample, source.volume_path(case)) if unit == "mm" else None
                prediction, label = predict(sample), sample.label
            yield partial(_case_rows, case, prediction, label, spacing, source, empty)

    return [row for rows in _in_order(jobs(), workers) for row in rows]


def _in_order(jobs: Iterable[Callable[[], list[dict]]], workers: int) -> Iterator[list[dict]]:
    """Run jobs in other threads and yield their results in the order of the jobs.

    Threads, not processes: scoring the 20 validation volumes of ACDC takes half a second beside
    half a minute of prediction, and importing torch in a new process takes two seconds.
    """
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
    """Name the case in whatever fails inside; a DataError names its file already."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise CaseError(f"case {case}: {type(error).__name__}: {error}") from error
