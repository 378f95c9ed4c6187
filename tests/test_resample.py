"""Nearest resizing picks scipy's samples; on the way back it keeps the one that scipy blanks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

from buarl.data.resample import nearest_indices, resize_nearest

FIXTURE = Path(__file__).parent / "fixtures" / "zoom_nearest.npz"


def test_parity_fixture():
    with np.load(FIXTURE) as data:
        image = data["image"]
        for key in ("to_64x64", "to_16x80"):
            resized = resize_nearest(image, data[key].shape)
            np.testing.assert_array_equal(resized, data[key])
            assert resized.dtype == image.dtype


@pytest.mark.parametrize("size_out", [64, 128, 256])
def test_equals_scipy_for_every_size(size_out):
    for size in range(20, 301):
        ramp = np.arange(1, size + 1)
        expected = zoom(ramp, size_out / size, order=0)
        np.testing.assert_array_equal(resize_nearest(ramp, (size_out,)), expected, f"size {size}")


@pytest.mark.parametrize("size_in", [64, 128, 256])
def test_on_the_way_back_only_a_last_sample_blanked_by_scipy_differs(size_in):
    ramp = np.arange(1, size_in + 1)  # no 0: a 0 can only be scipy's fill value
    blanked = 0
    for size in range(20, 301):
        by_scipy, ours = zoom(ramp, size / size_in, order=0), resize_nearest(ramp, (size,))
        np.testing.assert_array_equal(ours[:-1], by_scipy[:-1], f"size {size}")
        assert ours[-1] == size_in
        assert by_scipy[-1] in (0, size_in)
        blanked += by_scipy[-1] == 0
    assert blanked < 281 // 4  # 27, 21 and 34 with scipy 1.17.1; later releases may repair it


def test_rule_by_hand_and_as_integers():
    # j * 4 / 2 = 0, 2, 4; j * 1 / 2 = 0, 0.5, 1 and the half goes up.
    assert nearest_indices(5, 3).tolist() == [0, 2, 4]
    assert nearest_indices(2, 3).tolist() == [0, 1, 1]
    assert nearest_indices(7, 7).tolist() == list(range(7))
    for n in range(154, 513):  # docs/protocol.md 1.4 in exact integers
        j = np.arange(256)
        np.testing.assert_array_equal(nearest_indices(n, 256), (2 * j * (n - 1) + 255) // 510)


def test_one_sample_in_or_out_as_scipy():
    assert nearest_indices(7, 1).tolist() == zoom(np.arange(7), 1 / 7, order=0).tolist() == [0]
    assert nearest_indices(1, 4).tolist() == zoom(np.arange(1), 4, order=0).tolist() == [0] * 4


def test_leading_axes_are_carried_along():
    volume = np.random.default_rng(0).random((3, 2, 11, 9))
    resized = resize_nearest(volume, (16, 5))
    assert resized.shape == (3, 2, 16, 5)
    for sample, small in zip(volume.reshape(-1, 11, 9), resized.reshape(-1, 16, 5), strict=True):
        np.testing.assert_array_equal(small, zoom(sample, (16 / 11, 5 / 9), order=0))


def test_result_is_a_copy_even_when_the_size_stays():
    image = np.zeros((3, 3))
    resize_nearest(image, (3, 3))[:] = 1
    assert not image.any()


def test_labels_keep_their_classes():
    label = np.random.default_rng(0).integers(0, 4, (37, 53)).astype(np.uint8)
    there_and_back = resize_nearest(resize_nearest(label, (256, 256)), label.shape)
    np.testing.assert_array_equal(there_and_back, label)  # enlarging loses nothing


def test_errors_name_the_rule_and_the_value():
    with pytest.raises(ValueError, match="sizes must be at least 1, got size_in 5, size_out 0"):
        nearest_indices(5, 0)
    with pytest.raises(ValueError, match=r"1\.\.2 axes of \(4, 4\), got \(2, 2, 2\)"):
        resize_nearest(np.zeros((4, 4)), (2, 2, 2))
    with pytest.raises(ValueError, match=r"got \(\)"):
        resize_nearest(np.zeros((4, 4)), ())
