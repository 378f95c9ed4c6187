"""Where the two lines go: a training loop of one's own, with the rule and the loss put in."""

from __future__ import annotations

from matplotlib.figure import Figure

from buarl.figures.draw import UNCERTAIN
from buarl.figures.schematics.canvas import (
    NORMAL,
    SMALLEST,
    Sheet,
    ThemeName,
    classes,
    gray,
    paint,
    pale,
)
from buarl.figures.schematics.scene import Scene, phantom_scenes

SIZE = (12.0, 4.75)
LOW, HIGH = 1.25, 3.5  # rows, inches
SIDE = 1.55
INPUT, NETWORK, FORK, RULE, LOSS, OPTIMIZER = 1.05, 3.1, 4.2, 4.7, 7.35, 10.85  # columns
LABELED_Q = 95


def two_lines(
    theme: ThemeName = "light", transparent: bool = False, scene: Scene | None = None
) -> Figure:
    """Draw a training loop of one's own and the two lines that bring URL into it (uses Eq. 5, 7).

    Images, labels, network and optimizer stay what they were. The first line turns the network's
    probabilities into regions, the second takes the place of the loss. For unlabeled images the
    rule is CRL, and a teacher's pseudo-label stands where the label does.

    Args:
        theme: "light" or "dark".
        transparent: Leave the ground clear.
        scene: A slice with its label and a prediction; None takes one of the phantom.
    Returns:
        A closed figure, 12 by 4.75 inches.

    >>> words = [text.get_text() for text in two_lines().axes[0].texts]
    >>> "line 1" in words and "line 2" in words
    True
    """
    scene = scene or phantom_scenes(1)[0]
    sheet = Sheet(theme, transparent, SIZE)
    ours, plain, half = sheet.theme.labeled, sheet.theme.muted, SIDE / 2
    sheet.picture(gray(scene.image), (INPUT, LOW), SIDE)
    sheet.box((NETWORK, LOW), (1.6, 1.1), "your\nnetwork", edge=plain)
    sheet.box((OPTIMIZER, LOW), (1.8, 1.1), "your\noptimizer", edge=plain)
    mask = paint(pale(scene.image), scene.uncertain(LABELED_Q), UNCERTAIN, 1)
    sheet.picture(mask, (LOSS, HIGH), SIDE, ours, 2.5)
    sheet.picture(classes(scene.image, scene.label), (OPTIMIZER, HIGH), SIDE)
    code = {"edge": ours, "face": sheet.theme.labeled_band, "width": 2.5}
    sheet.box((RULE - 1.2, HIGH), (3.1, 0.9), **code)
    sheet.box((LOSS, LOW), (3.3, 1.1), **code)
    mono = {"family": "monospace"}
    sheet.words((RULE - 1.2, HIGH), "url(95)(probs)", NORMAL, **mono)
    sheet.words((LOSS, LOW), "region_loss(logits,\nlabel, regions)", NORMAL, **mono)
    _names(sheet, half)
    _arrows(sheet, half)
    return sheet.done()


def _names(sheet: Sheet, half: float) -> None:
    """What the pictures and boxes are called."""
    ours, up = sheet.theme.labeled, 0.13
    names = (
        ((INPUT, LOW + half + up), "your image", None),
        ((OPTIMIZER, HIGH + half + up), "your label", None),
        ((LOSS, HIGH + half + up), "regions: blue weighs twice", ours),
        ((RULE - 1.2, HIGH + 0.45 + up), "line 1", ours),
        ((LOSS, LOW - 0.55 - 0.32), "line 2", ours),
    )
    for at, text, color in names:
        style = {"color": color, "weight": "bold"} if color else {}
        sheet.words(at, text, SMALLEST, va="baseline", **style)


def _arrows(sheet: Sheet, half: float) -> None:
    """The way from the image to the optimizer, over both lines."""
    ours, plain = sheet.theme.labeled, sheet.theme.muted
    left, right = LOSS - 1.65, LOSS + 1.65
    sheet.arrow([(INPUT + half, LOW), (NETWORK - 0.8, LOW)], plain)
    sheet.arrow([(NETWORK + 0.8, LOW), (left, LOW)], plain)
    sheet.words(((FORK + left) / 2, LOW + 0.13), "logits", SMALLEST, va="baseline")
    sheet.arrow([(FORK, LOW), (FORK, HIGH - 0.45)], ours)
    sheet.words((FORK + 0.12, (LOW + HIGH) / 2), "softmax", SMALLEST, ha="left")
    sheet.arrow([(RULE + 0.35, HIGH), (LOSS - half, HIGH)], ours)
    sheet.arrow([(LOSS, HIGH - half), (LOSS, LOW + 0.55)], ours)
    turn = LOSS + 1.35
    sheet.arrow([(OPTIMIZER - half, HIGH), (turn, HIGH), (turn, LOW + 0.55)], plain)
    sheet.arrow([(right, LOW), (OPTIMIZER - 0.9, LOW)], plain)
    sheet.words(((right + OPTIMIZER - 0.9) / 2, LOW + 0.13), "loss", SMALLEST, va="baseline")
