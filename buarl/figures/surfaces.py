"""Fig. 4: an organ in a volume, as a slice and as a surface, for several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LightSource, to_rgb
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy.ndimage import distance_transform_edt, gaussian_filter

from buarl.figures.draw import (
    ERROR,
    PALETTE,
    WIDTH,
    class_legend,
    closed,
    draw_labels,
    draw_outline,
    to_slice,
)

FAR = 2.0  # voxels between a surface and the true one beyond which it is drawn as wrong
VIEW = {"elev": 18, "azim": -60}  # degrees
SMOOTH = 0.7  # voxels, against the steps of the grid
LIGHT = LightSource(azdeg=300, altdeg=50)


def volume_predictions(
    image: np.ndarray,
    columns: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
) -> Figure:
    """Fig. 4: of every method the middle slice with its errors outlined, and the surface below.

    Args:
        image: (X, Y, Z), any numbers.
        columns: Per title of a method its label map, whole numbers (X, Y, Z).
        class_names: Background first, for the legend.
        truth: The true label, whole numbers (X, Y, Z); a surface is drawn as wrong where it lies
            more than 2 voxels from the true one.
        spacing: Size of a voxel in mm per axis; None draws cubes.
    Returns:
        A closed figure.
    Raises:
        ModuleNotFoundError: scikit-image is not there; the message says how to install it.
        ValueError: label maps of another shape than the image.
    """
    for title, labels in {**columns, "truth": truth}.items():
        if labels.shape != image.shape:
            raise ValueError(f"{title}: label map must be {image.shape}, got {labels.shape}")
    count = len(columns)
    figure = plt.figure(figsize=(WIDTH, 2 * WIDTH / count + 0.6), layout="constrained")
    for number, (title, labels) in enumerate(columns.items(), start=1):
        upper = figure.add_subplot(2, count, number)
        draw_labels(upper, to_slice(image), to_slice(labels))
        draw_outline(upper, to_slice(labels) != to_slice(truth))
        upper.set_title(title, fontsize=9)
        lower = figure.add_subplot(2, count, count + number, projection="3d")
        _draw_surface(lower, labels, truth, spacing or (1.0, 1.0, 1.0))
    class_legend(figure, class_names, errors=True)
    return closed(figure)


def surface(
    mask: np.ndarray, spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """Triangles around a mask, by marching cubes of scikit-image.

    Args:
        mask: bool (X, Y, Z).
        spacing: Size of a voxel per axis.
    Returns:
        Corners float (V, 3) in the unit of the spacing, and triangles int (T, 3) of their numbers;
        none of an empty mask.
    Raises:
        ModuleNotFoundError: scikit-image is not there.

    >>> ball = np.linalg.norm(np.indices((20, 20, 20)) - 10, axis=0) < 6
    >>> corners, triangles = surface(ball)
    >>> bool(abs(np.linalg.norm(corners - 10, axis=1) - 6).max() < 1)
    True
    """
    try:
        from skimage.measure import marching_cubes
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "surfaces need scikit-image: pip install 'buarl[surfaces]'"
        ) from error
    if not mask.any():
        return np.zeros((0, 3)), np.zeros((0, 3), int)
    soft = gaussian_filter(np.pad(mask, 3).astype(np.float32), SMOOTH)
    level = min(0.5, 0.9 * float(soft.max()))  # a speck stays visible
    corners, triangles, _, _ = marching_cubes(soft, level, spacing=tuple(spacing))
    return corners - 3 * np.asarray(spacing), triangles


def _draw_surface(
    axes: plt.Axes, labels: np.ndarray, truth: np.ndarray, spacing: Sequence[float]
) -> None:
    """All foreground classes, lit from above, in the error's color where far from the truth."""
    for number in np.unique(labels[labels > 0]):
        corners, triangles = surface(labels == number, spacing)
        off = _from_surface(truth == number)
        nearest = np.round(corners / spacing).astype(int)
        nearest = np.clip(nearest, 0, np.array(labels.shape) - 1)
        wrong = off[tuple(nearest.T)][triangles].mean(1) > FAR
        colors = np.where(wrong[:, None], to_rgb(ERROR), to_rgb(PALETTE[min(number, 3)]))
        lit = _lit(corners[triangles])[:, None]
        shape = Poly3DCollection(corners[triangles], facecolors=colors * lit, edgecolors="none")
        shape.set_antialiased(False)
        axes.add_collection3d(shape)
    if not labels.any():
        axes.text2D(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", fontsize=9)
    size = np.array(truth.shape) * spacing
    inside = np.argwhere(truth > 0) * spacing
    low, high = (inside.min(0), inside.max(0)) if len(inside) else (0 * size, size)
    margin = 0.08 * (high - low).max()
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, size)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_box_aspect(high - low, zoom=1.1)
    axes.view_init(**VIEW)
    axes.set_axis_off()


def _lit(corners: np.ndarray) -> np.ndarray:
    """How bright each triangle (T, 3, 3) is, 0.35 to 1."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return 0.35 + 0.65 * np.clip(np.abs(normals @ LIGHT.direction), 0, 1)


def _from_surface(mask: np.ndarray) -> np.ndarray:
    """Distance of every voxel from the border of a mask, in voxels; infinite without a border."""
    if not mask.any() or mask.all():
        return np.full(mask.shape, np.inf)
    return np.where(mask, distance_transform_edt(mask), distance_transform_edt(~mask))
