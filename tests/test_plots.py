"""Figures carry the numbers they claim, and stay closed."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tiny import tiny_config, write_tiny

from buarl.copy_paste import Box
from buarl.data.acdc import Acdc
from buarl.entropy import entropy_threshold
from buarl.evaluation.errors import capture_table, error_capture
from buarl.figures import plots
from buarl.figures.entropy import entropy_spread
from buarl.figures.maps import mid_planes
from buarl.figures.panels import panels
from buarl.figures.premise import run_curves
from buarl.figures.pseudo_labels import mixed_pairs
from buarl.lessons.demo import save_figure, unlabeled_slice

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(5)
IMAGE, ENTROPY = RNG.random((40, 50)), RNG.random((40, 50)).astype(np.float32)
NAMES = ("background", "RV", "myocardium", "LV")


def texts(figure):
    return " ".join(axes.get_title() for axes in figure.axes)


def test_entropy_cuts_print_share_and_threshold():
    figure = plots.entropy_cuts(IMAGE, ENTROPY)
    for share in ("5.0 %", "3.0 %", "1.0 %"):
        assert share in texts(figure)
    threshold = float(entropy_threshold(torch.from_numpy(ENTROPY)[None], 97))
    assert f"{threshold:.3f} nats" in texts(figure)
    assert plt.get_fignums() == []


def test_error_figure_prints_the_recall():
    label = np.zeros((40, 50), np.int64)
    guess = (np.quantile(ENTROPY, 0.98) < ENTROPY).astype(np.int64)  # wrong exactly where unsure
    figure = plots.errors_beside_uncertainty(IMAGE, label, guess, ENTROPY, NAMES, percentile=99)
    assert "q = 99: 50 % of errors" in texts(figure)
    assert "2.0 % of pixels" in texts(figure)
    none = plots.errors_beside_uncertainty(IMAGE, label, label, ENTROPY, NAMES)
    assert "none of errors" in texts(none)


def test_error_capture_by_hand():
    entropy = torch.arange(10.0).view(1, 10)
    error = torch.tensor([[0, 0, 0, 0, 1, 0, 0, 0, 1, 1]]).bool()
    capture = error_capture(error, entropy, 80)  # marks 8 and 9
    assert capture == (2 / 3, 1.0, 0.2)


def test_too_few_images_for_a_batch_capture_nothing():
    network = torch.nn.Conv2d(1, 2, 1)
    samples = [(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint8))] * 3
    (found,) = capture_table(network, samples, (95,), batch=12).values()
    assert np.isnan(found).all()


def test_capture_table_counts_all_batches():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, image):
            return torch.cat([image, -image], 1)

    images = RNG.normal(size=(7, 8, 8)).astype(np.float32)
    samples = [(image, (image < 0).astype(np.uint8)) for image in images]
    samples[0] = (samples[0][0], 1 - samples[0][1])  # one image all wrong
    table = capture_table(Half(), samples, (50, 95), batch=3)
    assert table[50].share == pytest.approx(0.5)
    assert table[95].recall <= table[50].recall
    assert 0 < table[50].precision < 1


def test_same_slices_and_palette_in_every_column():
    label = RNG.integers(0, 4, (40, 50))
    columns = {"label": [label, label], "a": [label, label], "b": [label, label]}
    figure = plots.predictions_side_by_side([IMAGE, IMAGE], columns, NAMES)
    assert len(figure.axes) == 8
    drawn = [axes.images[1] for axes in np.array(figure.axes).reshape(2, 4)[:, 1:].ravel()]
    assert all(np.ma.allequal(d.get_array(), drawn[0].get_array()) for d in drawn)
    assert len({d.get_cmap().name + str(d.get_clim()) for d in drawn}) == 1


def test_bars_and_curves():
    bars = plots.class_probabilities({"reliable": np.array([0.0, 1.0, 0.0, 0.0])}, NAMES)
    assert "U = 0.00 nats" in texts(bars)
    history = [{"stage": s, "step": n, "loss": n} for s in ("a", "b") for n in (10, 20)]
    line = plots.curves({"run": history}, "loss", "loss").axes[0].lines[0]
    assert list(line.get_xdata()) == [10, 20, 30, 40]
    assert line.get_marker() == "None"
    (point,) = plots.curves({"run": history[:1]}, "loss", "loss").axes[0].lines
    assert point.get_marker() == "o"  # a line of one point is nothing
    (point,) = run_curves({"run": history[:1]}, "loss", "loss").axes[0].lines
    assert point.get_marker() == "o"


def test_saved_figures_are_the_same_bytes_twice(tmp_path):
    for name in ("a", "b"):
        save_figure(plots.entropy_cuts(IMAGE, ENTROPY), tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_unlabeled_slice_is_unlabeled_and_at_training_size(tmp_path):
    source, config = Acdc(write_tiny(tmp_path / "data")), tiny_config("supervised")
    with pytest.raises(ValueError, match="holds all classes"):
        unlabeled_slice(source, replace(config, image_size=(4, 4)))


VOLUME = RNG.random((20, 16, 12))
ATRIUM = (VOLUME > 0.5).astype(np.int64)


def drawn(axes):
    return np.asarray(axes.images[0].get_array())


def test_panels_show_the_middle_slice_of_a_volume():
    figure = panels({"both": (VOLUME, ATRIUM), "image": (VOLUME, None)}, ("background", "atrium"))
    assert all(np.array_equal(drawn(axes), VOLUME[..., 6]) for axes in figure.axes)
    assert np.array_equal(figure.axes[0].images[1].get_array().filled(0), ATRIUM[..., 6])


def test_a_box_in_a_volume_is_outlined_on_the_middle_slice():
    pairs = {"first": [(VOLUME, ATRIUM), (VOLUME, None)]}
    box = Box((3, 2, 1), (13, 10, 8))
    figure = mixed_pairs(pairs, ("a", "b"), box, ("background", "atrium"))
    outline = figure.axes[0].patches[0]
    assert (outline.get_xy(), outline.get_width(), outline.get_height()) == ((1.5, 2.5), 10, 13)
    assert np.array_equal(drawn(figure.axes[1]), VOLUME[..., 6])


def test_mid_planes_are_the_three_cuts_with_their_outlines():
    label = np.zeros(VOLUME.shape, np.uint8)
    label[8:14, 6:12, 2:5] = 1  # meets the planes across x and y, not the one across z
    figure = mid_planes(VOLUME, label, spacing=(1.0, 1.0, 3.0))
    across_z, across_y, across_x = figure.axes
    assert np.array_equal(drawn(across_z), VOLUME[:, :, 6].T)
    assert np.array_equal(drawn(across_y), VOLUME[:, 8, :].T)
    assert np.array_equal(drawn(across_x), VOLUME[10].T)
    assert [len(axes.collections) for axes in figure.axes] == [0, 1, 1]
    assert across_z.get_aspect() == 1
    assert across_x.get_aspect() == 3  # a voxel is three times as high as wide
    assert "z = 6 of 12" in texts(figure)


def test_entropy_spread_draws_millions_of_voxels_as_a_few_points():
    entropy = np.linspace(0, 1, 300_001)
    line = entropy_spread({"net": entropy}, {}, highest=1).axes[0].lines[0]
    below, above = line.get_data()
    assert len(below) <= 8000
    assert np.allclose(above, 100 * (1 - below), atol=0.01)  # a uniform spread
    assert below[-1] == 1
