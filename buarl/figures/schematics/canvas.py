"""The sheet that schematics are drawn on: pictures, boxes, arrows and words, placed in inches.

A sheet is as wide as a slide, and nothing on it is written smaller than `SMALLEST` points: held
against the width that is what a lecture room can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from buarl.arguments import check_choice
from buarl.figures.draw import PALETTE, closed

SLIDE = (12.0, 6.75)  # inches, 16:9
SMALLEST, NORMAL, LARGE = 13, 15, 19  # points on a sheet 12 inches wide
INSIDE = 0.45  # how opaque a class is inside its border

Point = tuple[float, float]
ThemeName = Literal["light", "dark"]


@dataclass(frozen=True)
class Theme:
    """Colors of everything that is not data; the data's are those of `buarl.figures.draw`."""

    ground: str
    ink: str
    muted: str
    box: str
    labeled: str
    unlabeled: str
    labeled_band: str
    unlabeled_band: str


THEMES = {
    "light": Theme(
        ground="#FFFFFF",
        ink="#1C2430",
        muted="#59636F",
        box="#F3F5F8",
        labeled="#00785A",
        unlabeled="#9A5B00",
        labeled_band="#E6F3EE",
        unlabeled_band="#FBF1DF",
    ),
    "dark": Theme(
        ground="#12161C",
        ink="#F0F3F6",
        muted="#A9B4C0",
        box="#232A34",
        labeled="#4CCBA4",
        unlabeled="#F2B04A",
        labeled_band="#16302B",
        unlabeled_band="#332A18",
    ),
}


class Sheet:
    """One empty sheet, with its origin at the lower left and inches as its unit.

    Args:
        theme: "light" or "dark".
        transparent: Leave the ground clear, for a slide with a color of its own.
        size: Width and height in inches.
    Raises:
        ValueError: another theme.

    >>> sheet = Sheet("dark")
    >>> sheet.words((6, 3), "entropy").get_text()
    'entropy'
    """

    def __init__(
        self, theme: ThemeName = "light", transparent: bool = False, size: Point = SLIDE
    ) -> None:
        check_choice("theme", theme, tuple(THEMES))
        self.theme = THEMES[theme]
        self.figure: Figure = plt.figure(figsize=size)
        self.figure.patch.set(facecolor=self.theme.ground, alpha=0.0 if transparent else 1.0)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
        self.axes.set_axis_off()

    def done(self) -> Figure:
        """The finished figure, closed, so that a notebook shows it once."""
        return closed(self.figure)

    def words(self, at: Point, text: str, size: float = NORMAL, **style: Any):
        """Write text around a point; `style` is matplotlib's."""
        style = {"color": self.theme.ink, "ha": "center", "va": "center", **style}
        return self.axes.text(*at, text, fontsize=size, zorder=6, linespacing=1.25, **style)

    def picture(
        self, pixels: np.ndarray, at: Point, side: float, edge: str | None = None, width: float = 1
    ) -> None:
        """Lay a square picture, RGB (H, W, 3) in 0 to 1, around a point."""
        left, low = at[0] - side / 2, at[1] - side / 2
        place = (left, left + side, low, low + side)
        self.axes.imshow(pixels, extent=place, interpolation="nearest", zorder=3, aspect="auto")
        frame = {"edgecolor": edge or self.theme.muted, "linewidth": width, "fill": False}
        self.axes.add_patch(Rectangle((left, low), side, side, zorder=4, **frame))

    def box(self, at: Point, size: Point, text: str = "", **style: Any) -> None:
        """Draw a rounded box around a point, with text of `NORMAL` size inside.

        `style` may name face, edge, ink, width, rounding, order, line and font.
        """
        corner = at[0] - size[0] / 2, at[1] - size[1] / 2
        shape = f"round,pad=0,rounding_size={style.get('rounding', 0.12)}"
        patch = FancyBboxPatch(corner, *size, boxstyle=shape, zorder=style.get("order", 2))
        patch.set(
            facecolor=style.get("face", self.theme.box),
            edgecolor=style.get("edge", self.theme.ink),
            linewidth=style.get("width", 1.4),
            linestyle=style.get("line", "-"),
        )
        self.axes.add_patch(patch)
        if text:
            ink = style.get("ink", self.theme.ink)
            self.words(at, text, style.get("font", NORMAL), color=ink)

    def arrow(self, points: Sequence[Point], color: str | None = None, **style: Any) -> None:
        """Draw an arrow through points, with rounded corners and its head at the last one.

        `style` may name width, line and corner (the radius in inches).
        """
        color, radius = color or self.theme.ink, style.get("corner", 0.16)
        width, line = style.get("width", 1.8), style.get("line", "-")
        last = np.subtract(points[-1], points[-2])
        length = np.linalg.norm(last)
        neck = tuple(np.subtract(points[-1], last / length * min(0.14, length)))
        stem = _rounded([*points[:-1], neck], radius)
        look = {"linewidth": width, "linestyle": line, "zorder": 5}
        self.axes.add_patch(
            PathPatch(stem, fill=False, edgecolor=color, capstyle="butt", joinstyle="round", **look)
        )
        self.axes.add_patch(
            FancyArrowPatch(
                neck,
                points[-1],
                arrowstyle="-|>,head_length=0.5,head_width=0.28",
                mutation_scale=20,
                shrinkA=0,
                shrinkB=0,
                linewidth=0,
                facecolor=color,
                edgecolor="none",
                zorder=5,
            )
        )


def _rounded(points: Sequence[Point], radius: float) -> Path:
    """A path through points whose corners are rounded off."""
    corners, codes = [points[0]], [Path.MOVETO]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        into, out = (np.subtract(end, here) for end in (before, after))
        lengths = np.linalg.norm(into), np.linalg.norm(out)
        short = min(radius, *(length / 2 for length in lengths))
        corners += [here + into / lengths[0] * short, here, here + out / lengths[1] * short]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*map(tuple, corners), points[-1]], [*codes, Path.LINETO])


def gray(image: np.ndarray) -> np.ndarray:
    """An image (H, W) of any numbers as RGB (H, W, 3), darkest to brightest in 0 to 1.

    >>> gray(np.array([[2.0, 4.0]]))[0, 1].tolist()
    [1.0, 1.0, 1.0]
    """
    low, high = float(image.min()), float(image.max())
    return np.repeat(((image - low) / max(high - low, 1e-9))[..., None], 3, axis=2)


def classes(image: np.ndarray, label: np.ndarray, inside: float = INSIDE) -> np.ndarray:
    """An image with its classes in color: RGB (H, W, 3), borders in full color.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W), 0 to 3; 0 stays clear.
        inside: How opaque the color is inside a border, 0 to 1.

    >>> classes(np.zeros((3, 3)), np.ones((3, 3), int)).shape
    (3, 3, 3)
    """
    padded = np.pad(label, 1, mode="edge")
    near = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    border = np.any([side != label for side in near], axis=0)
    opaque = np.where(label == 0, 0, np.where(border, 0.95, inside))[..., None]
    colors = np.array([to_rgb(color) for color in PALETTE])[np.minimum(label, 3)]
    return (1 - opaque) * gray(image) + opaque * colors


def paint(pixels: np.ndarray, mask: np.ndarray, color: str, opacity: float = 0.9) -> np.ndarray:
    """RGB pixels (H, W, 3) with a color laid where a mask (H, W) is True.

    >>> paint(np.zeros((1, 2, 3)), np.array([[True, False]]), "#FF0000", 1).tolist()
    [[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    opaque = opacity * mask[..., None]
    return (1 - opaque) * pixels + opaque * np.array(to_rgb(color))


def pale(image: np.ndarray) -> np.ndarray:
    """An image (H, W) washed out, as a ground for masks: RGB (H, W, 3), 0.55 to 1.

    >>> pale(np.array([[0.0, 1.0]]))[0, :, 0].round(2).tolist()
    [0.55, 1.0]
    """
    return 0.55 + 0.45 * gray(image)


def faded(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """RGB pixels (H, W, 3) on white, as opaque as their weights (H, W) in 0 to 1.

    >>> faded(np.zeros((1, 2, 3)), np.array([[1.0, 0.0]]))[0, :, 0].tolist()
    [0.0, 1.0]
    """
    return 1 - weights[..., None] * (1 - pixels)


def mapped(values: np.ndarray, colormap: str = "cividis", norm: Any = None) -> np.ndarray:
    """A map of numbers (H, W) as RGB (H, W, 3); without a norm from 0 to the largest.

    >>> mapped(np.array([[0.0, 1.0]])).shape
    (1, 2, 3)
    """
    shown = norm(values) if norm else values / max(float(values.max()), 1e-9)
    return plt.get_cmap(colormap)(shown)[..., :3]
