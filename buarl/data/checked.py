"""What a source must hand over: a clear word where torch would say something deep in a network."""

from __future__ import annotations

import numpy as np

from buarl.data.errors import DataError
from buarl.data.h5 import Sample
from buarl.data.source import Source


def checked_sample(sample: Sample, source: Source, *, labeled: bool = True) -> Sample:
    """Name the sample of which torch would say, deep inside a network, that a type is wrong.

    Args:
        sample: From the source, which may be anybody's.
        source: Says how many axes an image has.
        labeled: Look at the label too.
    Returns:
        The same sample.
    Raises:
        DataError: an image that is not float32 with as many axes, or a label that is no array of
            whole numbers of the image's shape.
    """
    image, label = sample.image, sample.label
    where = f"source {source.name}, sample {sample.case}"
    if getattr(image, "dtype", None) != np.float32 or image.ndim != source.rank:
        raise DataError(
            f"{where}: the image must be float32 with {source.rank} axes, got {_kind(image)}"
        )
    if not labeled:
        return sample
    if not isinstance(label, np.ndarray) or label.dtype.kind not in "ui":
        raise DataError(f"{where}: the label must be an array of integers, got {_kind(label)}")
    if label.shape != image.shape:
        raise DataError(
            f"{where}: the label must have the image's shape {image.shape}, got {label.shape}"
        )
    return sample


def _kind(array: object) -> str:
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{array.dtype} of shape {array.shape}"
