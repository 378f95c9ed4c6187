"""What data hold, beyond the names of their files: a few numbers of a few samples.

Files of the same names may hold other voxels: prepared anew, normalized otherwise, turned, labeled
by somebody else. No digest can tell, as the same preparation on another processor differs in the
last bits; these numbers are compared within a thousandth. They are statistics, and no voxel of an
image can be read from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from buarl.data.checked import checked_sample
from buarl.data.errors import DataError
from buarl.data.h5 import Sample
from buarl.data.source import Source

SAMPLES = 3  # of every role
TOLERANCE = 1e-3

Contents = Mapping[str, Mapping[str, Sequence[float]]]
"""By the name of a sample: "image", mean and standard deviation, least and largest voxel of its
image and the mean of its first half along every axis, which turns and flips change; and "classes",
the share of every class, where its label may be read."""


def contents_of(source: Source, labeled: int | None) -> dict[str, dict[str, list[float]]]:
    """Some numbers of the first labeled, unlabeled and validation samples.

    Labels of unlabeled samples are not read, and no test case is opened.

    Args:
        source: The data set; one without a validation list or its files has fewer samples.
        labeled: Labeled patients, see `Source.split_labeled`.
    Raises:
        DataError: a training sample that breaks a rule.

    >>> from buarl.data import open_source
    >>> len(contents_of(open_source("phantom"), 3))
    9
    """
    ours, others = source.split_labeled(labeled)
    found = {}
    for name in ours[:SAMPLES]:
        found[name] = numbers_of(checked_sample(source.training_sample(name), source))
    for name in others[:SAMPLES]:
        sample = source.training_sample(name, labeled=False)
        found[name] = numbers_of(checked_sample(sample._replace(label=None), source, labeled=False))
    return found | validation_contents(source)


def validation_contents(source: Source) -> dict[str, dict[str, list[float]]]:
    """Some numbers of the first validation volumes; of those that can be read.

    Args:
        source: The data set.
    """
    try:
        names = source.listed("val")[:SAMPLES]
    except DataError:
        return {}
    found = {}
    for name in names:
        try:
            found[name] = numbers_of(source.volume(name))
        except Exception:
            continue
    return found


def numbers_of(sample: Sample) -> dict[str, list[float]]:
    """What `Contents` has of one sample.

    Args:
        sample: One without a label has no classes.

    >>> image = np.arange(4, dtype=np.float32).reshape(2, 2)
    >>> numbers_of(Sample("a", image, np.array([[0, 0], [0, 1]], np.uint8)))
    {'image': [1.5, 1.11803, 0.0, 3.0, 0.5, 1.0], 'classes': [0.75, 0.25]}
    """
    image, label = sample.image, sample.label
    mean = float(image.mean(dtype=np.float64))
    variance = np.mean([((plane - mean) ** 2).mean(dtype=np.float64) for plane in image])
    whole = [mean, math.sqrt(variance), image.min(), image.max()]
    halves = [np.array_split(image, 2, axis)[0] for axis in range(image.ndim)]
    numbers = {"image": _rounded(whole + [half.mean(dtype=np.float64) for half in halves])}
    if label is not None:
        top = int(label.max()) + 1
        counts = sum(np.bincount(plane.ravel(), minlength=top) for plane in label)
        numbers["classes"] = _rounded(counts / label.size)
    return numbers


def said_contents(data: Mapping[str, Any]) -> Contents:
    """The contents that a file of ours tells of; empty in files from before they were kept.

    Args:
        data: "data" of `run.json` or of an entry of a ledger.
    Raises:
        ValueError: they are damaged.

    >>> said_contents({"licence": "MIT"})
    {}
    """
    found = data.get("contents", {})
    try:
        numbers = [(*each["image"], *each.get("classes", ())) for each in found.values()]
        whole = all(type(n) in (int, float) and math.isfinite(n) for each in numbers for n in each)
        whole = whole and all(
            len(each["image"]) > 1 and each["image"][1] >= 0 for each in found.values()
        )
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"damaged, contents of its data are {found!r:.60}")
    return found


def check_contents(path: Path, data: Mapping[str, Any], now: Contents) -> None:
    """Stop where files have the names of a run's data and hold something else.

    Args:
        path: The run folder, for the message.
        data: "data" of its `run.json`; an early one does not know what its data held.
        now: What the data at hand hold.
    Raises:
        ValueError: the first sample that differs, or damaged contents.
    """
    try:
        then = said_contents(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if (name := first_other(then, now)) is not None:
        raise ValueError(
            f"{path}: was trained on other data than those at hand; {name} has the same name and "
            "holds something else (prepared, turned or labeled otherwise)"
        )


def first_other(then: Contents, now: Contents) -> str | None:
    """The first sample that holds something else now; None where all that both know agree.

    Args:
        then, now: As `contents_of` returns them.

    >>> first_other({"a": {"image": [1.0, 0.5]}}, {"a": {"image": [1.0001, 0.5]}}) is None
    True
    >>> first_other({"a": {"image": [1.0, 0.5]}}, {"a": {"image": [101.0, 0.5]}})
    'a'
    """
    shared = [name for name in then if name in now]
    return next((name for name in shared if not _alike(then[name], now[name])), None)


def _alike(a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]) -> bool:
    """Labels are compared where both know them; a class that only one has is a share of 0."""
    if len(a["image"]) != len(b["image"]):
        return False
    deviation = max(a["image"][1], b["image"][1], TOLERANCE)
    alike = np.allclose(a["image"], b["image"], rtol=TOLERANCE, atol=TOLERANCE * deviation)
    if not alike or "classes" not in a or "classes" not in b:
        return alike
    shares = np.array([*zip_longest(a["classes"], b["classes"], fillvalue=0.0)])  # (C, 2)
    return np.allclose(*shares.T, rtol=TOLERANCE, atol=TOLERANCE / 10)


def _rounded(numbers: Iterable[float]) -> list[float]:
    return [float(f"{number:.6g}") for number in numbers]
