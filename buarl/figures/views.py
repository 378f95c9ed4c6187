"""Samples as a network in training sees them, but neither turned nor flipped: what lessons look at.

A slice is resized to the training size; of a volume a patch is cut, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from buarl.data import augment
from buarl.data.batches import working_sample
from buarl.data.h5 import Sample
from buarl.data.source import Source
from buarl.figures.plots import to_slice
from buarl.training.config import Config

TRIES = 10  # patches per volume
LEAST = 20  # pixels of every class in a picture

View = tuple[np.ndarray, np.ndarray]


def training_view(sample: Sample, config: Config, seed: int = 0) -> View:
    """Image and label of a sample at training size.

    Args:
        sample: With its label. config: Training size. seed: Decides where the patch of a volume
            lies; a slice has one view.
    Returns:
        float32 and uint8 (*config.image_size).
    """
    stay, size = augment.Augmentation(), config.image_size
    if sample.image.ndim == 2:
        return augment.apply_2d(sample.image, sample.label, stay, size)
    sample = working_sample(sample, config.shrink, config.standardise)
    shape = augment.turned_shape(sample.image.shape, stay, size)
    start = augment.sample_crop(np.random.default_rng(seed), shape, size)
    return augment.apply_3d(sample.image, sample.label, stay, start, size)


def unlabeled_views(source: Source, config: Config, count: int = 120) -> View:
    """Views of unlabeled training samples, evenly spaced in the list.

    The labels are there to look at; no training sees them. Where there are fewer samples than
    `count`, the list starts again, with other patches.

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
    """The first view whose picture, for a volume its middle plane, holds all classes.

    Args:
        names: Training samples, in the order in which they are looked at.
    Raises:
        ValueError: none does.
    """
    for seed in range(TRIES):
        for name in names:
            image, label = training_view(source.training_sample(name), config, seed)
            pixels = np.bincount(to_slice(label).ravel(), minlength=source.num_classes)
            if pixels.min() >= LEAST:
                return image, label
    raise ValueError(f"{source.root}: none of {len(names)} training samples holds all classes")


def planes(array: np.ndarray, rank: int) -> np.ndarray:
    """A volume plane by plane, (Z, H, W) as it is or (X, Y, Z) with z first.

    Args:
        rank: Of the volume's source; 2 keeps z first on disk, 3 last.
    """
    return array if rank == 2 else np.moveaxis(array, -1, 0)
