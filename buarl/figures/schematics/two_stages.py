"""The two stages of bidirectional copy-paste, BCP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from buarl.copy_paste import Box, copy_paste, outside_mask
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

OUTSIDE, INSIDE, MIXED, NETWORK, LOSS, TARGET, TEACHER = 0.95, 2.5, 4.35, 6.1, 7.75, 9.4, 11.15
ROWS = (5.22, 2.98, 1.2)  # stage 1, and both directions of stage 2
SIDE, WIDE = 1.24, 1.3
SHARE = 2 / 3  # edge of the box over edge of the image


class Part(NamedTuple):
    """One of two images that are mixed.

    scene: Its slice.
    target: Classes (H, W) that stand for it in the mixed target.
    color: Of its frame.
    """

    scene: Scene
    target: np.ndarray
    color: str


def bcp_stages(
    theme: ThemeName = "light",
    transparent: bool = False,
    labeled: Sequence[Scene] | None = None,
    unlabeled: Scene | None = None,
) -> Figure:
    """Draw both stages of BCP with slices that the library has mixed.

    Stage 1 pastes a box of one labeled image onto another, and the student learns the mixed
    label. Stage 2 pastes labeled onto unlabeled images and the other way round; where an
    unlabeled image lies the target is the teacher's pseudo-label. A frame's color says whether
    what it holds is labeled.

    Args:
        theme: "light" or "dark".
        transparent: Leave the ground clear.
        labeled: Two slices with their labels; None takes slices of the phantom.
        unlabeled: A slice with a prediction that serves as pseudo-label, of the same size.
    Returns:
        A closed figure, 12 by 6.75 inches.
    Raises:
        ValueError: not two labeled slices.

    >>> bcp_stages().get_size_inches().tolist()
    [12.0, 6.75]
    """
    if labeled is None or unlabeled is None:
        first, second, third = phantom_scenes(3)
        labeled, unlabeled = labeled or (first, third), unlabeled or second
    if len(labeled) != 2:
        raise ValueError(f"labeled must be two slices, as BCP pastes pairs, got {len(labeled)}")
    sheet = Sheet(theme, transparent)
    ink = sheet.theme
    first, second = (Part(scene, scene.label, ink.labeled) for scene in labeled)
    pseudo = Part(unlabeled, unlabeled.prediction, ink.unlabeled)
    _bands(sheet)
    for row, outside, inside in zip(
        ROWS, (first, pseudo, second), (second, first, pseudo), strict=True
    ):
        _row(sheet, row, outside, inside)
    _networks(sheet)
    _titles(sheet)
    return sheet.done()


def _bands(sheet: Sheet) -> None:
    ink = sheet.theme
    for low, high, color in ((4.47, 6.65, ink.labeled_band), (0.1, 4.36, ink.unlabeled_band)):
        center = 6, (low + high) / 2
        sheet.box(center, (11.76, high - low), face=color, edge="none", order=0, rounding=0.2)


def _row(sheet: Sheet, row: float, outside: Part, inside: Part) -> None:
    """Two images, the mixed one, and the mixed target, from the outside to the loss."""
    images = [_resized(part.scene.image, outside.scene.image.shape) for part in (outside, inside)]
    targets = [_resized(part.target, images[0].shape) for part in (outside, inside)]
    box = _box(images[0].shape)
    mask = outside_mask(images[0].shape, box)
    mixed, target = (
        copy_paste(*(torch.from_numpy(np.ascontiguousarray(a)) for a in pair), mask).numpy()
        for pair in (images, targets)
    )
    half = SIDE / 2
    for x, image, part in ((OUTSIDE, images[0], outside), (INSIDE, images[1], inside)):
        sheet.picture(gray(image), (x, row), SIDE, part.color, 2.5)
    _outline(sheet, (INSIDE, row), box, len(mixed), inside.color)
    sheet.words(((OUTSIDE + INSIDE) / 2, row), "+", LARGE, weight="bold")
    sheet.arrow([(INSIDE + half, row), (MIXED - half, row)])
    for x, pixels in ((MIXED, gray(mixed)), (TARGET, classes(mixed, target))):
        sheet.picture(pixels, (x, row), SIDE, outside.color, 2.5)
        _outline(sheet, (x, row), box, len(mixed), inside.color)
    sheet.arrow([(MIXED + half, row), (NETWORK - WIDE / 2, row)])
    sheet.arrow([(NETWORK + WIDE / 2, row), (LOSS - 0.5, row)])
    sheet.box((LOSS, row), (1.0, 0.8), "loss", width=2.2)
    sheet.arrow([(TARGET - half, row), (LOSS + 0.5, row)])


def _resized(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Nearest pixels, so that slices of two sizes can be mixed."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, array.shape, strict=True))
    return array[np.ix_(rows, columns)]


def _box(shape: tuple[int, ...]) -> Box:
    """A box that cuts through the hearts, which lie in the middle."""
    size = tuple(int(n * SHARE) for n in shape)
    return Box(tuple(int(0.22 * n) for n in shape), size)


def _outline(sheet: Sheet, at: tuple[float, float], box: Box, pixels: int, color: str) -> None:
    """The box on a picture that lies around a point."""
    scale = SIDE / pixels
    left = at[0] - SIDE / 2 + box.start[1] * scale
    low = at[1] + SIDE / 2 - (box.start[0] + box.size[0]) * scale
    size = box.size[1] * scale, box.size[0] * scale
    style = {"fill": False, "edgecolor": color, "linewidth": 2.5, "zorder": 4}
    sheet.axes.add_patch(Rectangle((left, low), *size, **style))


def _networks(sheet: Sheet) -> None:
    """The student of both stages, and the teacher of the second."""
    high, low = ROWS[0] + 0.55, ROWS[2] - 0.6
    sheet.box((NETWORK, (high + low) / 2), (WIDE, high - low), "student", width=2.2, font=LARGE)
    middle = (ROWS[1] + ROWS[2]) / 2
    sheet.box((TEACHER, middle), (1.3, 1.2), width=2.2, line=(0, (4, 2)))
    sheet.words((TEACHER, middle), "teacher", NORMAL + 1, weight="bold")
    for row, side in ((ROWS[1], 0.6), (ROWS[2], -0.6)):
        corners = [(TEACHER, middle + side), (TEACHER, row), (TARGET + SIDE / 2, row)]
        sheet.arrow(corners, sheet.theme.unlabeled)
    bottom, right = 0.3, 11.6
    dotted = (0, (2, 1.2))
    corners = [(NETWORK, low), (NETWORK, bottom), (right, bottom), (right, middle - 0.6)]
    sheet.arrow(corners, line=dotted)
    sheet.words((NETWORK + 0.25, bottom + 0.17), "EMA, Eq. 10", SMALLEST, ha="left")


def _titles(sheet: Sheet) -> None:
    ink, above = sheet.theme, SIDE / 2 + 0.12
    first = ((OUTSIDE, "labeled"), (INSIDE, "labeled"), (MIXED, "mixed"), (TARGET, "mixed label"))
    second = ((OUTSIDE, "unlabeled"), (INSIDE, "labeled"), (MIXED, "mixed"), (TARGET, "target"))
    third = ((OUTSIDE, "labeled"), (INSIDE, "unlabeled"), (MIXED, "mixed"), (TARGET, "target"))
    colors = {"labeled": ink.labeled, "unlabeled": ink.unlabeled}
    for row, titles in zip(ROWS, (first, second, third), strict=True):
        for x, words in titles:
            color = colors.get(words, ink.ink)
            sheet.words((x, row + above), words, SMALLEST, color=color, va="baseline")
    for row, words, color in (
        (6.36, "Stage 1: pre-training on labels", ink.labeled),
        (4.08, "Stage 2: self-training", ink.unlabeled),
    ):
        sheet.words((0.33, row), words, NORMAL, ha="left", weight="bold", color=color)
    notes = (
        ((LOSS, ROWS[0] - 0.58), "URL acts here"),
        ((LOSS, (ROWS[1] + ROWS[2]) / 2), "CRL acts on the\npseudo-label part"),
        ((TEACHER - 0.2, ROWS[1] + 0.42), "pseudo-label:\nlargest component"),
    )
    for at, words in notes:
        sheet.words(at, words, SMALLEST, color=ink.muted)
