"""What the threshold scrubber shows, as bytes: the library's masks at every stop of the slider.

Masks are nested (a higher percentile marks fewer voxels), so one byte per voxel holds them all: the
number of stops at which `uncertain_mask` marks it. The browser compares this byte with the slider.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from torch import Tensor

from buarl.entropy import Scope, entropy_of_probs, entropy_threshold, uncertain_mask
from buarl.figures.draw import BOTH, ERROR, PALETTE, UNCERTAIN
from buarl.regions import crl, url
from buarl.widgets.explorers.live import INSIDE

PERCENTILES = (
    *(50, 55, 60, 65, 70, 75, 80, 84, 88, 90, 91, 92, 93, 94, 95, 96, 97, 98),
    *(98.5, 99, 99.5, 99.9),
)
"""The stops of the slider, in percent."""
SCOPES: tuple[Scope, ...] = ("batch", "image")
RULES = {"url": url, "crl": crl}
STARTS = {"url": 95, "crl": 99}  # the paper's percentiles on ACDC
LIMIT = 1 << 26  # voxels times steps that a browser tab should hold
MORE_COLORS = ("#009E73", "#F0E442", "#0072B2", "#D55E00")  # classes beyond the fourth


@dataclass(frozen=True)
class Side:
    """The labeled or the unlabeled half of a batch, at several training steps.

    Attributes:
        rule: "url" for labeled images, "crl" for unlabeled ones.
        images: (N, *spatial); volumes are shown slice by slice along their last axis.
        labels: Whole numbers (N, *spatial), 0 to C-1, or None.
        probs: (S, N, C, *spatial), a prediction for each training step; sums to 1 over classes.
        steps: Titles of the S training steps.
        names: Titles of the N images.
        class_names: Names of the C classes, or None for numbers.
    """

    rule: str
    images: np.ndarray
    labels: np.ndarray | None
    probs: np.ndarray
    steps: Sequence[str]
    names: Sequence[str]
    class_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule must be one of {sorted(RULES)}, got {self.rule!r}")
        images, probs = np.shape(self.images), np.shape(self.probs)
        if len(images) not in (3, 4) or 0 in images:
            raise ValueError(f"images must have shape (N, H, W) or (N, X, Y, Z), got {images}")
        if len(probs) != len(images) + 2 or (probs[1], *probs[3:]) != images or 0 in probs:
            raise ValueError(
                f"probs must be (steps, N, C, ...) to fit images {images}, got {probs}"
            )
        if probs[2] < 2:
            raise ValueError("one class has no entropy: give a probability per class, two or more")
        for what, count, wanted in (
            ("steps", len(self.steps), probs[0]),
            ("names", len(self.names), images[0]),
            ("class_names", len(self.class_names or range(probs[2])), probs[2]),
        ):
            if count != wanted:
                raise ValueError(f"{what} must name all {wanted}, got {count}")
        if probs[0] * int(np.prod(images)) > LIMIT:
            raise ValueError(f"{probs[0]} steps of {images} are too many for a browser tab")
        self._check_values()

    def _check_values(self) -> None:
        for what, values in (("images", self.images), ("probs", self.probs)):
            bad = ~np.isfinite(values)
            if bad.any():
                kind = "NaN" if np.isnan(values).any() else "infinite values"
                raise ValueError(f"{what} hold {kind} in {bad.sum()} of {bad.size} places")
        total = np.asarray(self.probs, dtype=np.float32).sum(2)
        if np.abs(total - 1).max() > 0.02 or np.min(self.probs) < 0:
            raise ValueError(
                "probs must be probabilities that sum to 1 over classes (softmax the logits), "
                f"got sums from {total.min():.3g} to {total.max():.3g}"
            )
        if self.labels is not None:
            labels, classes = np.asarray(self.labels), self.probs.shape[2]
            if labels.shape != np.shape(self.images):
                raise ValueError(
                    f"labels must fit images {np.shape(self.images)}, got {labels.shape}"
                )
            broken = labels[labels != np.round(labels)]
            if broken.size:
                raise ValueError(f"labels must hold whole numbers, got {broken[0]}")
            if labels.min() < 0 or labels.max() >= classes:
                raise ValueError(
                    f"labels must lie in 0 to {classes - 1}, got {labels.min()} to {labels.max()}"
                )

    def entropy(self, step: int) -> Tensor:
        """(N, *spatial), nats."""
        return entropy_of_probs(torch.as_tensor(np.ascontiguousarray(self.probs[step])))

    def probability(self, step: int) -> np.ndarray:
        """(N, *spatial), of the most probable class."""
        return np.max(np.asarray(self.probs[step], dtype=np.float32), axis=1)

    def pseudo_label(self, step: int) -> np.ndarray:
        """uint8 (N, *spatial), the most probable class, before any cleaning."""
        return self.probs[step].argmax(1).astype(np.uint8)


class Packed(NamedTuple):
    """What the browser receives.

    Attributes:
        header: JSON text.
        payload: Bytes compressed by zlib, see `pack`.
    """

    header: str
    payload: bytes


def pack(sides: Sequence[Side], percentiles: Sequence[float] = PERCENTILES) -> Packed:
    """Pack everything that the scrubber needs in the browser.

    Args:
        sides: One or two, with the same training steps.
        percentiles: Stops of the slider in percent, rising, at most 255.
    Returns:
        A header (sizes, titles, thresholds in nats, colors) and per side these bytes, one per
        voxel, slices (N, H, W) in order: image, label if there is one, then for all steps
        entropy (255 = ln C), pseudo-label, its probability (255 = 1), and the number of stops that
        mark the voxel, for the scopes "batch" and "image".
    Raises:
        ValueError: sides that do not fit each other, or stops that do not rise.
    """
    stops = [float(q) for q in percentiles]
    if not 1 <= len(stops) <= 255 or stops != sorted(set(stops)):
        raise ValueError(f"percentiles must rise and be at most 255, got {len(stops)}")
    if not 1 <= len(sides) <= 2 or len({side.rule for side in sides}) != len(sides):
        raise ValueError(f"give one or two sides of different rules, got {len(sides)}")
    if any(list(side.steps) != list(sides[0].steps) for side in sides):
        raise ValueError("both sides must have the same training steps")
    blocks: list[np.ndarray] = []
    heads = [_pack_side(side, stops, blocks) for side in sides]
    colors = {"error": ERROR, "uncertain": UNCERTAIN, "both": BOTH}
    colors["classes"] = [*PALETTE, *MORE_COLORS]
    cividis = matplotlib.colormaps["cividis"](range(256), bytes=True)[:, :3]
    header = {
        "sides": heads,
        "stops": stops,
        "steps": list(sides[0].steps),
        "colors": colors,
        "opacity": INSIDE,
        "cividis": cividis.tobytes().hex(),
    }
    raw = b"".join(block.astype(np.uint8).tobytes() for block in blocks)
    return Packed(json.dumps(header, allow_nan=False), zlib.compress(raw, 9))


def _pack_side(side: Side, stops: Sequence[float], blocks: list[np.ndarray]) -> dict:
    """The header of a side; its bytes are appended to `blocks`."""
    entropies = [side.entropy(step) for step in range(len(side.steps))]
    classes = side.probs.shape[2]
    blocks.append(slices_of(np.stack([_grey(image) for image in side.images])))
    if side.labels is not None:
        blocks.append(slices_of(np.asarray(side.labels)))
    highest = np.log(classes)
    blocks += [slices_of((255 * e / highest).round().clamp(0, 255).numpy()) for e in entropies]
    blocks += [slices_of(side.pseudo_label(step)) for step in range(len(side.steps))]
    blocks += [slices_of(_byte(side.probability(step))) for step in range(len(side.steps))]
    for scope in SCOPES:
        for entropy in entropies:
            marks = sum(uncertain_mask(entropy, q, scope).byte() for q in stops)
            blocks.append(slices_of(marks.numpy()))
    marks = blocks[-len(entropies) - 1]  # of the batch, at the last step
    depth = 1 if side.images.ndim == 3 else side.images.shape[-1]
    start = min(range(len(stops)), key=lambda k: abs(stops[k] - STARTS[side.rule]))
    names = [
        name if depth == 1 else f"{name}, slice {z + 1}"
        for name in side.names
        for z in range(depth)
    ]
    return {
        "rule": side.rule,
        "size": [int(n) for n in blocks[-1].shape],  # slices, height, width
        "hasLabel": side.labels is not None,
        "names": names,
        "image": [n for n in range(len(side.names)) for _ in range(depth)],
        "classes": [str(name) for name in side.class_names or range(classes)],
        "start": start,
        "slice": int((marks > start).sum((1, 2)).argmax()),  # begin where there is most to see
        "highest": float(highest),
        "thresholds": {
            scope: [[entropy_threshold(e, q, scope).tolist() for q in stops] for e in entropies]
            for scope in SCOPES
        },
    }


def slices_of(array: np.ndarray) -> np.ndarray:
    """(N, H, W) as it is; volumes (N, X, Y, Z) as slices (N * Z, X, Y)."""
    if array.ndim == 3:
        return array
    return np.moveaxis(array, -1, 1).reshape(-1, *array.shape[1:3])


def _byte(share: np.ndarray) -> np.ndarray:
    return np.round(255 * share).clip(0, 255)


def _grey(image: np.ndarray) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    return np.round(255 * (image - low) / (high - low or 1))
