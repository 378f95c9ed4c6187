"""Pictures for a page: charts as SVG in the page's own ink, slices as PNG with errors outlined."""

from __future__ import annotations

import base64
import io
import re

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.spines import Spine
from matplotlib.text import Text

from buarl.figures.draw import ERROR, PALETTE

INK = "#010203"  # stands for the color of the text around the picture
ZOOM = 192  # pixels that a picture has across, at least: outlines stay thin


def inline_svg(figure: Figure, name: str) -> str:
    """A chart as SVG that stands inside a page: transparent, and its text in the page's color.

    Args:
        figure: Drawn with lines and bars; its frame and texts are recolored.
        name: What a screen reader says; no mark-up.
    Returns:
        One `svg` element, as wide as the page lets it be.
    """
    for text in figure.findobj(Text):
        text.set_color(INK)
    for spine in figure.findobj(Spine):
        spine.set_edgecolor(INK)
    for axes in figure.axes:
        axes.tick_params(color=INK)
        axes.set_facecolor("none")
    buffer = io.StringIO()
    look = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}
    with matplotlib.rc_context(look):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    said = name.translate({ord(c): " " for c in '<>&"'})
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{said}" ', 1)
    return svg.replace(INK, "currentColor")


def slice_picture(
    image: np.ndarray,
    label: np.ndarray | None = None,
    error: np.ndarray | None = None,
    opacity: float = 0.45,
) -> np.ndarray:
    """A slice in gray with classes in color and every region of errors outlined.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W), 0 to C-1, drawn in the colors of the classes, or None.
        error: bool (H, W), whose regions get a thin outline, or None.
        opacity: Of the colors, 0-1.
    Returns:
        uint8 (H * n, W * n, 3), every pixel n times as wide, so that outlines stay thin.

    >>> wrong = np.eye(64, dtype=bool)
    >>> slice_picture(np.zeros((64, 64)), error=wrong).shape
    (192, 192, 3)
    """
    low, high = float(image.min()), float(image.max())
    gray = (image - low) / ((high - low) or 1)
    pixels = np.repeat(gray[..., None], 3, -1)
    if label is not None:
        colors = np.array([to_rgb(PALETTE[k % len(PALETTE)]) for k in range(int(label.max()) + 1)])
        inside = (label > 0)[..., None]
        pixels = np.where(inside, (1 - opacity) * pixels + opacity * colors[label], pixels)
    times = max(1, -(-ZOOM // max(image.shape)))
    pixels = _larger(pixels, times)
    if error is not None:
        pixels[_outline(_larger(error, times))] = to_rgb(ERROR)
    return np.round(255 * pixels).astype(np.uint8)


def entropy_picture(entropy: np.ndarray, highest: float) -> np.ndarray:
    """An entropy map in matplotlib's cividis, uint8 (H * n, W * n, 3), as `slice_picture`.

    Args:
        entropy: (H, W), from 0. highest: What is drawn brightest.
    """
    times = max(1, -(-ZOOM // max(entropy.shape)))
    colors = matplotlib.colormaps["cividis"](entropy / highest, bytes=True)[..., :3]
    return _larger(colors, times)


def png_uri(pixels: np.ndarray) -> str:
    """A picture uint8 (H, W, 3) as the address of an `img` element that loads nothing."""
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", pil_kwargs={"optimize": True})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _larger(array: np.ndarray, times: int) -> np.ndarray:
    return array.repeat(times, 0).repeat(times, 1)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that have a neighbor outside it."""
    padded = np.pad(mask, 1)
    center = padded[1:-1, 1:-1]
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return center & ~np.logical_and.reduce(around)
