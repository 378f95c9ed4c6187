"""One image at a percentile, as a picture and a line: the scrubber for paper, GitHub and tests."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from buarl.entropy import entropy_threshold, uncertain_mask
from buarl.evaluation.errors import error_capture
from buarl.figures.draw import BOTH, ERROR, UNCERTAIN, WIDTH, draw_labels, draw_mask

PERCENTILES = (50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 99.5)
"""Where the lessons read it."""


class Reading(NamedTuple):
    """What a percentile does to one image.

    Attributes:
        mask: bool (H, W), True where the image counts as uncertain.
        threshold: In nats.
        share: Marked pixels as a share of all pixels, 0-1.
        caught: Marked errors as a share of all errors, 0-1; NaN if there are none.
    """

    mask: np.ndarray
    threshold: float
    share: float
    caught: float

    def text(self) -> str:
        """Say the read-outs in one line."""
        caught = "no errors" if np.isnan(self.caught) else f"{100 * self.caught:.1f} % of errors"
        return f"H > {self.threshold:.3f} nats marks {100 * self.share:.1f} % of pixels, {caught}"


def read_threshold(error: np.ndarray, entropy: np.ndarray, percentile: float) -> Reading:
    """Compute the mask and the read-outs of one image at a percentile.

    Args:
        error: bool (H, W), True where prediction and label differ.
        entropy: float (H, W), nats.
        percentile: Cut in percent, see `buarl.entropy.uncertain_mask`.

    >>> entropy = np.arange(100.0).reshape(10, 10) / 100
    >>> read_threshold(entropy > 0.9, entropy, 95).text()
    'H > 0.940 nats marks 5.0 % of pixels, 55.6 % of errors'
    """
    batch = torch.from_numpy(np.ascontiguousarray(entropy))[None]  # (1, H, W)
    capture = error_capture(torch.from_numpy(error)[None], batch, percentile)
    mask = uncertain_mask(batch, percentile)[0].numpy()
    return Reading(mask, entropy_threshold(batch, percentile).item(), capture.share, capture.recall)


class ThresholdView:
    """One figure whose artists are moved, never drawn anew: errors, mask, entropies.

    Args:
        image: (H, W), any numbers.
        label: Whole numbers (H, W).
        probs: float (C, H, W), sums to 1 over classes.
        entropy: float (H, W), nats.
        percentile: What to show first, percent.
    """

    def __init__(
        self,
        image: np.ndarray,
        label: np.ndarray,
        probs: np.ndarray,
        entropy: np.ndarray,
        percentile: float = 95,
    ) -> None:
        self.error, self.entropy = probs.argmax(0) != label, entropy
        self.figure = Figure(figsize=(WIDTH, 3), layout="constrained")
        errors, marks, spread = self.figure.subplots(1, 3)
        draw_labels(errors, image, None)
        draw_mask(errors, self.error, ERROR)
        errors.set_title("errors", fontsize=9)
        draw_labels(marks, image, None)
        self.marks = marks.imshow(  # 0 clear, 1 uncertain and correct, 2 uncertain and wrong
            np.zeros(entropy.shape), ListedColormap([UNCERTAIN, BOTH]), vmin=1, vmax=2, alpha=0.85
        )
        marks.set_title("uncertain (yellow: and wrong)", fontsize=9)
        spread.hist(entropy.ravel(), bins=40, color="#999999", log=True)
        spread.set_title("entropies (nats), pixels", fontsize=9)
        self.line = spread.axvline(0, color=UNCERTAIN)
        self.title = self.figure.suptitle("", fontsize=10)
        self.show(percentile)

    def show(self, percentile: float) -> Reading:
        """Move the artists to another percentile, and return what it does."""
        reading = read_threshold(self.error, self.entropy, percentile)
        codes = reading.mask + (reading.mask & self.error).astype(np.uint8)
        self.marks.set_data(np.ma.masked_equal(codes, 0))
        self.line.set_xdata([reading.threshold, reading.threshold])
        self.title.set_text(f"q = {percentile:g}: {reading.text()}")
        return reading

    def png(self) -> bytes:
        """Return the figure as it stands, as PNG."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()
