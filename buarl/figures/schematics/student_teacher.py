"""Mean Teacher: a student that learns, and a teacher that is the average of past students."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from buarl.figures.schematics.canvas import (
    LARGE,
    NORMAL,
    SMALLEST,
    Sheet,
    ThemeName,
    classes,
    gray,
)
from buarl.figures.schematics.scene import Scene, phantom_scenes

SIZE = (12.0, 6.1)
INPUT, NETWORK, OUTPUT, LOSS, ANSWER = 1.0, 4.3, 6.9, 8.95, 11.0  # columns, inches
TOP, MIDDLE, BOTTOM = 4.9, 2.87, 0.95  # rows
SIDE, WIDE, NOISE = 1.3, 1.85, 0.12


def mean_teacher(
    theme: ThemeName = "light",
    transparent: bool = False,
    labeled: Scene | None = None,
    unlabeled: Scene | None = None,
) -> Figure:
    """Draw Mean Teacher: who sees what, who teaches whom, and what moves which weights.

    Args:
        theme: "light" or "dark".
        transparent: Leave the ground clear.
        labeled: A slice with its label and a prediction; None takes one of the phantom.
        unlabeled: Another one, whose label is not shown.
    Returns:
        A closed figure, 12 by 6.1 inches.

    >>> mean_teacher().get_size_inches().tolist()
    [12.0, 6.1]
    """
    if labeled is None or unlabeled is None:
        first, second = phantom_scenes(2)
        labeled, unlabeled = labeled or first, unlabeled or second
    sheet = Sheet(theme, transparent, SIZE)
    ink = sheet.theme
    for low, high, color in ((3.92, 5.98, ink.labeled_band), (0.12, 3.72, ink.unlabeled_band)):
        center = 6, (low + high) / 2
        sheet.box(center, (11.76, high - low), face=color, edge="none", order=0, rounding=0.2)
    _inputs(sheet, labeled, unlabeled)
    _networks(sheet)
    _outputs(sheet, labeled, unlabeled)
    return sheet.done()


def _inputs(sheet: Sheet, labeled: Scene, unlabeled: Scene) -> None:
    theme, half, row = sheet.theme, SIDE / 2, (MIDDLE + BOTTOM) / 2
    sheet.picture(gray(labeled.image), (INPUT, TOP), SIDE, theme.labeled, 2.5)
    sheet.picture(gray(unlabeled.image), (INPUT, row), SIDE, theme.unlabeled, 2.5)
    for at, name, color in (
        ((INPUT, TOP + half + 0.1), "labeled", theme.labeled),
        ((INPUT, row + half + 0.12), "unlabeled", theme.unlabeled),
    ):
        sheet.words(at, name, NORMAL, color=color, weight="bold", va="baseline")
    start, end, turn = INPUT + half, NETWORK - WIDE / 2, INPUT + half + 0.3
    sheet.arrow([(start, TOP), (end, TOP)], theme.labeled)
    sheet.arrow([(start, row), (turn, row), (turn, MIDDLE), (end, MIDDLE)], theme.unlabeled)
    noisy = unlabeled.image + NOISE * np.random.default_rng(0).normal(size=unlabeled.image.shape)
    middle = (turn + end) / 2 + 0.02
    corners = [(turn, row), (turn, BOTTOM), (middle - 0.42, BOTTOM)]
    sheet.arrow([(start, row), *corners], theme.unlabeled)
    sheet.picture(gray(noisy), (middle, BOTTOM), 0.84)
    sheet.words((middle, BOTTOM + 0.52), "+ noise", SMALLEST, va="baseline")
    sheet.arrow([(middle + 0.42, BOTTOM), (end, BOTTOM)], theme.unlabeled)


def _networks(sheet: Sheet) -> None:
    theme, center = sheet.theme, (TOP + MIDDLE) / 2
    tall = TOP - MIDDLE + 1.1
    sheet.box((NETWORK, center), (WIDE, tall), width=2.2)
    sheet.words((NETWORK, center + 0.16), "student", LARGE, weight="bold")
    sheet.words((NETWORK, center - 0.22), "learns by gradient", SMALLEST, color=theme.muted)
    sheet.box((NETWORK, BOTTOM), (WIDE, 1.1), width=2.2, line=(0, (4, 2)))
    sheet.words((NETWORK, BOTTOM + 0.16), "teacher", LARGE, weight="bold")
    sheet.words((NETWORK, BOTTOM - 0.22), "follows", SMALLEST, color=theme.muted)
    low, high = BOTTOM + 0.55, center - tall / 2
    sheet.arrow([(NETWORK, high), (NETWORK, low)], line=(0, (2, 1.2)))
    formula = r"$\theta_t \leftarrow \lambda\,\theta_t + (1-\lambda)\,\theta_s$"
    middle = (low + high) / 2
    sheet.words((NETWORK + 0.2, middle), f"EMA: {formula}", SMALLEST, ha="left")


def _outputs(sheet: Sheet, labeled: Scene, unlabeled: Scene) -> None:
    """Predictions, what they are compared with, and both terms of the loss."""
    theme, half, out = sheet.theme, SIDE / 2, NETWORK + WIDE / 2
    guess = classes(unlabeled.image, unlabeled.prediction)
    rows = (
        (TOP, classes(labeled.image, labeled.prediction), theme.labeled),
        (MIDDLE, guess, theme.unlabeled),
        (BOTTOM, guess, theme.unlabeled),
    )
    for row, pixels, color in rows:
        side = SIDE if row == TOP else 1.2
        sheet.arrow([(out, row), (OUTPUT - side / 2, row)], color)
        sheet.picture(pixels, (OUTPUT, row), side)
    sheet.picture(classes(labeled.image, labeled.label), (ANSWER, TOP), SIDE, theme.labeled, 2.5)
    sheet.words((ANSWER, TOP + half + 0.1), "label", SMALLEST, va="baseline")
    sheet.words((OUTPUT, TOP + half + 0.1), "prediction", SMALLEST, va="baseline")
    size, wide = (1.9, 0.95), 0.95
    sheet.box((LOSS, TOP), size, "supervised\nloss", edge=theme.labeled, width=2.2)
    sheet.arrow([(OUTPUT + half, TOP), (LOSS - wide, TOP)], theme.labeled)
    sheet.arrow([(ANSWER - half, TOP), (LOSS + wide, TOP)], theme.labeled)
    row = (MIDDLE + BOTTOM) / 2
    sheet.box((LOSS, row), size, "consistency\nloss", edge=theme.unlabeled, width=2.2)
    for start, gap in ((MIDDLE, size[1] / 2), (BOTTOM, -size[1] / 2)):
        sheet.arrow([(OUTPUT + 0.6, start), (LOSS, start), (LOSS, row + gap)], theme.unlabeled)
    for start, words in (
        (MIDDLE, "this term gains\nweight as training\ngoes on"),
        (BOTTOM, "the teacher sets\nthe target: no\ngradient here"),
    ):
        at = LOSS + wide + 0.2, start
        sheet.words(at, words, SMALLEST, color=theme.muted, ha="left")
