"""What URL and CRL make every pixel weigh, under both readings of the paper's loss."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from buarl.arguments import check_number
from buarl.figures.schematics.canvas import (
    LARGE,
    NORMAL,
    SMALLEST,
    Sheet,
    ThemeName,
    mapped,
)
from buarl.figures.schematics.scene import Scene, phantom_scenes
from buarl.losses import voxel_weights
from buarl.regions import Rule, crl, url

SIZE = (12.0, 5.4)
SIDE, ROW = 2.3, 3.02
COLUMNS = (1.6, 4.15, 7.25, 9.8)
NORM = TwoSlopeNorm(0, np.log2(0.4), np.log2(60))  # of log2: a weight of 1 is pale
COLORS = "PuOr_r"  # violet below 1, orange above
TICKS = (0.5, 1, 2, 5, 10, 20, 50)


def weight_maps(
    alpha: float = 0.5,
    theme: ThemeName = "light",
    transparent: bool = False,
    scene: Scene | None = None,
) -> Figure:
    """Draw what one pixel weighs in the loss: URL and CRL, each per voxel and per region.

    A weight is relative to the plain mean over all pixels, see `buarl.losses.voxel_weights`. Per
    voxel, CRL makes an uncertain pixel count alpha times as much as a certain one. Per region,
    the 1 % of uncertain pixels share alpha among them, and each counts many times as much: the
    opposite of what the rule is called for.

    Args:
        alpha: Weight of the region that weighs less, above 0.
        theme: "light" or "dark".
        transparent: Leave the ground clear.
        scene: A slice with a prediction; None takes one of the phantom.
    Returns:
        A closed figure, 12 by 5.4 inches.
    Raises:
        TypeError: an alpha that is no number.
        ValueError: an alpha of 0 or below.

    >>> words = [text.get_text() for text in weight_maps().axes[0].texts]
    >>> [line for line in words if " : " in line]
    ['2 : 1', '38 : 1', '1 : 2', '49 : 1']
    """
    if check_number("alpha", alpha, 0) == 0:
        raise ValueError(f"alpha must be above 0, or uncertain pixels weigh nothing, got {alpha}")
    scene = scene or phantom_scenes(1)[0]
    sheet = Sheet(theme, transparent, SIZE)
    ink = sheet.theme
    groups = (
        (url(95, alpha), 0, ink.labeled, ink.labeled_band, "URL, labeled images, q = 95"),
        (crl(99, alpha), 2, ink.unlabeled, ink.unlabeled_band, "CRL, unlabeled images, q = 99"),
    )
    for rule, first, color, band, title in groups:
        middle = (COLUMNS[first] + COLUMNS[first + 1]) / 2
        sheet.box((middle, 2.7), (5.35, 5.1), face=band, edge="none", order=0, rounding=0.2)
        sheet.words((middle, 4.78), title, LARGE - 2, color=color, weight="bold", va="baseline")
        for column, reduction in zip(COLUMNS[first:], ("voxel", "region"), strict=False):
            _map(sheet, scene, rule, reduction, column)
    _colorbar(sheet)
    return sheet.done()


def _map(sheet: Sheet, scene: Scene, rule: Rule, reduction: str, x: float) -> None:
    """One map, and below it what an uncertain and a certain pixel weigh."""
    regions = rule(torch.from_numpy(scene.probs)[None])
    weights = voxel_weights(regions, reduction=reduction)[0].numpy()
    uncertain = regions[0].mask[0].numpy()
    high, low = float(weights[uncertain].mean()), float(weights[~uncertain].mean())
    sheet.picture(mapped(np.log2(weights), COLORS, NORM), (x, ROW), SIDE)
    sheet.words((x, ROW + SIDE / 2 + 0.16), f"per {reduction}", NORMAL, va="baseline")
    ratio = f"{high / low:.0f} : 1" if high > low else f"1 : {low / high:.0f}"
    sheet.words((x, 1.38), ratio, LARGE + 3, weight="bold", va="baseline")
    for row, name, weight in ((1.0, "uncertain", high), (0.66, "certain", low)):
        line = f"{name}: {weight:.3g}"
        sheet.words((x, row), line, SMALLEST, color=sheet.theme.muted, va="baseline")


def _colorbar(sheet: Sheet) -> None:
    width, height = SIZE
    axes = sheet.figure.add_axes((11.25 / width, 1.87 / height, 0.13 / width, 2.3 / height))
    bar = sheet.figure.colorbar(ScalarMappable(NORM, COLORS), cax=axes)
    bar.set_ticks(np.log2(TICKS), labels=[f"{tick:g}" for tick in TICKS])
    bar.ax.tick_params(labelsize=SMALLEST, colors=sheet.theme.ink, length=3, pad=2)
    sheet.words((11.87, ROW), "weight (1 in a plain mean)", SMALLEST, rotation=90)
    bar.outline.set_edgecolor(sheet.theme.muted)
