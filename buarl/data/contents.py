"""What data hold, beyond the names of their files: a few numbers of a few samples.

Files of the same names may hold other voxels: prepared anew, normalised otherwise, turned, labeled
by somebody else. No digest can tell, as the same preparation on another processor differs in the
last bits; these numbers are compared within a thousandth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

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

    >>> from buarl.data import open_source
    >>> len(contents_of(open_source("phantom"), 3))
    9
    """
    ours, others = source.split_labeled(labeled)
    found = {name: numbers_of(source.training_sample(name)) for name in ours[:SAMPLES]}
    for name in others[:SAMPLES]:
        found[name] = numbers_of(source.training_sample(name, labeled=False))
    return found | validation_contents(source)


def validation_contents(source: Source) -> dict[str, dict[str, list[float]]]:
    """Some numbers of the first validation volumes; none where there are no such files.

    Args:
        source: The data set.
    """
    with suppress(DataError):
        return {name: numbers_of(source.volume(name)) for name in source.cases("val")[:SAMPLES]}
    return {}


def numbers_of(sample: Sample) -> dict[str, list[float]]:
    """What `Contents` has of one sample.

    Args:
        sample: One without a label has no classes.

    >>> image = np.arange(4, dtype=np.float32).reshape(2, 2)
    >>> numbers_of(Sample("a", image, np.array([[0, 0], [0, 1]], np.uint8)))
    {'image': [1.5, 1.11803, 0.0, 3.0, 0.5, 1.0], 'classes': [0.75, 0.25]}
    """
    image = sample.image
    whole = [image.mean(dtype=np.float64), image.std(dtype=np.float64), image.min(), image.max()]
    halves = [np.array_split(image, 2, axis)[0] for axis in range(image.ndim)]
    numbers = {"image": _rounded(whole + [half.mean(dtype=np.float64) for half in halves])}
    if sample.label is not None:
        numbers["classes"] = _rounded(np.bincount(sample.label.ravel()) / sample.label.size)
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
        whole = all(type(number) in (int, float) for each in numbers for number in each)
        whole = whole and all(len(each["image"]) > 1 for each in found.values())
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"damaged, contents of its data are {found!r:.60}")
    return found


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
    """Labels are compared where both know them."""
    images = _close(a["image"], b["image"], TOLERANCE * a["image"][1])
    if "classes" not in a or "classes" not in b:
        return images
    return images and _close(a["classes"], b["classes"], TOLERANCE / 10)


def _close(a: Sequence[float], b: Sequence[float], smallest: float) -> bool:
    return len(a) == len(b) and np.allclose(a, b, rtol=TOLERANCE, atol=smallest)


def _rounded(numbers: Iterable[float]) -> list[float]:
    return [float(f"{number:.6g}") for number in numbers]
