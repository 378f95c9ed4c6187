"""Schematics can be read from the last row: large words that neither overlap nor leave the sheet."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from buarl.entropy import entropy_of_probs
from buarl.figures import schematics
from buarl.figures.schematics.canvas import SMALLEST, THEMES, Sheet
from buarl.figures.schematics.scene import imagined_probs, phantom_scenes
from buarl.losses import voxel_weights
from buarl.regions import crl, url

DRAWN = {
    name: getattr(schematics, name)
    for name in (
        *("architecture", "bcp_stages", "mean_teacher"),
        *("percentile_cut", "two_lines", "weight_maps"),
    )
}


def words_of(figure):
    FigureCanvasAgg(figure).draw()  # places what hangs on axes
    return [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text.get_window_extent().width > 0
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_small_and_no_words_touch_or_leave_the_sheet(name):
    figure = DRAWN[name]()
    assert plt.get_fignums() == []
    written = words_of(figure)
    assert len(written) > 5
    assert min(text.get_fontsize() for text in written) >= SMALLEST
    places = [(text.get_text(), text.get_window_extent()) for text in written]
    for text, place in places:
        assert figure.bbox.contains(place.x0, place.y0), text
        assert figure.bbox.contains(place.x1, place.y1), text
    for (a, one), (b, other) in combinations(places, 2):
        assert not one.padded(-1).overlaps(other.padded(-1)), (a, b)


@pytest.mark.parametrize("name", DRAWN)
def test_no_words_lie_on_a_picture(name):
    figure = DRAWN[name]()
    written, sheet = words_of(figure), figure.axes[0]
    for shown in sheet.images:
        left, right, low, high = shown.get_extent()
        corners = sheet.transData.transform([(left, low), (right, high)])
        for text in written:
            place = text.get_window_extent().padded(-1)
            apart = (
                place.x1 <= corners[0, 0]
                or place.x0 >= corners[1, 0]
                or place.y1 <= corners[0, 1]
                or place.y0 >= corners[1, 1]
            )
            assert apart, text.get_text()


def contrast(a, b):
    """WCAG 2 contrast of two colors, 1 to 21."""
    light = []
    for color in (a, b):
        c = np.array(to_rgb(color))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(light) / min(light)


@pytest.mark.parametrize("name", THEMES)
def test_words_stand_out_from_every_ground(name):
    theme = THEMES[name]
    for ground in (theme.ground, theme.box, theme.labeled_band, theme.unlabeled_band):
        assert contrast(theme.ink, ground) > 7
        assert contrast(theme.muted, ground) > 4.5
    for ground in (theme.ground, theme.labeled_band):
        assert contrast(theme.labeled, ground) > 4.5
    for ground in (theme.ground, theme.unlabeled_band):
        assert contrast(theme.unlabeled, ground) > 4.5


@pytest.mark.parametrize("name", DRAWN)
def test_dark_and_transparent_sheets_have_the_ground_that_was_asked_for(name, tmp_path):
    for theme, transparent in (("dark", False), ("light", True)):
        path = tmp_path / f"{theme}.png"
        DRAWN[name](theme=theme, transparent=transparent).savefig(path, dpi=20)
        corner = np.asarray(Image.open(path).convert("RGBA"))[0, 0]
        ground = [round(255 * value) for value in to_rgb(THEMES[theme].ground)]
        assert corner[3] == (0 if transparent else 255)
        assert transparent or corner[:3].tolist() == ground
    with pytest.raises(ValueError, match="theme must be"):
        DRAWN[name](theme="gray")


def test_the_cut_prints_what_the_library_marks():
    scene = phantom_scenes(1)[0]
    for percentile in (90, 95, 99, 99.9):
        written = [t.get_text() for t in words_of(schematics.percentile_cut(percentile))]
        share = 100 * scene.uncertain(percentile).mean()
        assert f"mask $M$: {share:.2g} % of the pixels" in written
        assert share == pytest.approx(100 - percentile, abs=0.02)
    for wrong in (-1, 101):
        with pytest.raises(ValueError, match="percentile"):
            schematics.percentile_cut(wrong)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 1.0])
def test_weights_are_those_of_the_loss(alpha):
    written = [text.get_text() for text in words_of(schematics.weight_maps(alpha))]
    probs = torch.from_numpy(phantom_scenes(1)[0].probs)[None]
    for rule in (url(95, alpha), crl(99, alpha)):
        for reduction in ("voxel", "region"):
            regions = rule(probs)
            weights = voxel_weights(regions, reduction=reduction)
            for name, region in zip(("uncertain", "certain"), regions, strict=True):
                assert f"{name}: {float(weights[region.mask][0]):.3g}" in written
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="alpha"):
            schematics.weight_maps(wrong)
    with pytest.raises(TypeError, match="alpha must be a number"):
        schematics.weight_maps("half")


def test_slices_of_ones_own_are_drawn_whatever_their_sizes():
    first, second, third = phantom_scenes(3)
    small = type(first)(first.image[:40, :40], first.label[:40, :40], first.probs[:, :40, :40])
    for draw in (schematics.architecture, schematics.mean_teacher):
        assert len(draw(labeled=small, unlabeled=second).axes[0].images) > 6
    figure = schematics.bcp_stages(labeled=(small, third), unlabeled=second)
    assert len(figure.axes[0].images) == 12
    with pytest.raises(ValueError, match="labeled must be two slices, .* got 1"):
        schematics.bcp_stages(labeled=(small,), unlabeled=second)


def test_scenes_are_the_same_every_time_and_of_different_patients():
    first, second = phantom_scenes(4), phantom_scenes(4)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.probs, b.probs)
    assert len({scene.image.tobytes() for scene in first}) == 4
    with pytest.raises(ValueError, match="patients are needed"):
        phantom_scenes(100)


def test_the_imagined_network_is_wrong_here_and_there_and_unsure_along_edges():
    scene = phantom_scenes(1)[0]
    assert np.allclose(scene.probs.sum(0), 1, atol=1e-5)
    wrong = scene.prediction != scene.label
    assert 0.005 < wrong.mean() < 0.1
    assert scene.entropy[wrong].mean() > 3 * scene.entropy[~wrong].mean()
    sure = imagined_probs(np.zeros((20, 20), int), 4)
    assert float(entropy_of_probs(torch.from_numpy(sure)[None]).max()) < 0.01


def test_an_arrow_that_goes_nowhere_is_not_drawn_wrong():
    sheet = Sheet()
    sheet.arrow([(1, 1), (2, 1), (2, 2)])
    assert np.isfinite(sheet.axes.patches[0].get_path().vertices).all()
    sheet.done()
