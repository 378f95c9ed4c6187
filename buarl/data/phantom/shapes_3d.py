"""Soft-edged ellipsoids and tubes on a deformed voxel grid: the brush of the 3-D phantom."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

Box = tuple[slice, slice, slice]
Shape = tuple[Box, np.ndarray]  # a part of the grid, signed distance there: mm, negative inside


def rotation(degrees: np.ndarray) -> np.ndarray:
    """Turns about x, then y, then z, (3, 3)."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def along(direction: np.ndarray) -> np.ndarray:
    """A rotation whose first row is the direction."""
    basis, _ = np.linalg.qr(np.stack([direction, [0, 0, 1.0], [0, 1.0, 0]], axis=1))
    return basis.T


def dot(left: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Vector (3,) or matrix (n, 3) times every point (3, *spatial).

    Not by BLAS, whose last bits may depend on the number of threads.
    """
    return np.einsum("...j,jxyz->...xyz", np.asarray(left, np.float32), points)


def blend(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Smooth minimum: the union of two shapes, rounded where they meet within `width` mm."""
    share = (0.5 + 0.5 * (b - a) / width).clip(0, 1)
    return b + (a - b) * share - width * share * (1 - share)


class Canvas:
    """Grey values and the deformed position of every voxel.

    Args:
        axes: voxel centres along x, y, z in mm, evenly spaced.
        waves: (count, 3, 3) in [-1, 1]: frequency, phase and push of each deforming wave.
        warp: largest push of a wave along an axis in mm.
        grey: of the empty canvas.
    """

    def __init__(self, axes: list[np.ndarray], waves: np.ndarray, warp: float, grey: float) -> None:
        self.axes, self.spacing = axes, float(axes[0][1] - axes[0][0])
        self.slack = warp * len(waves) + self.spacing
        points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
        self.points = points.copy()  # (3, X, Y, Z)
        for frequency, phase, push in waves.astype(np.float32):
            wave = np.sin(dot(frequency / 12, points) + np.pi * phase[0])
            self.points += np.float32(warp) * push[:, None, None, None] * wave
        self.grey = np.full(points.shape[1:], grey, np.float32)

    def ellipsoid(
        self, center: np.ndarray, semi_axes: np.ndarray, turn: np.ndarray, rim: float = 4.0
    ) -> Shape:
        """An ellipsoid whose axes are the rows of `turn`, in the voxels up to `rim` mm away."""
        reach = np.sqrt(((turn.T * semi_axes) ** 2).sum(1))
        box = self._around(center - reach, center + reach, rim)
        offset = self.points[:, *box] - _column(center)
        local = dot(turn / np.array(semi_axes)[:, None], offset)
        radius = np.sqrt((local**2).sum(0)) + np.float32(1e-6)
        slope = np.sqrt(((local / _column(semi_axes)) ** 2).sum(0)) + np.float32(1e-6)
        return box, radius * (radius - 1) / slope

    def tube(self, path: np.ndarray, rim: float = 4.0) -> Shape:
        """A tube along a chain of (x, y, z, radius)."""
        path = np.asarray(path, np.float32)
        low, high = (path[:, :3] - path[:, 3:]).min(0), (path[:, :3] + path[:, 3:]).max(0)
        box = self._around(low, high, rim)
        points, parts = self.points[:, *box], []
        for a, b in pairwise(path):
            offset, step = points - _column(a[:3]), b[:3] - a[:3]
            place = (dot(step, offset) / (step @ step)).clip(0, 1)
            offset -= _column(step) * place
            parts.append(np.sqrt((offset**2).sum(0)) - (a[3] + (b[3] - a[3]) * place))
        return box, np.minimum.reduce(parts)

    def whole(self, shape: Shape) -> np.ndarray:
        """The distance on the whole grid; far away it is 99."""
        distance = np.full(self.grey.shape, 99, np.float32)
        distance[shape[0]] = shape[1]
        return distance

    def paint(self, shape: Shape, grey: float | np.ndarray, share: float | np.ndarray = 1) -> None:
        """Grey inside the shape; a voxel on its border is mixed by the part it covers."""
        box, distance = shape
        cover = (0.5 - distance / np.float32(self.spacing)).clip(0, 1) * share
        self.grey[box] += cover * (grey - self.grey[box])

    def _around(self, low: np.ndarray, high: np.ndarray, rim: float) -> Box:
        """Voxels between two corners and `rim` mm beyond."""
        rim += self.slack
        ends = zip(self.axes, low, high, strict=True)
        return tuple(slice(*np.searchsorted(axis, (a - rim, b + rim))) for axis, a, b in ends)


def _column(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector, np.float32)[:, None, None, None]
