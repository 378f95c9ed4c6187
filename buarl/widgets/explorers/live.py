"""What an explorer shows, as plain data: pictures as pixels, legend, curves, tables and lines.

The browser draws it at any size and in the colors of the page; `still` draws the same for paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from buarl.figures.draw import PALETTE
from buarl.widgets.still import Chart, Panel, Table, draw

CLASSES = PALETTE[1:]
INSIDE = 0.55
"""How opaque a class is inside its border; the border itself is opaque."""


class LiveView:
    """Base of the views: what they show at the moment. Their `show` replaces it.

    panels: Pictures, left to right. legend: What colors mean, per name. chart: Curves beside the
    pictures, or None. tables, lines: Read-outs.
    """

    panels: Sequence[Panel] = ()
    legend: dict[str, str]
    chart: Chart | None = None
    tables: Sequence[Table] = ()
    lines: Sequence[str] = ()

    @property
    def text(self) -> str:
        """All read-outs as text in columns."""
        return "\n\n".join([*(table.text() for table in self.tables), "\n".join(self.lines)])

    def figure(self) -> Figure:
        """The same on paper, for readers without a kernel."""
        return draw(self.panels, self.legend, self.chart, self.text)


class Pixels(NamedTuple):
    """The panels of a view for the browser: sizes and titles, and all their bytes in order."""

    heads: list[dict]
    data: bytes

    @classmethod
    def of(cls, panels: Sequence[Panel]) -> Pixels:
        """Of the panels of a view."""
        heads = [
            {"title": panel.title, "size": panel.pixels.shape[:2], "frame": panel.frame}
            for panel in panels
        ]
        return cls(heads, b"".join(panel.pixels.tobytes() for panel in panels))


def grey(image: np.ndarray) -> np.ndarray:
    """An image (H, W) from its own black to its own white, uint8 (H, W, 3)."""
    low, high = float(image.min()), float(image.max())
    shades = (image - low) / (high - low if high > low else 1) * 255
    return np.repeat(shades.astype(np.uint8)[..., None], 3, axis=2)


def heat(values: np.ndarray, highest: float) -> np.ndarray:
    """Values (H, W) from 0 to highest as cividis, uint8 (H, W, 3)."""
    return colormaps["cividis"](np.clip(values / highest, 0, 1), bytes=True)[..., :3]


def overlay(
    pixels: np.ndarray, codes: np.ndarray, colors: Sequence[str], opacity: float = 0.85
) -> np.ndarray:
    """Codes or a bool mask (H, W) in colors over pixels; 0 stays clear, 1 is the first color."""
    table = np.array([to_rgb("black"), *map(to_rgb, colors)]) * 255
    codes = np.asarray(codes).astype(np.int64)
    mixed = (1 - opacity) * pixels + opacity * table[codes]
    return np.where((codes > 0)[..., None], mixed.round(), pixels).astype(np.uint8)


def class_overlay(
    pixels: np.ndarray, codes: np.ndarray, colors: Sequence[str] = CLASSES
) -> np.ndarray:
    """Classes (H, W) over pixels: clear inside, in full color along their borders.

    A border in full color cannot take on the shade of what lies beside it, whoever looks.
    """
    inside = overlay(pixels, codes, colors, INSIDE)
    return overlay(inside, np.where(borders(codes), codes, 0), colors, 1.0)


def borders(codes: np.ndarray) -> np.ndarray:
    """Where one of the four neighbors has another code, bool (H, W).

    >>> borders(np.array([[0, 0, 1, 1]])).astype(int)
    array([[0, 1, 1, 0]])
    """
    found = np.zeros(codes.shape, bool)
    down, right = codes[1:] != codes[:-1], codes[:, 1:] != codes[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= right
    found[:, :-1] |= right
    return found


def stripes(mask: np.ndarray, period: int = 4) -> np.ndarray:
    """The mask cut into diagonal stripes: a pattern for those who cannot tell the colors."""
    row, column = np.indices(mask.shape)
    return mask & ((row + column) % period < period // 2)


def class_colors(class_names: Sequence[str]) -> dict[str, str]:
    """Color per foreground class."""
    return dict(zip(class_names[1:], CLASSES, strict=False))


def plane(array: np.ndarray, index: int) -> np.ndarray:
    """(H, W) as it is; of a volume (X, Y, Z) the plane with this index along the last axis."""
    return array if array.ndim == 2 else array[..., index]


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise a ValueError that counts what is not finite."""
    bad = np.size(values) - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values")
