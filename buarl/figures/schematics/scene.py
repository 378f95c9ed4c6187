"""The hearts that schematics show: slices of the phantom, and what an imagined network says.

No network is trained for a schematic. Its probabilities come from the label, which is bent a
little (so that some of it is wrong) and blurred (so that it is unsure along edges); entropy,
masks, weights and errors are then computed by the library as always.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs, uncertain_mask

FIRST = 120  # training samples that are looked through
BEND, SMOOTH, BLURS = 2.4, 7.0, (0.6, 2.2)  # pixels
NOISE = 0.12  # of logits
AROUND = 1.6  # edge of a picture over that of its heart


class Scene(NamedTuple):
    """One slice as schematics show it.

    image: float32 (H, W).
    label: Whole numbers (H, W).
    probs: float32 (C, H, W), of some network.
    """

    image: np.ndarray
    label: np.ndarray
    probs: np.ndarray

    @property
    def entropy(self) -> np.ndarray:
        """The entropy of the prediction, float32 (H, W), nats."""
        return entropy_of_probs(self._batch)[0].numpy()

    @property
    def prediction(self) -> np.ndarray:
        """The most likely class, whole numbers (H, W): on unlabeled images the pseudo-label."""
        return self.probs.argmax(0)

    def uncertain(self, percentile: float) -> np.ndarray:
        """The mask of Eq. 4 over this one slice, bool (H, W)."""
        return uncertain_mask(entropy_of_probs(self._batch), percentile)[0].numpy()

    @property
    def _batch(self) -> torch.Tensor:
        return torch.from_numpy(self.probs)[None]


def phantom_scenes(count: int = 4, source: Source | None = None) -> list[Scene]:
    """Find slices with large hearts, each of another patient, and imagine a network for them.

    Args:
        count: How many.
        source: Where from, a data set of slices; None takes the phantom.
    Returns:
        Square scenes, the largest hearts first; the same on every call.
    Raises:
        ValueError: fewer patients than that among the first training samples.

    >>> [scene.probs.shape[0] for scene in phantom_scenes(2)]
    [4, 4]
    """
    return list(_found(count, source or _phantom()))


@cache
def _phantom() -> Source:
    return open_source("phantom")


@cache
def _found(count: int, source: Source) -> tuple[Scene, ...]:
    largest: dict[str, tuple[int, str]] = {}
    for name in source.training_names()[:FIRST]:
        pixels = np.bincount(source.training_sample(name).label.ravel(), minlength=4)
        patient, size = source.patient(name), int(pixels[1:].min())
        largest[patient] = max(largest.get(patient, (0, "")), (size, name))
    chosen = sorted(largest.values(), reverse=True)[:count]
    if len(chosen) < count:
        raise ValueError(f"{source.root}: {count} patients are needed, got {len(chosen)}")
    return tuple(_scene(source, name, seed) for seed, (_, name) in enumerate(chosen))


def imagined_probs(label: np.ndarray, classes: int, seed: int = 0) -> np.ndarray:
    """What a network that is nearly right might say of a slice.

    Args:
        label: Whole numbers (H, W), the truth.
        classes: How many classes there are.
        seed: Decides how the label is bent.
    Returns:
        float32 (classes, H, W), which sums to 1 over the classes.

    >>> imagined_probs(np.zeros((8, 8), int), 2).sum(0).round(5).min()
    np.float32(1.0)
    """
    random = np.random.default_rng(seed)
    shifts = [gaussian_filter(random.normal(size=label.shape), SMOOTH) for _ in range(2)]
    shifts = [BEND * shift / max(np.abs(shift).max(), 1e-9) for shift in shifts]
    places = [grid + shift for grid, shift in zip(np.indices(label.shape), shifts, strict=True)]
    bent = map_coordinates(label, places, order=0, mode="nearest")
    doubt = gaussian_filter(random.normal(size=label.shape), SMOOTH)  # where it is less sure
    doubt = (doubt - doubt.min()) / max(float(np.ptp(doubt)), 1e-9)
    onehot = [(bent == k).astype(float) for k in range(classes)]
    sharp, soft = (np.stack([gaussian_filter(k, blur) for k in onehot]) for blur in BLURS)
    layers = (1 - doubt) * sharp + doubt * soft
    layers = np.clip(layers, 1e-6, None) * np.exp(NOISE * random.normal(size=layers.shape))
    return (layers / layers.sum(0)).astype(np.float32)


def _scene(source: Source, name: str, seed: int) -> Scene:
    """A sample cut to a square around its heart."""
    image, label = source.training_sample(name)[1:3]
    rows, columns = np.nonzero(label)
    spans = [(places.min(), places.max() + 1) for places in (rows, columns)]
    side = min(round(AROUND * max(high - low for low, high in spans)), *image.shape)
    square = []
    for (low, high), length in zip(spans, image.shape, strict=True):
        start = min(max((low + high - side) // 2, 0), length - side)
        square.append(slice(start, start + side))
    image, label = image[*square], label[*square].astype(np.int64)
    return Scene(image, label, imagined_probs(label, source.num_classes, seed))
