"""Augmentation equals scipy's rotate and zoom, mirrors always, and draws 50/25/25."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.ndimage import rotate, zoom

from buarl.data.augment import (
    Augmentation,
    apply_2d,
    apply_3d,
    padded,
    sample_2d,
    sample_3d,
    sample_crop,
)

sides = st.integers(20, 70)


def pair(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 1, shape).astype(np.float32), rng.integers(1, 4, shape, np.uint8)


def by_scipy(array, angle, size):
    if angle:
        array = rotate(array, angle, order=0, reshape=False)
    return zoom(array, [m / n for n, m in zip(array.shape, size, strict=True)], order=0)


@given(rows=sides, columns=sides, angle=st.integers(-20, 19), size=st.sampled_from([64, 128]))
def test_rotation_equals_scipy_rotate_then_zoom(rows, columns, angle, size):
    image, label = pair((rows, columns))
    ours, our_label = apply_2d(image, label, Augmentation(angle=angle), (size, size))
    np.testing.assert_array_equal(ours, by_scipy(image, angle, (size, size)))
    np.testing.assert_array_equal(our_label, by_scipy(label, angle, (size, size)))
    assert (ours.dtype, our_label.dtype) == (np.float32, np.uint8)


@pytest.mark.parametrize("shape", [(256, 216), (207, 181), (154, 428)])
@pytest.mark.parametrize("angle", [-20, -7, 0, 13])
def test_rotation_equals_scipy_at_the_sizes_of_acdc(shape, angle):
    image, label = pair(shape)
    for ours, array in zip(
        apply_2d(image, label, Augmentation(angle=angle), (256, 256)), (image, label), strict=True
    ):
        np.testing.assert_array_equal(ours, by_scipy(array, angle, (256, 256)))


def test_rotation_shows_background_in_the_corners():
    image, label = pair((40, 40))  # no 0 in either
    rotated, rotated_label = apply_2d(image, label, Augmentation(angle=15), (40, 40))
    corners = rotated[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()
    np.testing.assert_array_equal(rotated == 0, rotated_label == 0)


def all_turns():
    return [Augmentation(turns, axis) for turns in range(4) for axis in (0, 1)]


@given(rows=sides, columns=sides, pick=st.integers(0, 7))
def test_turn_and_flip_equal_numpy_then_zoom(rows, columns, pick):
    turn = all_turns()[pick]
    image, label = pair((rows, columns))
    for ours, array in zip(apply_2d(image, label, turn, (64, 64)), (image, label), strict=True):
        mirrored = np.flip(np.rot90(array, turn.quarter_turns), turn.flip_axis)
        np.testing.assert_array_equal(ours, by_scipy(mirrored, 0, (64, 64)))


def test_turns_are_the_four_mirror_images_and_never_the_identity():
    image = np.arange(25, dtype=np.float32).reshape(5, 5)
    mirrors = [image[::-1], image[:, ::-1], image.T, image[::-1, ::-1].T]
    found = Counter(apply_2d(image, None, turn, (5, 5))[0].tobytes() for turn in all_turns())
    assert found == Counter({np.ascontiguousarray(m).tobytes(): 2 for m in mirrors})
    for k in range(4):  # neither the image nor a pure turn of it
        assert np.ascontiguousarray(np.rot90(image, k)).tobytes() not in found


def test_branches_are_half_quarter_quarter_and_every_draw_is_reached():
    rng = np.random.default_rng(0)
    draws = [sample_2d(rng) for _ in range(12_000)]
    mirrored = [d for d in draws if d.flip_axis is not None]
    rotated = [d for d in draws if d.flip_axis is None and d.angle]
    assert len(mirrored) / len(draws) == pytest.approx(1 / 2, abs=0.02)
    assert len(rotated) / len(draws) == pytest.approx(39 / 40 / 4, abs=0.02)  # one of 40 is 0
    assert {d.angle for d in rotated} == set(range(-20, 20)) - {0}
    counts = Counter(mirrored)
    assert set(counts) == set(all_turns())  # and so with angle 0
    assert min(counts.values()) > 0.9 * len(mirrored) / 8
    assert all(d.quarter_turns == 0 for d in rotated)


@given(seed=st.integers(0, 2**32))
def test_sampling_is_a_function_of_the_generator(seed):
    one, two = np.random.default_rng(seed), np.random.default_rng(seed)
    assert [sample_2d(one) for _ in range(5)] == [sample_2d(two) for _ in range(5)]
    assert sample_3d(one) == sample_3d(two)
    assert sample_crop(one, (9, 9, 9), (4, 4, 4)) == sample_crop(two, (9, 9, 9), (4, 4, 4))


@given(seed=st.integers(0, 2**32), rows=sides, columns=sides)
def test_label_follows_the_image_2d(seed, rows, columns):
    _, label = pair((rows, columns))
    draw = sample_2d(np.random.default_rng(seed))
    image, moved = apply_2d(label.astype(np.float32), label, draw, (48, 32))
    assert image.shape == moved.shape == (48, 32)
    np.testing.assert_array_equal(image, moved)
    alone, nothing = apply_2d(label.astype(np.float32), None, draw, (48, 32))
    np.testing.assert_array_equal(alone, image)
    assert nothing is None


def test_augmentation_leaves_its_input_alone():
    image, label = pair((20, 24))
    kept = image.copy(), label.copy()
    for draw in (Augmentation(), Augmentation(angle=9), Augmentation(1, 0)):
        ours, _ = apply_2d(image, label, draw, (20, 24))
        ours[:] = -1
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(label, kept[1])


# 3-D


def test_crop_start_reaches_every_place_but_the_last():
    rng = np.random.default_rng(0)
    starts = np.array([sample_crop(rng, (12, 9, 6), (8, 8, 6)) for _ in range(500)])
    assert set(starts[:, 0]) == {0, 1, 2, 3}  # 4 would fit; the references never draw it
    assert set(starts[:, 1]) == set(starts[:, 2]) == {0}


@given(seed=st.integers(0, 2**32))
def test_label_follows_the_image_3d_and_the_patch_is_a_piece_of_a_mirror_image(seed):
    rng = np.random.default_rng(seed)
    volume = np.arange(10 * 12 * 7, dtype=np.int32).reshape(10, 12, 7)
    turn = sample_3d(rng)
    assert turn.flip_axis in (0, 1)
    turned = np.flip(np.rot90(volume, turn.quarter_turns), turn.flip_axis)
    start = sample_crop(rng, turned.shape, (8, 8, 6))
    image, label = apply_3d(volume, volume, turn, start, (8, 8, 6))
    a, b, c = start
    np.testing.assert_array_equal(image, turned[a : a + 8, b : b + 8, c : c + 6])
    np.testing.assert_array_equal(label, image)
    assert image.shape == (8, 8, 6)
    assert image.flags.c_contiguous
    assert (np.diff(image, axis=2) == 1).all()  # z is never turned
    assert apply_3d(volume, None, turn, start, (8, 8, 6))[1] is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((9, 9, 7), (9, 9, 7)),  # larger everywhere: as it is
        ((8, 9, 7), (14, 13, 11)),  # one axis not larger: all are padded, by max((p-n)//2+3, 0)
        ((3, 20, 20), (3 + 2 * 5, 20, 20)),  # (8-3)//2+3 = 5; (8-20)//2+3 = -3
        ((8, 12, 9), (14, 14, 11)),  # also one above the patch, as in the references
    ],
)
def test_padding_rule(shape, expected):
    volume = np.ones(shape, np.float32)
    result = padded(volume, (8, 8, 6))
    assert result.shape == expected
    assert result.sum() == volume.sum()
    margin = [(big - small) // 2 for big, small in zip(expected, shape, strict=True)]
    centre = result[tuple(slice(m, m + n) for m, n in zip(margin, shape, strict=True))]
    assert (centre == 1).all()


@given(shape=st.tuples(*[st.integers(1, 20)] * 3))
def test_a_padded_volume_always_holds_a_patch(shape):
    result = padded(np.zeros(shape), (8, 8, 6))
    assert all(n > p for n, p in zip(result.shape, (8, 8, 6), strict=True))
