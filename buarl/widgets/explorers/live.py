"""A figure that is redrawn fast: what stands still is painted once, then only artists that move."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, imsave
from matplotlib.patches import Patch
from matplotlib.text import Text

from buarl.figures.draw import PALETTE

DPI = 96  # of a common screen: one inch of the figure is one CSS inch in the page
CLASSES = PALETTE[1:]


class LiveView:
    """Base of the views: a figure, the artists that its `show` moves, and its read-outs.

    Subclasses make `figure`, list in `moving` every artist that `show` changes, in the order in
    which they are painted, and put their read-outs into `text`. This text lies below the figure:
    a saved picture grows to hold it (`bbox_inches="tight"`, as in notebooks), the live one leaves
    it to the page, where it is sharp, can be copied, and costs no time.
    """

    figure: Figure
    moving: Sequence[Artist]
    text: Text
    _background: object = None

    def png(self) -> bytes:
        """The figure as it stands, without the text."""
        if self._background is None:
            self.figure.set_dpi(DPI)
            self._canvas = FigureCanvasAgg(self.figure)
            for artist in self.moving:
                artist.set_animated(True)  # left out of a normal draw
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(self.figure.bbox)
            for artist in self.moving:
                artist.set_animated(False)  # so that `savefig` shows them
        self._canvas.restore_region(self._background)
        for artist in self.moving:
            self.figure.draw_artist(artist)
        pixels = np.asarray(self._canvas.buffer_rgba())
        buffer = io.BytesIO()
        imsave(buffer, pixels, format="png", pil_kwargs={"compress_level": 1})
        return buffer.getvalue()

    def static_png(self) -> bytes:
        """The figure with its text, for readers without a kernel."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
        return buffer.getvalue()


def text_below(figure: Figure) -> Text:
    """Where read-outs stand: below the figure, in columns."""
    return figure.text(0.005, -0.01, "", family="monospace", fontsize=8.5, va="top")


def panel(axes: Axes, title: str = "") -> AxesImage:
    """An empty picture in fixed axes, so that images of any shape need no new layout."""
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    blank = np.zeros((1, 1, 3), np.uint8)
    artist = axes.imshow(blank, interpolation="nearest", extent=(0, 1, 1, 0))
    axes.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
    return artist


def paint(artist: AxesImage, pixels: np.ndarray) -> None:
    """Show pixels, uint8 (H, W, 3), centred and as large as they fit."""
    artist.set_data(pixels)
    artist.set_extent(extent_of(pixels.shape))


def extent_of(shape: Sequence[int]) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of an image in a `panel`, in shares of its longer side."""
    height, width = (n / max(shape[:2]) for n in shape[:2])
    return (1 - width) / 2, (1 + width) / 2, (1 + height) / 2, (1 - height) / 2


def grey(image: np.ndarray) -> np.ndarray:
    """An image (H, W) from its own black to its own white, uint8 (H, W, 3)."""
    low, high = float(image.min()), float(image.max())
    shades = (image - low) / (high - low if high > low else 1) * 255
    return np.repeat(shades.astype(np.uint8)[..., None], 3, axis=2)


def heat(values: np.ndarray, highest: float) -> np.ndarray:
    """Values (H, W) from 0 to highest as cividis, uint8 (H, W, 3)."""
    return colormaps["cividis"](np.clip(values / highest, 0, 1), bytes=True)[..., :3]


def overlay(
    pixels: np.ndarray, codes: np.ndarray, colours: Sequence[str], opacity: float = 0.85
) -> np.ndarray:
    """Codes or a bool mask (H, W) in colours over pixels; 0 stays clear, 1 is the first colour."""
    table = np.array([to_rgb("black"), *map(to_rgb, colours)]) * 255
    codes = np.asarray(codes).astype(np.int64)
    mixed = (1 - opacity) * pixels + opacity * table[codes]
    return np.where((codes > 0)[..., None], mixed, pixels).astype(np.uint8)


def stripes(mask: np.ndarray, period: int = 4) -> np.ndarray:
    """The mask cut into diagonal stripes: a pattern for those who cannot tell the colours."""
    row, column = np.indices(mask.shape)
    return mask & ((row + column) % period < period // 2)


def legend(figure: Figure, colours: Mapping[str, str], left: float = 0.0) -> None:
    """What the colours mean, in one line at the lower edge."""
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(left, -0.01),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        handlelength=1,
        columnspacing=1.2,
    )


def class_colours(class_names: Sequence[str]) -> dict[str, str]:
    """Colour per foreground class."""
    return dict(zip(class_names[1:], CLASSES, strict=False))


def plane(array: np.ndarray, index: int) -> np.ndarray:
    """(H, W) as it is; of a volume (X, Y, Z) the plane with this index along the last axis."""
    return array if array.ndim == 2 else array[..., index]


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise a ValueError that counts what is not finite."""
    bad = np.size(values) - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values")
