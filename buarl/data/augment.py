"""Augmentation in two steps: draw the parameters, then apply them (docs/protocol.md 2.1, 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from buarl.data.resample import nearest_indices

Arrays = tuple[np.ndarray, np.ndarray | None]


class Augmentation(NamedTuple):
    """What to do with a sample: turn and flip, rotate, or leave it.

    Attributes:
        quarter_turns: Number of quarter turns in the plane of the first two axes.
        flip_axis: Axis to flip after the turns, 0 or 1; None means neither turns nor flip.
        angle: Rotation in degrees, for slices that are not turned.

    >>> Augmentation(quarter_turns=1, flip_axis=0)
    Augmentation(quarter_turns=1, flip_axis=0, angle=0)
    """

    quarter_turns: int = 0
    flip_axis: int | None = None
    angle: int = 0


def sample_2d(rng: np.random.Generator) -> Augmentation:
    """Draw what to do with a slice: half turn and flip, a quarter rotate, a quarter stay.

    Rotations are by -20 to 19 whole degrees. Turns are always followed by a flip, so the original
    orientation is not among those eight draws (docs/protocol.md 2.1).

    Args:
        rng: Generator of random numbers; it is advanced.

    >>> sample_2d(np.random.default_rng(1))
    Augmentation(quarter_turns=2, flip_axis=1, angle=0)
    >>> sample_2d(np.random.default_rng(4))
    Augmentation(quarter_turns=0, flip_axis=None, angle=17)
    """
    branch = rng.integers(4)
    if branch < 2:
        return Augmentation(int(rng.integers(4)), int(rng.integers(2)))
    return Augmentation(angle=int(rng.integers(-20, 20)) if branch == 2 else 0)


def apply_2d(
    image: np.ndarray, label: np.ndarray | None, augmentation: Augmentation, size: Sequence[int]
) -> Arrays:
    """Turn, flip or rotate a slice at native size, then resize it, as one gather.

    Equals scipy's `rotate` and `zoom` of order 0, one after the other.

    Args:
        image: float32 (H, W).
        label: uint8 (H, W), or None.
        augmentation: What was drawn by `sample_2d`.
        size: Wanted size, (rows, columns).
    Returns:
        Image and label (or None) of that size.

    >>> image = np.arange(4, dtype=np.float32).reshape(2, 2)
    >>> apply_2d(image, None, Augmentation(flip_axis=1), (2, 2))[0]
    array([[1., 0.],
           [3., 2.]], dtype=float32)
    """
    image, label = (_turn(array, augmentation) for array in (image, label))
    rows, columns = (nearest_indices(n, m) for n, m in zip(image.shape, size, strict=True))
    if not augmentation.angle:  # one axis after the other: half the time of both at once
        return tuple(None if a is None else a[rows][:, columns] for a in (image, label))
    index, outside = _rotated_index(image.shape, rows, columns, augmentation.angle)
    gathered = tuple(None if a is None else a.ravel()[index] for a in (image, label))
    for array in gathered:
        if array is not None:
            array[outside] = 0
    return gathered


def sample_3d(rng: np.random.Generator) -> Augmentation:
    """Draw what to do with a volume: turn in the (x, y) plane, then flip x or y.

    The result is always a mirror image, never the original (docs/protocol.md 2.2).

    Args:
        rng: Generator of random numbers; it is advanced.

    >>> sample_3d(np.random.default_rng(0))
    Augmentation(quarter_turns=3, flip_axis=1, angle=0)
    """
    return Augmentation(int(rng.integers(4)), int(rng.integers(2)))


def sample_crop(
    rng: np.random.Generator, shape: Sequence[int], patch_size: Sequence[int]
) -> tuple[int, ...]:
    """Draw where a patch starts; the last start that fits is never drawn, as in the references.

    Args:
        rng: Generator of random numbers; it is advanced.
        shape: Size of the volume, see `turned_shape`.
        patch_size: Size of the patch, voxels per axis.
    Returns:
        The first voxel of the patch per axis.

    >>> sample_crop(np.random.default_rng(0), (40, 30, 20), (16, 16, 20))
    (20, 8, 0)
    """
    return tuple(int(rng.integers(max(n - p, 1))) for n, p in zip(shape, patch_size, strict=True))


def apply_3d(
    image: np.ndarray,
    label: np.ndarray | None,
    augmentation: Augmentation,
    start: Sequence[int],
    patch_size: Sequence[int],
) -> Arrays:
    """Turn and flip a volume, pad it if it is not larger than the patch, then crop.

    Args:
        image: float32 (X, Y, Z).
        label: uint8 (X, Y, Z), or None.
        augmentation: What was drawn by `sample_3d`.
        start: What was drawn by `sample_crop`.
        patch_size: Size of the patch, voxels per axis.
    Returns:
        Image and label (or None) of the patch's size.

    >>> image = np.zeros((20, 20, 20), np.float32)
    >>> apply_3d(image, None, Augmentation(1, 0), (2, 2, 2), (16, 16, 16))[0].shape
    (16, 16, 16)
    """
    window = tuple(slice(a, a + p) for a, p in zip(start, patch_size, strict=True))
    turned = (_turn(array, augmentation) for array in (image, label))
    return tuple(
        None if array is None else np.ascontiguousarray(padded(array, patch_size)[window])
        for array in turned
    )


def turned_shape(
    shape: Sequence[int], augmentation: Augmentation, patch_size: Sequence[int]
) -> tuple[int, ...]:
    """Compute the shape of a volume after the turn and the padding, in which a patch is drawn.

    >>> turned_shape((40, 30, 20), Augmentation(quarter_turns=1, flip_axis=0), (16, 16, 16))
    (30, 40, 20)
    """
    x, y, z = shape
    turned = (y, x, z) if augmentation.quarter_turns % 2 else (x, y, z)
    return tuple(n + 2 * w for n, w in zip(turned, pad_widths(turned, patch_size), strict=True))


def padded(array: np.ndarray, patch_size: Sequence[int]) -> np.ndarray:
    """Add zeros on both sides of each axis, see `pad_widths`; most volumes stay as they are.

    >>> padded(np.ones((40, 16, 20)), (16, 16, 16)).shape
    (40, 22, 22)
    """
    widths = pad_widths(array.shape, patch_size)
    return np.pad(array, [(w, w) for w in widths]) if any(widths) else array


def pad_widths(shape: Sequence[int], patch_size: Sequence[int]) -> list[int]:
    """Compute how many zeros each side of each axis gets, as in the references.

    None if every axis is larger than the patch, else max((patch - size) // 2 + 3, 0).

    >>> pad_widths((40, 16, 20), (16, 16, 16))
    [0, 3, 1]
    """
    if all(n > p for n, p in zip(shape, patch_size, strict=True)):
        return [0] * len(shape)
    return [max((p - n) // 2 + 3, 0) for n, p in zip(shape, patch_size, strict=True)]


def _turn(array: np.ndarray | None, augmentation: Augmentation) -> np.ndarray | None:
    if array is None or augmentation.flip_axis is None:
        return array
    return np.flip(np.rot90(array, augmentation.quarter_turns), augmentation.flip_axis)


def _rotated_index(
    shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, angle: int
) -> tuple[np.ndarray, np.ndarray]:
    """Flat source index of every output pixel, and whether it falls outside the image."""
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    center_row, center_column = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    down, right = rows[:, None] - center_row, columns[None] - center_column
    row = cosine * down + sine * right  # (rows, columns); in place from here: memory decides
    column = -sine * down + cosine * right
    row += center_row
    column += center_column
    outside = (row < 0) | (row > shape[0] - 1) | (column < 0) | (column > shape[1] - 1)
    index = _nearest(row)
    index *= shape[1]
    index += _nearest(column)
    index[outside] = 0
    return index, outside


def _nearest(position: np.ndarray) -> np.ndarray:
    """Halves upwards, in place; positions below 0 come out wrong."""
    position += 0.5
    return position.astype(np.intp)
