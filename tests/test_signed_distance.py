"""Signed distance maps are those of the reference, by hand, and for labels of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from buarl.methods.signed_distance.maps import signed_distance, signed_distance_on_device

LABELS = st.one_of(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), *[st.integers(1, 9)] * 2), elements=labels)
    if rank == 2
    else hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 2), *[st.integers(1, 5)] * 3), elements=labels
    )
    for rank in (2, 3)
    for labels in (st.integers(0, 3), st.integers(1, 2))
)


def published(mask):
    """The definition for one mask: two distance transforms, each over its maximum."""
    if not mask.any() or mask.all():
        return np.zeros(mask.shape, np.float32)
    outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
    distance = outside / outside.max() - inside / inside.max()
    distance[inside == 1] = 0
    return distance.astype(np.float32)


def box_label(spatial, num_classes=2):
    """Class 1 in a box off the centre, and inside it a box of every further class."""
    label = torch.zeros(1, *spatial, dtype=torch.long)
    for c in range(1, num_classes):
        label[(0, *(slice(c + 1, n - 2 - c) for n in spatial))] = c
    return label


def test_equals_the_reference_bit_for_bit(parity):
    arrays = parity("signed_distance_3d")
    distance = signed_distance(torch.from_numpy(arrays["mask"]), 2, background=False)
    assert distance.shape == (3, 1, 18, 16, 12)
    assert distance.dtype == torch.float32
    assert np.array_equal(distance[:, 0].numpy(), arrays["sdf"])


def test_by_hand():
    label = torch.tensor([[[0, 0, 1, 1, 1, 0, 0, 0]]])
    background, foreground = signed_distance(label, 2)[0, :, 0]
    third = 1 / 3
    torch.testing.assert_close(
        foreground, torch.tensor([2 * third, third, 0, -1, 0, third, 2 * third, 1])
    )
    torch.testing.assert_close(
        background, torch.tensor([-2 * third, 0, 0.5, 1, 0.5, 0, -2 * third, -1])
    )


@pytest.mark.parametrize("spatial", [(24, 20), (14, 16, 12)])
def test_a_box_in_a_larger_patch(spatial):
    label = box_label(spatial)
    distance = signed_distance(label, 2, background=False)[0, 0]
    inside = label[0] == 1
    core = inside.clone()
    for axis in range(len(spatial)):
        for shift in (1, -1):
            core &= inside.roll(shift, axis)
    assert (distance.min(), distance.max()) == (-1, 1)
    assert (distance[inside & ~core] == 0).all()
    assert (distance[core] < 0).all()
    assert (distance[~inside] > 0).all()


@given(LABELS, st.booleans())
def test_tensor_operations_give_the_same_bits(label, background):
    label = torch.from_numpy(label).long()
    ours = signed_distance_on_device(label, 4, background=background)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, signed_distance(label, 4, background=background))


def test_tensor_operations_on_a_larger_patch():
    label = torch.cat([box_label((70, 90), 4), box_label((70, 90)), box_label((70, 90)) * 0])
    ours = signed_distance_on_device(label, 4, background=True)
    assert torch.equal(ours, signed_distance(label, 4))
    volume = box_label((30, 28, 20))
    ours = signed_distance_on_device(volume, 2, background=False)
    assert torch.equal(ours, signed_distance(volume, 2, background=False))


@given(LABELS)
def test_every_class_is_the_published_map_of_its_mask(label):
    distance = signed_distance(torch.from_numpy(label), 4).numpy()
    for image, maps in zip(label, distance, strict=True):
        for c in range(4):
            assert np.array_equal(maps[c], published(image == c)), c


@pytest.mark.parametrize("spatial", [(40, 33), (17, 20, 14)])
def test_blobs_of_every_class_and_threads(spatial):
    """Larger boxes than hypothesis draws; more threads change nothing."""
    label = torch.cat([box_label(spatial, 4), box_label(spatial, 3), box_label(spatial, 2)])
    distance = signed_distance(label, 4)
    for image, maps in zip(label.numpy(), distance.numpy(), strict=True):
        for c in range(4):
            assert np.array_equal(maps[c], published(image == c)), c
    torch.set_num_threads(2)
    try:
        assert torch.equal(signed_distance(label, 4), distance)
    finally:
        torch.set_num_threads(1)


def test_absent_and_full_classes_have_the_map_0():
    label = torch.zeros(2, 6, 6, dtype=torch.long)
    label[1, 2:4, 2:4] = 2
    distance = signed_distance(label, 4)
    assert (distance[0] == 0).all()  # background fills the image
    assert (distance[1, [1, 3]] == 0).all()
    assert (distance[1, [0, 2]] != 0).any()


def test_the_background_is_the_first_map():
    label = box_label((12, 12), 4)
    assert torch.equal(
        signed_distance(label, 4)[:, 1:], signed_distance(label, 4, background=False)
    )


def test_the_label_is_any_integer_and_stays_as_it_is():
    label = box_label((12, 12), 3)
    before = label.clone()
    expected = signed_distance(label, 3)
    assert torch.equal(label, before)
    assert torch.equal(expected, signed_distance(label.to(torch.uint8), 3))
    assert signed_distance(label[:0], 3).shape == (0, 3, 12, 12)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_out_of_range_are_refused(wrong):
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    label[0, 0, 0] = wrong
    with pytest.raises(ValueError, match=rf"0 to 2, got {min(wrong, 0)} to {max(wrong, 0)}"):
        signed_distance(label, 3)
