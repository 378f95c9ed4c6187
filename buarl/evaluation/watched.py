"""The few images that a run is watched on: labeled and unlabeled training ones, validation ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from buarl.data.errors import DataError
from buarl.data.h5 import Sample
from buarl.data.source import Source
from buarl.evaluation.views import evenly_spaced, training_view
from buarl.training.config import Config

PICTURES, MOST = 4, 12  # training images of each side: at least as many as are kept, at most these
CASES, DEPTHS = {2: 8, 3: 4}, (0.35, 0.65)  # validation volumes by rank, and where they are cut


class Watched(NamedTuple):
    """Images at training size, neither turned nor flipped.

    Attributes:
        image: float32 (N, *spatial).
        label: int64 (N, *spatial), or None where nobody labeled them.
        names: Names of the N samples or volumes; a volume may give several images.
    """

    image: np.ndarray
    label: Tensor | None
    names: list[str]


def watched_training(source: Source, config: Config, names: Sequence[str]) -> Watched | None:
    """Training images of one side of a batch.

    Args:
        source: The data set.
        config: Numbers of the run, for the training size.
        names: All labeled, or all unlabeled training samples. Where some of them have labels, only
            those are taken.
    Returns:
        As many as the labeled half of a batch has, so that percentiles run over as many voxels as
        in training, but 4 to 12 of them; fewer where there are fewer, and None without any. The
        first four stand at 1/8, 3/8, 5/8 and 7/8 of the list, the others at even distances among
        the rest.

    >>> from buarl.data.source import open_source
    >>> from buarl.training.config import Experiment, config_for
    >>> source = open_source("phantom")
    >>> unlabeled = source.split_labeled(3)[1]
    >>> watched_training(source, config_for(Experiment()), unlabeled).image.shape
    (8, 64, 64)
    """
    with_label = set(source.samples_with_label())
    ours = [name for name in names if name in with_label]
    count = min(max(config.stages[-1].labeled_batch, PICTURES), MOST)
    first = evenly_spaced(ours or names, PICTURES)
    rest = [name for name in ours or names if name not in first]
    chosen = first + evenly_spaced(rest, count - len(first))
    return _stacked(
        [source.training_sample(name, labeled=name in with_label) for name in chosen], config
    )


def watched_validation(source: Source, config: Config) -> tuple[Watched, Watched] | None:
    """Images of validation volumes: those to fit a temperature on, and those to measure it on.

    Args:
        source: The data set.
        config: Numbers of the run, for the training size.
    Returns:
        Up to 8 volumes, evenly spaced in the list, each cut at 35 % and 65 % of its depth, or a
        patch of up to 4 volumes. Every second volume is for the fit, the others for the measure;
        of a single volume both are the same. None where there is no validation volume.
    """
    try:
        chosen = evenly_spaced(source.cases("val"), CASES[source.rank])
        volumes = [source.volume(case) for case in chosen]
    except DataError:  # one can train without validation volumes
        return None
    volumes = [volume for volume in volumes if volume.label is not None]
    if not volumes:
        return None
    fit, measure = volumes[::2], volumes[1::2] or volumes
    return tuple(
        _stacked([cut for volume in part for cut in _cuts(volume, source.rank)], config)
        for part in (fit, measure)
    )


def _cuts(volume: Sample, rank: int) -> list[Sample]:
    """Slices of a volume (Z, H, W) where networks see slices, else the volume itself."""
    if rank == 3:
        return [volume]
    places = [int(depth * len(volume.image)) for depth in DEPTHS]
    return [Sample(volume.case, volume.image[z], volume.label[z]) for z in places]


def _stacked(samples: Sequence[Sample], config: Config) -> Watched | None:
    if not samples:
        return None
    views = [training_view(sample, config, seed) for seed, sample in enumerate(samples)]
    images, labels = zip(*views, strict=True)
    known = all(label is not None for label in labels)
    label = torch.from_numpy(np.stack(labels).astype(np.int64)) if known else None
    return Watched(np.stack(images), label, [sample.case for sample in samples])
