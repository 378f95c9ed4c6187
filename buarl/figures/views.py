"""Samples as a network in training sees them, but neither turned nor flipped: what lessons look at.

A slice is resized to the training size; of a volume a patch is cut, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from buarl.data.source import Source
from buarl.evaluation.views import View, training_view
from buarl.figures.draw import to_slice
from buarl.training.config import Config

TRIES = 10  # patches per volume
LEAST = 20  # pixels of every class in a picture

__all__ = ["around", "planes", "training_view", "unlabeled_views", "view_with_all_classes"]


def unlabeled_views(source: Source, config: Config, count: int = 120) -> View:
    """Cut unlabeled training samples, evenly spaced in the list, to training size.

    Their labels are there to look at; no training sees them.

    Args:
        source: The data set.
        config: Numbers of a run; it says which patients are labeled, and the training size.
        count: How many views. Where there are fewer samples, the list starts again, and volumes
            give other patches.
    Returns:
        Images float32 and labels uint8, both (count, *config.image_size).
    """
    names = source.split_labeled(config.labeled)[1]
    every = max(len(names) // count, 1)
    chosen = [names[every * i % len(names)] for i in range(count)]
    views = [
        training_view(source.training_sample(name), config, i) for i, name in enumerate(chosen)
    ]
    images, labels = zip(*views, strict=True)
    return np.stack(images), np.stack(labels)


def view_with_all_classes(source: Source, config: Config, names: Sequence[str]) -> View:
    """Find a view whose picture holds all classes; the picture of a volume is its middle plane.

    Args:
        source: The data set.
        config: Numbers of a run, for the training size.
        names: Training samples, in the order in which they are looked at.
    Returns:
        Image float32 and label uint8 of the first that does, both (*config.image_size).
    Raises:
        ValueError: none of them does.
    """
    for seed in range(TRIES):
        for name in names:
            image, label = training_view(source.training_sample(name), config, seed)
            pixels = np.bincount(to_slice(label).ravel(), minlength=source.num_classes)
            if pixels.min() >= LEAST:
                return image, label
    raise ValueError(f"{source.root}: none of {len(names)} training samples holds all classes")


def around(labels: Sequence[np.ndarray], margin: int = 12) -> tuple[slice, slice]:
    """The part of an image that holds everything any label map marks, islands too.

    Args:
        labels: Whole numbers (H, W), 0 for background.
        margin: Pixels around it.
    Returns:
        Rows and columns to cut out; all of them where nothing is marked.

    >>> label = np.zeros((40, 50), int)
    >>> label[20:22, 30] = 1
    >>> around([label, 0 * label], margin=5)
    (slice(15, 27, None), slice(25, 36, None))
    """
    marked = np.any([label > 0 for label in labels], axis=0)
    if not marked.any():
        return slice(None), slice(None)
    places = (np.flatnonzero(marked.any(1 - axis)) for axis in (0, 1))
    return tuple(slice(max(int(p[0]) - margin, 0), int(p[-1]) + margin + 1) for p in places)


def planes(array: np.ndarray, rank: int) -> np.ndarray:
    """Put the axis along which one leafs through a volume first.

    Args:
        array: A volume as its file holds it.
        rank: Rank of its source: files of rank 2 have z first already, (Z, H, W), those of rank 3
            last, (X, Y, Z).
    Returns:
        A view of the same memory with z first.

    >>> planes(np.zeros((5, 6, 7)), rank=3).shape
    (7, 5, 6)
    """
    return array if rank == 2 else np.moveaxis(array, -1, 0)
