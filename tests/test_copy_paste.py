"""One box as in BCP: its size, its corners, its share, and what is pasted where."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from buarl.copy_paste import Box, copy_paste, outside_mask, sample_box

ACDC, LA = (256, 256), (112, 112, 80)


def draws(spatial, count=2000):
    generator = torch.Generator().manual_seed(0)
    return [sample_box(spatial, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("spatial", "size", "last_corner"),
    [(ACDC, (170, 170), (85, 85)), (LA, (74, 74, 53), (37, 37, 26))],
)
def test_box_size_and_corner_range_are_bcps(spatial, size, last_corner):
    boxes = draws(spatial)
    assert {box.size for box in boxes} == {size}
    corners = list(zip(*(box.start for box in boxes), strict=True))
    for axis, last in zip(corners, last_corner, strict=True):
        assert set(axis) == set(range(last + 1))  # every corner, and never the last that would fit


@pytest.mark.parametrize(("spatial", "share"), [(ACDC, 0.441), (LA, 0.289)])
def test_share_inside_the_box(spatial, share):
    for box in draws(spatial, 5):
        inside = ~outside_mask(spatial, box)
        assert inside.shape == spatial
        assert inside.sum() == math.prod(box.size)
        assert inside.float().mean().item() == pytest.approx(share, abs=5e-4)


def test_two_thirds_are_rounded_down_for_every_size():
    for n in range(1, 600):  # the reference computes int(n * 2 / 3), in that order
        assert sample_box((n,)).size == (n * 2 // 3,)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.floats(0, 1), st.integers(0, 9))
def test_a_box_always_fits(spatial, share, seed):
    box = sample_box(spatial, share, torch.Generator().manual_seed(seed))
    for start, size, n in zip(box.start, box.size, spatial, strict=True):
        assert start >= 0
        assert start + size <= n
    assert (~outside_mask(spatial, box)).sum() == math.prod(box.size)


def test_share_one_pastes_everything():
    box = sample_box((8, 6), 1.0)
    assert box == Box((0, 0), (8, 6))
    assert not outside_mask((8, 6), box).any()


def test_draws_repeat_with_the_generator_and_with_the_seed():
    first, second = draws(LA, 20), draws(LA, 20)
    assert first == second
    assert len(set(first)) > 1
    torch.manual_seed(3)
    first = sample_box(LA)
    torch.manual_seed(3)
    assert sample_box(LA) == first


def test_mask_is_false_in_the_box_only():
    outside = outside_mask((4, 5), Box((1, 2), (2, 3)))
    assert outside.int().tolist() == [
        [1, 1, 1, 1, 1],
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1],
    ]


@pytest.mark.parametrize("spatial", [(9, 7), (6, 5, 4)])
def test_images_and_labels_are_mixed_alike(spatial):
    outside = outside_mask(spatial, sample_box(spatial))
    around, box = torch.full((2, 1, *spatial), 1.0), torch.full((2, 1, *spatial), 2.0)
    mixed = copy_paste(around, box, outside)
    assert (mixed[:, 0, outside] == 1).all()
    assert (mixed[:, 0, ~outside] == 2).all()
    label = copy_paste(around[:, 0].long(), box[:, 0].long(), outside)
    assert label.dtype == torch.int64
    assert torch.equal(label, mixed[:, 0].long())


def test_the_two_directions_use_every_voxel_of_both_images_once():
    outside = outside_mask((6, 6), sample_box((6, 6)))
    a, b = torch.randn(1, 1, 6, 6), torch.randn(1, 1, 6, 6)
    first, second = copy_paste(a, b, outside), copy_paste(b, a, outside)
    assert torch.equal(copy_paste(first, second, outside), a)
    assert torch.equal(copy_paste(second, first, outside), b)


def test_not_a_number_in_the_hidden_part_does_not_leak():
    """where() selects; a product with the mask would spread NaN."""
    outside = outside_mask((6, 6), sample_box((6, 6)))
    a, b = torch.ones(1, 1, 6, 6), torch.ones(1, 1, 6, 6)
    a[:, :, ~outside], b[:, :, outside] = math.nan, math.inf
    assert torch.equal(copy_paste(a, b, outside), torch.ones(1, 1, 6, 6))


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_outside_0_to_1_is_named(share):
    with pytest.raises(ValueError, match=f"share must lie in 0-1, got {share}"):
        sample_box((8, 8), share)


def test_an_axis_without_voxels_is_named():
    with pytest.raises(ValueError, match="size of an axis must be >= 1, got 0"):
        sample_box((8, 0))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (Box((0,), (4,)), "box must have 2 axes"),
        (Box((0, 0, 0), (1, 1, 1)), "box must have 2 axes"),
        (Box((3, 0), (2, 2)), r"box must lie inside \(4, 5\), got Box\(start=\(3, 0\)"),
        (Box((-1, 0), (2, 2)), "box must lie inside"),
        (Box((0, 0), (-1, 2)), "box must lie inside"),
    ],
)
def test_a_box_that_sticks_out_is_named(box, message):
    with pytest.raises(ValueError, match=message):
        outside_mask((4, 5), box)


def test_nothing_but_the_mask_is_broadcast():
    a, b = torch.zeros(2, 1, 6, 6), torch.ones(2, 1, 6, 6)
    outside = outside_mask((6, 6), Box((1, 1), (2, 2)))
    with pytest.raises(ValueError, match=r"inside_image must have shape \(2, 1, 6, 6\)"):
        copy_paste(a, b[:1], outside)
    with pytest.raises(
        ValueError, match=r"inside_image must .* fit outside_image, got \(2, 6, 6\)"
    ):
        copy_paste(a, b[:, 0], outside)
    for wrong in (outside[:1], outside[:, :1], outside.expand(3, 2, 1, 6, 6)):
        with pytest.raises(ValueError, match=r"outside must have shape .* to fit outside_image"):
            copy_paste(a, b, wrong)
    assert copy_paste(torch.tensor(7), torch.tensor(8), outside).sum() == 36 * 7 + 4
    with pytest.raises(TypeError, match=r"outside must hold True and False, .* got torch.float32"):
        copy_paste(a, b, outside.float())
    with pytest.raises(TypeError, match="inside_image must be a torch tensor, got numpy.ndarray"):
        copy_paste(a, b.numpy(), outside)
