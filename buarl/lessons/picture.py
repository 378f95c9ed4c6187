"""A figure with words for readers who do not see it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

DPI, PIXELS_PER_INCH = 120, 96  # drawn finer than shown, for screens of high resolution
TALLEST = 6.5  # inches, what a laptop's screen shows of a notebook without scrolling


class Picture:
    """A figure as a notebook shows it, with alternative text.

    Args:
        figure: At most 6.5 inches high, so that it fits a screen.
        alt: What the picture shows and what to see in it, one or two sentences.
    Raises:
        ValueError: a figure too high for a screen, or an `alt` of fewer than 20 letters.
    """

    def __init__(self, figure: Figure, alt: str) -> None:
        if figure.get_size_inches()[1] > TALLEST:
            height = figure.get_size_inches()[1]
            raise ValueError(f"a picture may be {TALLEST} inches high, this one has {height:.1f}")
        if len(alt) < 20:
            raise ValueError(f"alt must say what is to be seen, got {alt!r}")
        self.figure, self.alt = figure, alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """PNG and words, with the words as the picture's alternative text."""
        drawn = BytesIO()
        self.figure.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight")
        data = {"image/png": base64.b64encode(drawn.getvalue()).decode(), "text/plain": self.alt}
        width = round(self.figure.get_size_inches()[0] * PIXELS_PER_INCH)
        return data, {"image/png": {"alt": self.alt, "width": width}}


def picture(figure: Figure, alt: str) -> Picture:
    """Show a figure with alternative text; the last line of a notebook's cell.

    Args:
        figure: At most 6.5 inches high.
        alt: What the picture shows and what to see in it, one or two sentences.
    Returns:
        What a notebook shows.

    >>> from matplotlib.figure import Figure
    >>> picture(Figure(figsize=(4, 3)), alt="An empty square, with nothing to see in it.").alt
    'An empty square, with nothing to see in it.'
    """
    return Picture(figure, alt)
