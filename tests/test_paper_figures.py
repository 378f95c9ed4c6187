"""The paper's figures have their panels, and their captions the numbers of what is drawn."""

from __future__ import annotations

import builtins
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from buarl.data.source import open_source
from buarl.entropy import entropy_of_probs
from buarl.figures import captions, plots, surfaces, undecided
from buarl.figures.draw import ERROR, draw_outline
from buarl.figures.schematics.scene import phantom_scenes
from buarl.lessons.paper_figures import COMPARED, TEACHERS, read_captions, write_captions
from buarl.lessons.rows import LESSON_SOURCE
from buarl.lessons.trained import LESSON_ROWS, lesson_row
from buarl.training.config import config_for

FIGURES = Path(__file__).parent.parent / "figures"
RNG = np.random.default_rng(4)
NAMES = ("background", "RV", "myocardium", "LV")


# Fig. 1


def test_a_pixel_between_three_classes_is_found_on_the_phantom():
    scenes = phantom_scenes(4)
    side = min(len(scene.image) for scene in scenes)
    probs = np.stack([scene.probs[:, :side, :side] for scene in scenes])
    found = undecided.most_undecided(probs)
    assert found.probs[0] <= undecided.BACKGROUND
    assert found.probs[1:].min() > 0.1  # three classes, none of them out of the question
    others = probs[:, 1:].min(1)[probs[:, 0] <= undecided.BACKGROUND]
    assert found.probs[1:].min() == others.max()
    assert np.array_equal(found.probs, probs[found.image, :, found.row, found.column])


def test_a_sure_pixel_is_right():
    scene = phantom_scenes(1)[0]
    found = undecided.most_reliable(scene.probs[None], scene.label[None], of=3)
    assert scene.label[found.row, found.column] == 3
    assert found.probs[3] == scene.probs[3][scene.label == 3].max()
    assert found.entropy < 0.05
    with pytest.raises(ValueError, match="no pixel of class 1"):
        undecided.most_reliable(scene.probs[None], 0 * scene.label[None])


def test_searches_refuse_what_has_no_such_pixel():
    background = np.zeros((1, 4, 5, 5))
    background[:, 0] = 1
    with pytest.raises(ValueError, match="background is more probable than 0.15"):
        undecided.most_undecided(background)
    with pytest.raises(ValueError, match="C at least 3"):
        undecided.most_undecided(background[:, :2])


@pytest.mark.parametrize("corner", [(0, 0), (29, 29), (0, 29)])
def test_the_place_of_a_pixel_lies_in_view_and_its_bars_beside_it(corner):
    probs = np.array([0.1, 0.2, 0.3, 0.4])
    place = undecided.Place(0, *corner, probs)
    image = RNG.random((1, 30, 30))
    figure = undecided.pixels_and_places(image, np.zeros((1, 30, 30), int), {"d": place}, NAMES)
    around, bars = figure.axes
    left, right = around.get_xlim()
    low, high = around.get_ylim()
    assert left < place.column < right
    assert high < place.row < low
    assert right - left == low - high == 2 * undecided.AROUND + 1
    assert [patch.get_height() for patch in bars.patches] == probs.tolist()
    assert "U = 1.28 nats" in bars.get_title()


# Fig. 3


def test_lines_go_around_errors_and_nothing_else():
    mask = np.zeros((6, 6), bool)
    mask[2, 2:4] = True
    figure = plots.predictions_side_by_side(
        [RNG.random((6, 6))], {"label": [mask * 0], "a": [mask * 1]}, NAMES, [mask * 0]
    )
    image, label, guess = figure.axes
    assert len(image.collections) == 0
    assert len(label.collections[0].get_segments()) == 0
    assert len(guess.collections[0].get_segments()) == 6  # around two pixels side by side
    ends = np.concatenate(guess.collections[0].get_segments())
    assert ends.min(0).tolist() == [1.5, 1.5]
    assert ends.max(0).tolist() == [3.5, 2.5]


def test_an_outline_follows_the_border_of_the_image_too():
    figure = plots.predictions_side_by_side([np.zeros((3, 3))], {}, NAMES)
    draw_outline(figure.axes[0], np.ones((3, 3), bool), ERROR)
    assert len(figure.axes[0].collections[0].get_segments()) == 12


# Fig. 4


def ball(radius, shape=(24, 22, 20), middle=(12, 11, 10)):
    places = np.moveaxis(np.indices(shape), 0, -1) - middle
    return (np.linalg.norm(places, axis=-1) < radius).astype(int)


def test_a_surface_lies_on_the_border_in_millimetres():
    corners, triangles = surfaces.surface(ball(6) > 0, (1.0, 1.0, 2.0))
    radii = np.linalg.norm((corners - [12, 11, 20]) / [1, 1, 2], axis=1)
    assert np.abs(radii - 5.9).max() < 0.6
    assert triangles.max() < len(corners)
    assert surfaces.surface(np.zeros((5, 5, 5), bool))[0].shape == (0, 3)
    speck = np.zeros((9, 9, 9), bool)
    speck[4, 4, 4] = True
    assert len(surfaces.surface(speck)[1]) > 0


def test_a_volume_has_a_slice_and_a_surface_a_method_and_far_parts_are_marked():
    truth, image = ball(6), RNG.random((24, 22, 20))
    far = truth.copy()
    far[1:4, 1:4, 1:4] = 1
    columns = {"label": truth, "blob": far, "nothing": 0 * truth}
    figure = surfaces.volume_predictions(image, columns, ("background", "atrium"), truth)
    upper, lower = figure.axes[::2], figure.axes[1::2]
    assert [panel.get_title() for panel in upper] == list(columns)

    def wrong(panel):
        """Shades of the error's color: much more red than the atrium has."""
        colors = np.concatenate([shape.get_facecolor() for shape in panel.collections])
        return (colors[:, 2] < 0.05).sum()

    assert wrong(lower[0]) == 0
    assert wrong(lower[1]) > 20
    assert len(lower[2].collections) == 0
    assert lower[2].texts[0].get_text() == "nothing"
    with pytest.raises(ValueError, match="blob: label map must be"):
        surfaces.volume_predictions(image, {"blob": far[1:]}, ("background", "atrium"), truth)


def test_without_scikit_image_the_way_out_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("skimage"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'buarl\[surfaces\]'"):
        surfaces.surface(ball(4) > 0)


# Fig. 5


def test_the_papers_colors_are_a_choice():
    entropy = RNG.random((20, 20)).astype(np.float32)
    ours, paper = (plots.entropy_cuts(entropy, entropy, colors=c) for c in ("ours", "paper"))
    assert [len(axes.images) for axes in ours.axes[2:5]] == [2, 2, 2]
    assert [len(axes.images) for axes in paper.axes[2:5]] == [3, 3, 3]
    with pytest.raises(ValueError, match="colors must be"):
        plots.entropy_cuts(entropy, entropy, colors="pretty")


# Captions


def test_the_caption_of_errors_agrees_with_numbers_counted_here():
    scene = phantom_scenes(1)[0]
    entropy = entropy_of_probs(torch.from_numpy(scene.probs)[None])[0].numpy()
    wrong = scene.prediction != scene.label
    marked = entropy > np.percentile(entropy, 99)
    both = (wrong & marked).sum()
    said = captions.of_errors(scene.label, scene.prediction, entropy)
    assert f"{100 * marked.mean():.1f} % of the pixels" in said
    assert f"Of them {100 * both / marked.sum():.0f} % are wrong" in said
    assert f"of all pixels {100 * wrong.mean():.1f} %" in said
    assert f"they hold {100 * both / wrong.sum():.0f} % of the errors" in said
    assert f"of at most {100 * marked.sum() / wrong.sum():.0f} %" in said


def test_a_picture_that_contradicts_the_paper_says_so():
    label = np.zeros((40, 40), int)
    label[15:25, 15:25] = 1
    far = np.zeros((40, 40))
    far[0] = 1  # only the background is uncertain
    far += 0.001 * RNG.random((40, 40))
    assert "does not fall" in captions.of_cuts(label, far)
    inside = label + 0.001 * RNG.random((40, 40))
    assert "cannot show the paper's reason" in captions.of_cuts(label, inside, (97, 99))
    falling = far + 2 * (np.add.outer(np.arange(40), np.arange(40)) == 40) * label
    assert "falls, as the paper says" in captions.of_cuts(label, falling, (95, 99.5))
    worse = {"plain": 0.01, "99": 0.02, "95": 0.03}
    said = captions.of_pseudo_labels(worse, worse, 5)
    assert "shows neither in the slice drawn nor over the 5." in said
    better = {"plain": 0.03, "99": 0.02, "95": 0.01}
    said = captions.of_pseudo_labels(better, better, 5)
    assert "shows in the slice drawn and over the 5, with one seed." in said
    said = captions.of_pseudo_labels(better, worse, 5)
    assert said.startswith(
        "Wrong pixels in the slice drawn: plain 3.0 %, 99 2.0 %, 95 1.0 %; over 5"
    )
    assert "shows in the slice drawn, but not over the 5." in said
    said = captions.of_pseudo_labels(worse, better, 5)
    assert "shows over the 5, with one seed, but not in the slice drawn." in said


def test_captions_of_an_entropy_that_is_the_same_everywhere_claim_nothing():
    label, flat = np.eye(20, dtype=int), np.ones((20, 20))
    said = captions.of_errors(label, 0 * label, flat)
    assert said.startswith("At q = 99 no pixel is uncertain")
    assert said.endswith("Of all pixels 5.0 % are wrong.")
    assert "cannot show" in captions.of_cuts(label, flat)


def test_captions_count_slices_and_volumes():
    truth = [np.zeros((2, 5), int), np.ones((2, 5), int)]
    said = captions.of_predictions(truth, {"a": [truth[0], 0 * truth[1]], "b": truth})
    assert said == "Wrong pixels in the slices drawn: a 50.0 %, b 0.0 %."
    half = ball(6).copy()
    half[:12] = 0
    dice = 2 * half.sum() / (half.sum() + ball(6).sum())
    assert f"half {dice:.3f}" in captions.of_volume(ball(6), {"half": half})


def test_the_committed_captions_say_the_rules_of_the_networks_drawn():
    _, said = read_captions(FIGURES / "captions.md")
    for file, source in (("fig3_predictions", LESSON_SOURCE), ("fig4_volume", "phantom_la")):
        rows = {title: lesson_row(name, open_source(source)) for title, name in COMPARED.items()}
        rules = captions.of_rules(rows)
        assert rules.startswith("Ours (MT) and Ours (BCP): labeled url(percentile=95, ")
        assert said[f"{file}.png"].endswith(f". {rules}")
    name = "BCP + URL + CRL"
    row = lesson_row(name, open_source(LESSON_SOURCE))
    told = f"{captions.of_run(row, config_for(row))} {captions.of_rules({name: row})}"
    assert said["training.gif"].endswith(told)


def test_captions_are_written_with_their_files(tmp_path):
    write_captions(tmp_path / "captions.md", {"a.png": "One."}, "About.")
    text = (tmp_path / "captions.md").read_text()
    assert text.startswith("# What these pictures show\n\nAbout.\n")
    assert "## a.png\n\nOne.\n" in text


def test_every_column_is_a_lesson():
    assert set(COMPARED.values()) | set(TEACHERS.values()) <= set(LESSON_ROWS)
    assert list(COMPARED) == ["Mean Teacher", "Ours (MT)", "BCP", "Ours (BCP)"]
    assert open_source("phantom").rank == 2


def test_the_slice_that_moves_is_one_that_stands_for_the_others(monkeypatch):
    tools = Path(captions.__file__).parents[2] / "tools"
    monkeypatch.syspath_prepend(str(tools))
    loops = import_module("make_loops")
    label = np.repeat(np.arange(4), 400).reshape(1, 40, 40).repeat(4, 0)
    label[3] = 0  # a slice without a heart is not shown
    probs = np.eye(4)[label].transpose(0, 3, 1, 2) * 0.9 + 0.025
    guess = label.copy()
    for number, wrong in ((0, 16), (1, 8), (2, 0)):  # of the 16 pixels that are least sure
        probs[number, :, 0, :16] = 0.25
        probs[number, 1, 0, :wrong] += 0.01
        guess[number, 0, :wrong] = 1
    found = loops.pack(list("abcd"), label * 1.0, label, {5: 0 * probs + 0.25, 9: probs}, probs)
    assert found.steps.tolist() == [5, 9]
    assert np.array_equal(found.pseudo_label[-1], guess)
    assert loops.typical(found) == 1
