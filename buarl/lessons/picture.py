"""A figure with words for readers who do not see it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

DPI, PIXELS_PER_INCH = 120, 96  # drawn finer than shown, for screens of high resolution
WIDEST, TALLEST = 9.0, 6.5  # inches, what a notebook on a laptop shows without scrolling


class Picture:
    """A figure as a notebook shows it, with alternative text.

    Args:
        figure: Shown at most 9 inches wide; then it may be 6.5 inches high, so it fits a screen.
        alt: What the picture shows and what to see in it, one or two sentences.
    Raises:
        ValueError: a figure too high for a screen, or an `alt` of fewer than 20 letters.
    """

    def __init__(self, figure: Figure, alt: str) -> None:
        width, height = figure.get_size_inches()
        self.width = min(width, WIDEST)
        if (shown := height * self.width / width) > TALLEST:
            raise ValueError(f"a picture may be {TALLEST} inches high, this one has {shown:.1f}")
        if len(alt) < 20:
            raise ValueError(f"alt must say what is to be seen, got {alt!r}")
        self.figure, self.alt = figure, alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """PNG and words, with the words as the picture's alternative text."""
        drawn = BytesIO()
        self.figure.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight")
        data = {"image/png": base64.b64encode(drawn.getvalue()).decode(), "text/plain": self.alt}
        width = round(self.width * PIXELS_PER_INCH)
        return data, {"image/png": {"alt": self.alt, "width": width}}


def picture(figure: Figure, alt: str) -> Picture:
    """Show a figure with alternative text; the last line of a notebook's cell.

    Args:
        figure: At most 6.5 inches high where it is 9 inches wide.
        alt: What the picture shows and what to see in it, one or two sentences.
    Returns:
        What a notebook shows.

    >>> from matplotlib.figure import Figure
    >>> picture(Figure(figsize=(4, 3)), alt="An empty square, with nothing to see in it.").alt
    'An empty square, with nothing to see in it.'
    """
    return Picture(figure, alt)
