"""Fig. 2 of the paper, drawn by code: two streams, two networks, two regions, one loss."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from buarl.figures.draw import UNCERTAIN
from buarl.figures.schematics.canvas import (
    NORMAL,
    SMALLEST,
    Sheet,
    ThemeName,
    classes,
    faded,
    gray,
    mapped,
    paint,
    pale,
)
from buarl.figures.schematics.scene import Scene, phantom_scenes

INPUT, NETWORK, FIRST, STEP, LOSS = 0.93, 2.78, 4.78, 1.5, 10.95  # columns, inches
TOP, MIDDLE, BOTTOM = 5.2, 3.3, 1.32  # rows
SIDE, SMALL, WIDE = 1.16, 1.0, 1.5  # of pictures, and of a network's box
LABELED_Q, UNLABELED_Q = 95, 99  # percentiles of the paper on ACDC
FADED = 0.35  # opacity of what weighs less


def architecture(
    theme: ThemeName = "light",
    transparent: bool = False,
    labeled: Scene | None = None,
    unlabeled: Scene | None = None,
) -> Figure:
    """Draw the method on one sheet, the paper's Fig. 2, with the number of every equation.

    Labeled images go through the student; the entropy of its prediction marks uncertain voxels,
    and URL weighs them up. Unlabeled images go through both networks; the entropy of the
    teacher's prediction marks uncertain voxels, and CRL weighs them down in the student's loss.
    Gradients move the student, and the teacher follows it as a moving average.

    Paper note: the print sends labeled images through the teacher. Here the student learns from
    both streams, as in the methods that the paper builds on, see `buarl.methods.base`.

    Args:
        theme: "light" or "dark".
        transparent: Leave the ground clear.
        labeled: A slice with its label and a prediction; None takes one of the phantom.
        unlabeled: Another one, whose label is not shown.
    Returns:
        A closed figure, 12 by 6.75 inches.

    >>> architecture().get_size_inches().tolist()
    [12.0, 6.75]
    """
    if labeled is None or unlabeled is None:
        first, second = phantom_scenes(2)
        labeled, unlabeled = labeled or first, unlabeled or second
    sheet = Sheet(theme, transparent)
    _bands(sheet)
    _networks(sheet, labeled, unlabeled)
    _stream(sheet, labeled, TOP, LABELED_Q, sheet.theme.labeled)
    _stream(sheet, unlabeled, BOTTOM, UNLABELED_Q, sheet.theme.unlabeled)
    _losses(sheet, unlabeled)
    return sheet.done()


def _bands(sheet: Sheet) -> None:
    theme = sheet.theme
    for low, high, color in ((4.2, 6.3, theme.labeled_band), (0.2, 3.95, theme.unlabeled_band)):
        size = 11.76, high - low
        sheet.box((6, (low + high) / 2), size, face=color, edge="none", order=0, rounding=0.2)


def _networks(sheet: Sheet, labeled: Scene, unlabeled: Scene) -> None:
    """Inputs, student and teacher, and the moving average between them."""
    theme, half = sheet.theme, SIDE / 2
    low = (MIDDLE + BOTTOM) / 2
    inputs = (
        (labeled, TOP, theme.labeled, "labeled $X^l$"),
        (unlabeled, low, theme.unlabeled, "unlabeled $X^u$"),
    )
    for scene, row, color, name in inputs:
        sheet.picture(gray(scene.image), (INPUT, row), SIDE, color, 2.5)
        at = INPUT, row + half + 0.12
        sheet.words(at, name, SMALLEST, color=color, weight="bold", va="baseline")
    start, end = INPUT + half, NETWORK - WIDE / 2
    sheet.arrow([(start, TOP), (end, TOP)], theme.labeled)
    turn = (start + end) / 2 - 0.05
    for row in (MIDDLE, BOTTOM):
        sheet.arrow([(start, low), (turn, low), (turn, row), (end, row)], theme.unlabeled)
    center, tall = (TOP + MIDDLE) / 2, TOP - MIDDLE + 1.1
    sheet.box((NETWORK, center), (WIDE, tall), width=2.2)
    sheet.words((NETWORK, center + 0.15), "student $F_s$", NORMAL, weight="bold")
    sheet.words((NETWORK, center - 0.17), "Eq. 1", SMALLEST, color=theme.muted)
    sheet.box((NETWORK, BOTTOM), (WIDE, 1.1), width=2.2, line=(0, (4, 2)))
    sheet.words((NETWORK, BOTTOM), "teacher $F_t$", NORMAL, weight="bold")
    below, above = center - tall / 2, BOTTOM + 0.55
    sheet.arrow([(NETWORK, below), (NETWORK, above)], line=(0, (2, 1.2)))
    sheet.words((NETWORK + 0.14, (below + above) / 2), "EMA, Eq. 10", SMALLEST, ha="left")


def _stream(sheet: Sheet, scene: Scene, row: float, percentile: float, color: str) -> None:
    """Prediction, entropy, mask and what it weighs, from left to right."""
    labeled = percentile == LABELED_Q
    mask, half = scene.uncertain(percentile), SIDE / 2
    target = classes(scene.image, scene.label if labeled else scene.prediction)
    weights = np.where(mask == labeled, 1.0, FADED)  # URL or CRL; the opacity stands for them
    columns = (
        (
            classes(scene.image, scene.prediction),
            "prediction $P^l$" if labeled else "pseudo-label $Y^u$",
            "Eq. 2",
        ),
        (mapped(scene.entropy), "entropy $U$", "Eq. 3"),
        (
            paint(pale(scene.image), mask, UNCERTAIN, 1),
            "mask $M$" if labeled else "mask $M\\,^{\\prime}$",
            f"Eq. 4, q = {percentile}",
        ),
        (
            faded(target, weights),
            "$Y^l$, weighed" if labeled else "$Y^u$, weighed",
            "URL, Eq. 5" if labeled else "CRL, Eq. 6",
        ),
    )
    sheet.arrow([(NETWORK + WIDE / 2, row), (FIRST - half, row)], color)
    for number, (pixels, above, below) in enumerate(columns):
        x = FIRST + number * STEP
        sheet.picture(pixels, (x, row), SIDE)
        sheet.words((x, row + half + 0.12), above, SMALLEST, va="baseline")
        sheet.words((x, row - half - 0.26), below, SMALLEST, va="baseline", color=sheet.theme.muted)
        end = x + STEP - half if number < 3 else LOSS - 0.75
        sheet.arrow([(x + half, row), (end, row)], color)


def _losses(sheet: Sheet, unlabeled: Scene) -> None:
    """The two losses and their sum, the student's second prediction, and the gradient."""
    theme, size, half = sheet.theme, (1.5, 0.95), SMALL / 2
    texts = (
        (TOP, "$\\mathcal{L}^{\\,l}$\nEq. 7", theme.labeled),
        (MIDDLE, "$\\mathcal{L}^{\\,l} + w\\,\\mathcal{L}^{\\,u}$\nEq. 9", theme.ink),
        (BOTTOM, "$\\mathcal{L}^{\\,u}$\nEq. 8", theme.unlabeled),
    )
    for row, text, edge in texts:
        sheet.box((LOSS, row), size, text, edge=edge, width=2.2)
    high = size[1] / 2
    sheet.arrow([(LOSS, TOP - high), (LOSS, MIDDLE + high)], theme.labeled)
    sheet.arrow([(LOSS + 0.25, BOTTOM + high), (LOSS + 0.25, MIDDLE - high)], theme.unlabeled)
    sheet.arrow([(NETWORK + WIDE / 2, MIDDLE), (FIRST - half, MIDDLE)], theme.unlabeled)
    sheet.picture(classes(unlabeled.image, unlabeled.prediction), (FIRST, MIDDLE), SMALL)
    sheet.words(
        (FIRST + half + 0.14, MIDDLE + 0.14),
        "prediction $P^u$, Eq. 2",
        SMALLEST,
        ha="left",
        va="baseline",
    )
    turn, low, entry = LOSS - 1.15, 2.47, LOSS - 0.35
    corners = [(turn, MIDDLE), (turn, low), (entry, low), (entry, BOTTOM + high)]
    sheet.arrow([(FIRST + half, MIDDLE), *corners], theme.unlabeled)
    right, top = 11.78, 6.5
    corners = [(right, MIDDLE), (right, top), (NETWORK, top), (NETWORK, TOP + 0.55)]
    sheet.arrow([(LOSS + 0.75, MIDDLE), *corners], line=(0, (5, 2.5)))
    words = "gradient, to the student alone"
    sheet.words((7.2, top), words, SMALLEST, bbox={"facecolor": theme.ground, "edgecolor": "none"})
