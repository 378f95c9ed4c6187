"""Pictures of confidence and doubt show the numbers they are given."""

import numpy as np
import torch

from buarl.evaluation.calibration import reliability
from buarl.figures.confidence import confidence_and_accuracy, doubt_maps, risk_coverage


def test_a_reliability_diagram_draws_confidence_accuracy_and_the_share_of_each_bin():
    probs = torch.tensor([[[0.95, 0.85, 0.92, 0.55], [0.05, 0.15, 0.08, 0.45]]])
    rows = reliability(probs, torch.tensor([[0, 0, 1, 1]]))
    axes, counts = confidence_and_accuracy({"one": rows}).axes
    line = axes.get_lines()[1]  # the first is the diagonal
    assert np.allclose(line.get_xdata(), [55, 85, 93.5])
    assert np.allclose(line.get_ydata(), [0, 100, 50])
    assert np.allclose(counts.get_lines()[0].get_ydata(), [25, 25, 50])
    assert "ECE" in line.get_label()


def test_a_network_keeps_its_color_and_a_variant_of_it_is_dashed():
    rows = reliability(torch.tensor([[[0.95], [0.05]]]), torch.tensor([[0]]))
    names = ("BCP", "Mean Teacher", "Mean Teacher, temperature")
    axes, counts = confidence_and_accuracy(dict.fromkeys(names, rows)).axes
    for bcp, plain, repaired in (axes.get_lines()[1:], counts.get_lines()):
        assert bcp.get_color() != plain.get_color() == repaired.get_color()
        assert bcp.get_marker() != plain.get_marker() == repaired.get_marker()
        assert [line.get_linestyle() for line in (bcp, plain, repaired)] == ["-", "-", "--"]


def test_a_risk_curve_ends_at_the_share_of_wrong_pixels():
    risk = np.cumsum([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]) / np.arange(1, 11)
    (line,) = risk_coverage({"a": risk}, lowest=0.5).axes[0].get_lines()
    assert line.get_xdata()[-1] == 100
    assert np.isclose(line.get_ydata()[-1], 20)
    assert line.get_ydata()[0] == 0


def test_doubt_maps_outline_wrong_pixels_in_every_panel_and_take_a_slice_without_any():
    image, wrong = np.random.default_rng(0).random((8, 8)), np.zeros((8, 8), bool)
    none = doubt_maps(image, wrong, {"entropy": image})
    assert not any(axes.collections for axes in none.axes[:2])
    wrong[2:5, 2:5] = True
    some = doubt_maps(image, wrong, {"entropy": image})
    assert all(axes.collections for axes in some.axes[:2])
