"""Soft-edged ellipsoids and tubes on a deformed voxel grid: the brush of the 3-D phantom."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

Box = tuple[slice, slice, slice]
Shape = tuple[Box, np.ndarray]  # a part of the grid, signed distance there: mm, negative inside


def rotation(degrees: np.ndarray) -> np.ndarray:
    """Make the matrix (3, 3) that turns about x, then y, then z.

    Args:
        degrees: The three angles.

    >>> rotation(np.array([0, 0, 90])).round()
    array([[ 0., -1.,  0.],
           [ 1.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def along(direction: np.ndarray) -> np.ndarray:
    """Make a rotation (3, 3) whose first row is a direction.

    Args:
        direction: (3,), of any length.
    """
    basis, _ = np.linalg.qr(np.stack([direction, [0, 0, 1.0], [0, 1.0, 0]], axis=1))
    return basis.T


def dot(left: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Multiply a vector (3,) or matrix (n, 3) with every point of (3, X, Y, Z).

    Not by BLAS, whose last bits may depend on the number of threads.
    """
    return np.einsum("...j,jxyz->...xyz", np.asarray(left, np.float32), points)


def blend(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """Unite two shapes by a smooth minimum.

    Args:
        a: Signed distances to the first shape, mm.
        b: Signed distances to the second.
        width: Where they differ by less than this many mm, the edge is rounded.
    """
    share = (0.5 + 0.5 * (b - a) / width).clip(0, 1)
    return b + (a - b) * share - width * share * (1 - share)


class Canvas:
    """The gray value and the deformed position of every voxel.

    Args:
        axes: voxel centers along x, y, z in mm, evenly spaced.
        waves: (count, 3, 3) in [-1, 1]: frequency, phase and push of each deforming wave.
        warp: largest push of a wave along an axis in mm.
        gray: of the empty canvas.
    """

    def __init__(self, axes: list[np.ndarray], waves: np.ndarray, warp: float, gray: float) -> None:
        self.axes, self.spacing = axes, float(axes[0][1] - axes[0][0])
        self.slack = warp * len(waves) + self.spacing
        points = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
        self.points = points.copy()  # (3, X, Y, Z)
        for frequency, phase, push in waves.astype(np.float32):
            wave = np.sin(dot(frequency / 12, points) + np.pi * phase[0])
            self.points += np.float32(warp) * push[:, None, None, None] * wave
        self.gray = np.full(points.shape[1:], gray, np.float32)

    def ellipsoid(
        self, center: np.ndarray, semi_axes: np.ndarray, turn: np.ndarray, rim: float = 4.0
    ) -> Shape:
        """Shape an ellipsoid.

        Args:
            center: (3,), mm.
            semi_axes: (3,), mm.
            turn: (3, 3); its rows are the directions of the axes.
            rim: Distances are computed up to this many mm around it.
        """
        reach = np.sqrt(((turn.T * semi_axes) ** 2).sum(1))
        box = self._around(center - reach, center + reach, rim)
        offset = self.points[:, *box] - _column(center)
        local = dot(turn / np.array(semi_axes)[:, None], offset)
        radius = np.sqrt((local**2).sum(0)) + np.float32(1e-6)
        slope = np.sqrt(((local / _column(semi_axes)) ** 2).sum(0)) + np.float32(1e-6)
        return box, radius * (radius - 1) / slope

    def tube(self, path: np.ndarray, rim: float = 4.0) -> Shape:
        """Shape a tube along a chain of points.

        Args:
            path: (points, 4): x, y, z and the radius there, mm.
            rim: Distances are computed up to this many mm around it.
        """
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
        """Return the distances to a shape on the whole grid; far away from it they are 99."""
        distance = np.full(self.gray.shape, 99, np.float32)
        distance[shape[0]] = shape[1]
        return distance

    def paint(self, shape: Shape, gray: float | np.ndarray, share: float | np.ndarray = 1) -> None:
        """Paint a shape; a voxel on its border is mixed by the part that the shape covers.

        Args:
            shape: What to paint.
            gray: The gray value, one or a map of the shape's box.
            share: How much of it, 0-1, one or a map of the box.
        """
        box, distance = shape
        cover = (0.5 - distance / np.float32(self.spacing)).clip(0, 1) * share
        self.gray[box] += cover * (gray - self.gray[box])

    def _around(self, low: np.ndarray, high: np.ndarray, rim: float) -> Box:
        """Voxels between two corners and `rim` mm beyond."""
        rim += self.slack
        ends = zip(self.axes, low, high, strict=True)
        return tuple(slice(*np.searchsorted(axis, (a - rim, b + rim))) for axis, a, b in ends)


def _column(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector, np.float32)[:, None, None, None]
