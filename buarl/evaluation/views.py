"""Samples as a network in training sees them, but neither turned nor flipped.

A slice is resized to the training size; of a volume a patch is cut, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from buarl.data import augment
from buarl.data.batches import working_sample
from buarl.data.h5 import Sample
from buarl.training.config import Config

View = tuple[np.ndarray, np.ndarray]


def training_view(sample: Sample, config: Config, seed: int = 0) -> View:
    """Cut a sample to training size.

    Args:
        sample: A slice or volume, with its label or without.
        config: Numbers of a run; the training size and how volumes are scaled are taken from it.
        seed: Decides where the patch of a volume lies. A slice has one view, whatever the seed.
    Returns:
        Image float32 and label uint8, both (*config.image_size); the label is None where the
        sample has none.
    """
    stay, size = augment.Augmentation(), config.image_size
    if sample.image.ndim == 2:
        return augment.apply_2d(sample.image, sample.label, stay, size)
    sample = working_sample(sample, config.shrink, config.standardise)
    shape = augment.turned_shape(sample.image.shape, stay, size)
    start = augment.sample_crop(np.random.default_rng(seed), shape, size)
    return augment.apply_3d(sample.image, sample.label, stay, start, size)


def evenly_spaced(names: Sequence[str], count: int) -> list[str]:
    """Pick names at even distances, the middles of `count` equal parts of a list.

    Args:
        names: The list. count: How many; of a shorter list all.

    >>> evenly_spaced("abcdefgh", 4), evenly_spaced("ab", 4)
    (['b', 'd', 'f', 'h'], ['a', 'b'])
    """
    count = min(count, len(names))
    return [names[(2 * i + 1) * len(names) // (2 * count)] for i in range(count)]
