"""The training set on a GPU: the same batches as `Batches`, cut out there, nothing waits for it.

The host draws the few numbers of an augmentation; the device computes indices and gathers. Every
batch equals the one that `Batches` makes on the CPU, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from buarl.data import augment
from buarl.data.batches import Batches, SemiBatch
from buarl.data.h5 import Sample
from buarl.data.resample import nearest_indices


class ResidentBatches(Batches):
    """`Batches` whose samples live on a device, one after the other in one buffer.

    Args:
        batches: What to move. device: Where to; the CPU works too, and is how this is tested.
    Memory: 5 bytes a voxel on the device: 0.35 GB for ACDC, 2.3 GB for LA's 80 scans.
    """

    def __init__(self, batches: Batches, device: torch.device) -> None:
        self.image_size, self.volumetric = batches.image_size, batches.volumetric
        self.labeled, self.unlabeled = batches.labeled, batches.unlabeled
        self.device = device
        samples = [*self.labeled, *self.unlabeled]
        sizes = [sample.image.size for sample in samples]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self._start = {sample.case: int(n) for sample, n in zip(samples, starts, strict=False)}
        self._image = torch.empty(int(starts[-1]), device=device)
        self._label = torch.zeros(int(starts[-1]), dtype=torch.uint8, device=device)
        for sample, size in zip(samples, sizes, strict=True):
            place = slice(self._start[sample.case], self._start[sample.case] + size)
            self._image[place] = torch.from_numpy(sample.image.ravel()).to(device)
            if sample.label is not None:
                self._label[place] = torch.from_numpy(sample.label.ravel()).to(device)

    def _assembled(
        self, picked: Sequence[tuple[Sample, np.random.Generator]], labeled_batch: int
    ) -> SemiBatch:
        cut = self._patches if self.volumetric else self._slices
        image, label = cut(picked)  # (B, *spatial)
        return SemiBatch(image[:, None], label[:labeled_batch].long())

    def _slices(self, picked: Sequence[tuple[Sample, np.random.Generator]]) -> tuple[Tensor, ...]:
        draws = [augment.sample_2d(rng) for _, rng in picked]
        shapes = [sample.image.shape for sample, _ in picked]
        numbers = np.array(  # (B, 11), all the device needs to know
            [
                [*_turn_matrix(draw), *_centres(shape, draw), *shape, self._start[sample.case]]
                for (sample, _), draw, shape in zip(picked, draws, shapes, strict=True)
            ]
        )
        grids = [
            _grid(shape, draw, self.image_size) for shape, draw in zip(shapes, draws, strict=True)
        ]
        axes = (np.stack(axis) for axis in zip(*grids, strict=True))  # (B, rows), (B, columns)
        index, inside = source_index(self._up(numbers), *map(self._up, axes))
        label = torch.where(inside, self._label[index], 0)
        return torch.where(inside, self._image[index], 0.0), label

    def _patches(self, picked: Sequence[tuple[Sample, np.random.Generator]]) -> tuple[Tensor, ...]:
        parts = []
        for sample, rng in picked:
            turn, corner = self._drawn_3d(sample, rng)
            first = self._start[sample.case]
            parts.append(_patch_parts(sample.image.shape, turn, corner, self.image_size, first))
        x, y, z = (self._up(np.stack(axis)) for axis in zip(*parts, strict=True))  # (B, X), ...
        inside = (x[:, 1, :, None, None] & y[:, 1, None, :, None] & z[:, 1, None, None, :]).bool()
        index = x[:, 0, :, None, None] + y[:, 0, None, :, None] + z[:, 0, None, None, :]
        index = torch.where(inside, index, 0)  # (B, X, Y, Z)
        label = torch.where(inside, self._label[index], 0)
        return torch.where(inside, self._image[index], 0.0), label

    def _up(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()  # else the copy would wait
        return tensor.to(self.device, non_blocking=True)


def source_index(numbers: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Flat index into the buffer of every output pixel, and whether it lies inside its slice.

    Args:
        numbers: float64 (B, 11): turn matrix (4), centre after and before the turn (2 + 2), shape
            (2), start in the buffer. rows (B, m), columns (B, n): int64, in the turned slice.
    Returns:
        int64 and bool (B, m, n). The same roundings, in the same order, as `augment.apply_2d`.
    """
    a, b, c, d, row_after, column_after, row_before, column_before, height, width, start = (
        column[:, None, None] for column in numbers.unbind(1)
    )
    down, right = rows[:, :, None] - row_after, columns[:, None] - column_after
    row = a * down + b * right + row_before  # (B, m, n)
    column = c * down + d * right + column_before
    inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
    row, column = (row + 0.5).floor(), (column + 0.5).floor()
    return torch.where(inside, start + row * width + column, start).long(), inside


def _turn_matrix(draw: augment.Augmentation) -> tuple[float, float, float, float]:
    """(down, right) after the augmentation -> (down, right) before it, about the centres."""
    if draw.flip_axis is None:
        cosine, sine = np.cos(np.deg2rad(draw.angle)), np.sin(np.deg2rad(draw.angle))
        return float(cosine), float(sine), -float(sine), float(cosine)
    a, b, c, d = ((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0))[draw.quarter_turns]
    return (-a, b, -c, d) if draw.flip_axis == 0 else (a, -b, c, -d)


def _turned(shape: Sequence[int], draw: augment.Augmentation) -> tuple[int, int]:
    height, width = shape
    return (width, height) if draw.quarter_turns % 2 else (height, width)


def _centres(shape: Sequence[int], draw: augment.Augmentation) -> list[float]:
    return [(n - 1) / 2 for n in (*_turned(shape, draw), *shape)]


def _grid(
    shape: Sequence[int], draw: augment.Augmentation, size: Sequence[int]
) -> list[np.ndarray]:
    return [nearest_indices(n, m) for n, m in zip(_turned(shape, draw), size, strict=True)]


def _patch_parts(
    shape: Sequence[int],
    turn: augment.Augmentation,
    corner: Sequence[int],
    patch_size: Sequence[int],
    first: int,
) -> list[np.ndarray]:
    """Per axis what its coordinates add to the flat index, and whether they lie inside.

    Turns by quarters move along the axes, so the index of a voxel is a sum of one part per axis.
    """
    strides = (shape[1] * shape[2], shape[2])
    a, b, c, d = _turn_matrix(turn)
    per_step = (a * strides[0] + c * strides[1], b * strides[0] + d * strides[1], 1)
    after_x, after_y, before_x, before_y = _centres(shape[:2], turn)
    middle = (before_x * strides[0] + before_y * strides[1] + first, 0, 0)
    turned = (*_turned(shape[:2], turn), shape[2])
    widths = augment.pad_widths(turned, patch_size)
    parts = []
    for axis, centre in enumerate((after_x, after_y, 0)):
        place = np.arange(patch_size[axis]) + corner[axis] - widths[axis]
        steps = (place - centre) * per_step[axis] + middle[axis]
        inside = (place >= 0) & (place < turned[axis])
        parts.append((steps, inside))
    halves = parts[0][0] % 1  # of the centre: an exact half that the second axis brings back
    parts[0] = (parts[0][0] - halves, parts[0][1])
    parts[1] = (parts[1][0] + halves[0], parts[1][1])
    return [np.stack([steps, inside]).astype(np.int64) for steps, inside in parts]
