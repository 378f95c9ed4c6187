"""The static picture shows what the library computes, at every stop, in one figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from buarl.entropy import entropy_of_probs, entropy_threshold, uncertain_mask
from buarl.evaluation.errors import error_capture
from buarl.widgets.threshold import PERCENTILES, ThresholdView, read_threshold


@pytest.fixture(scope="module")
def scene():
    """An image, a label, and probabilities that are often wrong; 20 x 24, 4 classes."""
    generator = torch.Generator().manual_seed(3)
    probs = (2 * torch.randn(4, 20, 24, generator=generator)).softmax(0)
    label = torch.where(torch.rand(20, 24, generator=generator) < 0.7, probs.argmax(0), 0)
    image = torch.rand(20, 24, generator=generator)
    entropy = entropy_of_probs(probs[None])[0]
    return image.numpy(), label.numpy(), probs.numpy(), entropy.numpy()


def shown(view):
    """The drawn codes, 0 where the picture is left clear."""
    return np.ma.filled(view.marks.get_array(), 0)


def test_every_stop_shows_the_mask_and_the_read_outs_of_the_library(scene):
    _, label, probs, entropy = scene
    view = ThresholdView(*scene)
    figure, artists = view.figure, [len(a.get_children()) for a in view.figure.axes]
    batch = torch.from_numpy(entropy)[None]
    error = torch.from_numpy(probs.argmax(0) != label)[None]
    pictures = set()
    for percentile in PERCENTILES:
        view.show(percentile)
        mask = uncertain_mask(batch, percentile)
        assert np.array_equal(shown(view) > 0, mask[0].numpy())
        assert np.array_equal(shown(view) == 2, (mask & error)[0].numpy())
        threshold = entropy_threshold(batch, percentile).item()
        capture = error_capture(error, batch, percentile)
        assert list(view.line.get_xdata()) == [threshold, threshold]
        assert view.title.get_text() == (
            f"q = {percentile:g}: U > {threshold:.3f} nats marks "
            f"{100 * mask.float().mean():.1f} % of pixels, {100 * capture.precision:.1f} % of them "
            f"wrong (of all: {100 * error.float().mean():.1f} %), {100 * capture.recall:.1f} % of "
            f"errors (at most {100 * min(1, mask.sum() / error.sum()):.1f} %)"
        )
        pictures.add(view.png())
    assert len(pictures) == len(PERCENTILES)
    assert view.figure is figure  # moved, not drawn anew
    assert [len(axes.get_children()) for axes in figure.axes] == artists


def test_going_back_shows_the_first_picture_again(scene):
    view = ThresholdView(*scene)
    first = view.png()
    view.show(50)
    assert view.png() != first
    view.show(95)
    assert view.png() == first


def test_constant_entropy_marks_nothing(scene):
    image, label, probs, entropy = scene
    view = ThresholdView(image, label, probs, np.full_like(entropy, 0.3))
    assert not shown(view).any()
    assert "marks 0.0 % of pixels, 0.0 % of errors" in view.title.get_text()


def test_a_perfect_prediction_has_no_errors_to_catch(scene):
    entropy = scene[3]
    reading = read_threshold(np.zeros(entropy.shape, bool), entropy, 95)
    assert np.isnan(reading.caught)
    assert reading.text().endswith("no errors")
