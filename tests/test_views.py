"""What lessons look at has training size, and of a volume it is a patch of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_config, write_tiny

from buarl.data.acdc import Acdc
from buarl.data.h5 import Sample
from buarl.data.resample import resize_nearest
from buarl.figures import views

RNG = np.random.default_rng(3)


def sample(*shape: int) -> Sample:
    return Sample("a", RNG.random(shape).astype(np.float32), RNG.integers(0, 2, shape, np.uint8))


def config(*size: int, **changes):
    return replace(tiny_config("supervised"), image_size=size, **changes)


def test_a_slice_is_resized():
    case = sample(30, 21)
    for view, whole in zip(views.training_view(case, config(8, 9)), case[1:3], strict=True):
        assert np.array_equal(view, resize_nearest(whole, (8, 9)))
        assert view.dtype == whole.dtype


def test_of_a_volume_image_and_label_are_the_same_patch():
    case = sample(20, 18, 12)
    case = case._replace(label=(case.image > 0.5).astype(np.uint8))
    patches = {views.training_view(case, config(8, 8, 6), seed)[0].tobytes() for seed in range(9)}
    assert len(patches) > 5  # the seed decides where
    image, label = views.training_view(case, config(8, 8, 6), 4)
    windows = np.lib.stride_tricks.sliding_window_view(case.image, (8, 8, 6))
    assert (windows == image).all((3, 4, 5)).sum() == 1  # as it lies there: not turned, not flipped
    assert np.array_equal(label, image > 0.5)
    assert np.array_equal(image, views.training_view(case, config(8, 8, 6), 4)[0])


def test_a_volume_is_shrunk_and_standardised_as_for_training():
    case = sample(40, 36, 24)
    image, label = views.training_view(case, config(8, 8, 6, shrink=2, standardise=True))
    assert image.shape == label.shape == (8, 8, 6)
    assert image.min() < -1
    assert label.dtype == np.uint8


def test_unlabeled_views_are_spaced_evenly_and_begin_again(tmp_path):
    source, tiny = Acdc(write_tiny(tmp_path / "data")), tiny_config("supervised")
    names = source.split_labeled(tiny.labeled)[1]
    images, labels = views.unlabeled_views(source, tiny, 2)
    assert images.shape == labels.shape == (2, *tiny.image_size)
    step = len(names) // 2
    for number, name in enumerate((names[0], names[step])):
        image, label = views.training_view(source.training_sample(name), tiny)
        assert np.array_equal(images[number], image)
        assert np.array_equal(labels[number], label)
    more, _ = views.unlabeled_views(source, tiny, len(names) + 1)
    assert np.array_equal(more[-1], more[0])  # of a slice there is one view


def test_no_view_with_all_classes_is_an_error_that_names_the_data(tmp_path):
    source = Acdc(write_tiny(tmp_path / "data"))
    with pytest.raises(ValueError, match=r"data: none of 1 training samples holds all classes"):
        views.view_with_all_classes(source, config(4, 4), source.training_names()[:1])


def test_planes_have_z_first():
    volume = RNG.random((5, 6, 7))
    assert np.array_equal(views.planes(volume, 2)[3], volume[3])
    assert np.array_equal(views.planes(volume, 3)[3], volume[..., 3])
