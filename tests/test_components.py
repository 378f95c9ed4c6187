"""The batched clean-up equals scipy's labeling of each sample and class on its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import ndimage

from buarl.components import largest_component

FIXTURE = Path(__file__).parent / "fixtures" / "largest_component_2d.npz"


def largest_by_scipy(labels: np.ndarray, num_classes: int) -> np.ndarray:
    kept = np.zeros_like(labels)
    structure = np.ones((3,) * (labels.ndim - 1))
    for sample, target in zip(labels, kept, strict=True):
        for c in range(1, num_classes):
            component, count = ndimage.label(sample == c, structure)
            if count:  # scipy numbers in raster order, argmax takes the first of equals
                target[component == np.bincount(component.ravel())[1:].argmax() + 1] = c
    return kept


def test_parity_fixture():
    with np.load(FIXTURE) as data:
        pseudo_label = data["pseudo_label"]
        kept = largest_component(torch.from_numpy(pseudo_label), int(pseudo_label.max()) + 1)
        np.testing.assert_array_equal(kept.numpy(), data["kept"])
        assert (kept.numpy() != pseudo_label).any()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 4),
    spatial=st.one_of(st.tuples(*[st.integers(1, 16)] * 2), st.tuples(*[st.integers(1, 8)] * 3)),
    num_classes=st.integers(2, 4),
    density=st.floats(0.0, 1.0),
)
def test_equals_scipy_on_random_blobs(seed, batch, spatial, num_classes, density):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, num_classes, (batch, *spatial))
    labels *= rng.random(labels.shape) < density  # sparse: many equal sizes, so ties are tested
    kept = largest_component(torch.from_numpy(labels), num_classes)
    np.testing.assert_array_equal(kept.numpy(), largest_by_scipy(labels, num_classes))


def test_samples_do_not_join_across_the_seam_of_the_stack():
    pseudo_label = torch.zeros(2, 4, 5, dtype=torch.int64)
    pseudo_label[0, 3, :2] = 1  # touches the next sample's first row once stacked
    pseudo_label[0, 0, :3] = 1
    pseudo_label[1, 0, :2] = 1
    pseudo_label[1, 2:, 2:4] = 1
    kept = largest_component(pseudo_label, 2)
    assert kept[0].nonzero().tolist() == [[0, 0], [0, 1], [0, 2]]
    assert kept[1].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_corner_neighbours_join_and_classes_do_not():
    pseudo_label = torch.tensor([[[1, 0, 0, 1], [0, 1, 0, 0], [0, 2, 2, 0]]])
    assert largest_component(pseudo_label, 3).tolist() == [
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 2, 2, 0]]
    ]
    cube = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    cube[0, 0, 0, 0] = cube[0, 1, 1, 1] = cube[0, 2, 0, 2] = 1  # a chain of corners
    assert torch.equal(largest_component(cube, 2), cube)


def test_tie_keeps_the_component_met_first_in_raster_order():
    pseudo_label = torch.tensor([[[0, 0, 0, 1], [1, 0, 0, 0]], [[0, 0, 0, 0], [1, 0, 1, 0]]])
    assert largest_component(pseudo_label, 2).nonzero().tolist() == [[0, 0, 3], [1, 1, 0]]


def test_empty_stays_empty_and_input_is_untouched():
    empty = torch.zeros(2, 3, 3, dtype=torch.int32)
    assert torch.equal(largest_component(empty, 4), empty)
    two = torch.tensor([[[1, 0, 1, 1]]])
    before = two.clone()
    largest_component(two, 2)
    assert torch.equal(two, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_dtype_and_non_contiguous_memory(dtype):
    labels = np.random.default_rng(0).integers(0, 3, (2, 9, 7))
    view = torch.from_numpy(labels).to(dtype).transpose(1, 2)
    kept = largest_component(view, 3)
    assert kept.dtype == dtype
    np.testing.assert_array_equal(
        kept.numpy(), largest_by_scipy(labels.transpose(0, 2, 1).copy(), 3)
    )


def test_more_samples_than_a_byte_can_number():
    labels = np.random.default_rng(1).integers(0, 4, (300, 5, 5))
    kept = largest_component(torch.from_numpy(labels.astype(np.uint8)), 4)
    np.testing.assert_array_equal(kept.numpy(), largest_by_scipy(labels, 4))


def test_errors_name_the_rule_and_the_value():
    with pytest.raises(ValueError, match=r"2 or 3 spatial axes, got shape \(4, 4\)"):
        largest_component(torch.zeros(4, 4, dtype=torch.int64), 2)
    with pytest.raises(TypeError, match=r"pseudo_label must hold integers, got torch.float32"):
        largest_component(torch.zeros(1, 4, 4), 2)
    with pytest.raises(TypeError, match=r"pseudo_label must be a torch tensor, got numpy.ndarray"):
        largest_component(torch.zeros(1, 4, 4).numpy(), 2)
    with pytest.raises(ValueError, match=r"classes 0\.\.1, got 0\.\.3"):
        largest_component(torch.tensor([[[0, 3]]]), 2)
