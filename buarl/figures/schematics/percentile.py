"""The percentile cut of Eq. 4: from a map, over a histogram, to a mask."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from buarl.arguments import check_number
from buarl.figures.draw import UNCERTAIN
from buarl.figures.schematics.canvas import (
    LARGE,
    NORMAL,
    SMALLEST,
    Sheet,
    ThemeName,
    mapped,
    paint,
    pale,
)
from buarl.figures.schematics.scene import Scene, phantom_scenes

SIZE = (12.0, 4.7)
SIDE, ROW, BINS = 3.0, 2.42, 40


def percentile_cut(
    percentile: float = 95,
    theme: ThemeName = "light",
    transparent: bool = False,
    scene: Scene | None = None,
) -> Figure:
    """Draw how a percentile turns an entropy map into a mask (uses Eq. 4).

    Left the entropy of every pixel, in the middle how often each entropy occurs, with the
    threshold at the percentile, right the pixels above it. Moving the percentile moves the line,
    and the share of marked pixels stays what was asked for, however sure the network is.

    Args:
        percentile: q in percent, 0 to 100.
        theme: "light" or "dark".
        transparent: Leave the ground clear.
        scene: A slice with a prediction; None takes one of the phantom.
    Returns:
        A closed figure, 12 by 4.7 inches.
    Raises:
        ValueError: a percentile outside 0 to 100.

    >>> figure = percentile_cut(99)
    >>> [text.get_text() for text in figure.axes[0].texts if "mask" in text.get_text()]
    ['mask $M$: 1 % of the pixels']
    """
    check_number("percentile", percentile, 0, 100)
    scene = scene or phantom_scenes(1)[0]
    sheet = Sheet(theme, transparent, SIZE)
    mask, top = scene.uncertain(percentile), ROW + SIDE / 2 + 0.2
    left, right = 1.8, 10.2
    sheet.picture(mapped(scene.entropy), (left, ROW), SIDE)
    sheet.words((left, top), "entropy $U$ of every pixel", NORMAL, va="baseline")
    marked = paint(pale(scene.image), mask, UNCERTAIN, 1)
    sheet.picture(marked, (right, ROW), SIDE)
    share = f"mask $M$: {100 * mask.mean():.2g} % of the pixels"
    sheet.words((right, top), share, NORMAL, va="baseline")
    threshold = _histogram(sheet, scene, percentile)
    muted, low = sheet.theme.muted, ROW - SIDE / 2 - 0.42
    sheet.words((left, low), "dark: sure, bright: unsure", SMALLEST, color=muted, va="baseline")
    rule = f"$M = 1$ where $U > \\mu = {threshold:.2f}$ nats"
    sheet.words((right, low), rule, SMALLEST, color=muted, va="baseline")
    for start, end in ((left + SIDE / 2, 3.92), (8.22, right - SIDE / 2)):
        sheet.arrow([(start + 0.08, ROW), (end - 0.08, ROW)])
    return sheet.done()


def _histogram(sheet: Sheet, scene: Scene, percentile: float) -> float:
    """Draw how often each entropy occurs, and return the threshold in nats."""
    theme, entropy = sheet.theme, scene.entropy.ravel()
    mask = scene.uncertain(percentile).ravel()
    threshold = float(entropy[~mask].max()) if (~mask).any() else 0.0
    width, height = SIZE
    axes = sheet.figure.add_axes((4.78 / width, 0.92 / height, 3.36 / width, 3.0 / height))
    highest = max(float(entropy.max()), 1e-9)
    below = round(BINS * threshold / highest)  # so that one edge of a bin is the threshold
    halves = np.linspace(0, threshold, below + 1), np.linspace(threshold, highest, BINS - below + 1)
    edges = np.unique(np.concatenate(halves))
    axes.hist([entropy[~mask], entropy[mask]], edges, color=(theme.muted, UNCERTAIN), stacked=True)
    axes.axvline(threshold, color=theme.ink, linewidth=2.2)
    axes.set(yscale="log", xlim=(-0.01, 1.02 * highest))
    axes.set_ylim(0.7, 2 * axes.get_ylim()[1])
    words, place = f"$\\mu$: percentile {percentile:g}", axes.get_xaxis_transform()
    style = {"fontsize": LARGE - 3, "color": theme.ink, "ha": "center", "va": "baseline"}
    axes.text(threshold, 1.04, words, transform=place, **style)
    axes.set_xlabel("entropy $U$ (nats)", fontsize=NORMAL, color=theme.ink)
    axes.set_ylabel("pixels", fontsize=NORMAL, color=theme.ink)
    axes.tick_params(labelsize=SMALLEST, colors=theme.ink)
    axes.patch.set_alpha(0)
    for name, spine in axes.spines.items():
        spine.set(visible=name in ("left", "bottom"), color=theme.muted)
    return threshold
