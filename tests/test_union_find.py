"""Components found by tensor operations equal those of the CPU library, winding shapes included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from buarl.components import largest_component
from buarl.fast import union_find
from buarl.fast.union_find import largest_component_on_device

SHAPES = ((1, 1), (1, 30), (17, 23), (40, 40), (5, 6, 7), (16, 12, 9))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from(SHAPES),
    classes=st.integers(2, 5),
    background=st.floats(0, 1),
    dtype=st.sampled_from((torch.int64, torch.uint8)),
)
def test_equals_the_cpu_library(seed, shape, classes, background, dtype):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (3, *shape), generator=generator)
    label[torch.rand(label.shape, generator=generator) < background] = 0
    label = label.to(dtype)
    kept = largest_component_on_device(label, classes)
    assert kept.dtype == dtype
    assert torch.equal(kept, largest_component(label, classes))


def spiral(n):
    """One arm of one pixel, from the border to the middle, never touching itself."""
    arm = torch.zeros(n, n, dtype=torch.long)
    row, column, down, right = 0, 0, 0, 1
    arm[0, 0] = 1
    for _ in range(n * n):
        ahead = (row + 2 * down, column + 2 * right)
        next_in = 0 <= row + down < n and 0 <= column + right < n
        free = not (0 <= ahead[0] < n and 0 <= ahead[1] < n and arm[ahead])
        if not (next_in and free):
            down, right = right, -down
            if arm[row + down, column + right] or not (
                0 <= row + 2 * down < n and 0 <= column + 2 * right < n
            ):
                break
        row, column = row + down, column + right
        arm[row, column] = 1
    return arm


def snake(n):
    rows = torch.zeros(n, n, dtype=torch.long)
    rows[::2] = 1
    for k, r in enumerate(range(1, n - 1, 2)):
        rows[r, -1 if k % 2 == 0 else 0] = 1
    return rows


@pytest.mark.parametrize("shape", [spiral, snake])
@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 1)])
def test_winding_shapes_stay_whole(shape, flip):
    label = shape(129).flip(flip)[None]
    assert torch.equal(largest_component_on_device(label, 2), largest_component(label, 2))
    if shape is snake:
        assert torch.equal(largest_component_on_device(label, 2), label)


@pytest.mark.parametrize(("shape", "share"), [((256, 256), 0.41), ((64, 64, 48), 0.1)])
def test_noise_about_to_connect_leaves_rounds_to_spare(monkeypatch, shape, share):
    monkeypatch.setattr(union_find, "ROUNDS", union_find.ROUNDS - 3)
    label = (torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) < share).long()
    assert torch.equal(largest_component_on_device(label, 2), largest_component(label, 2))


def test_too_few_rounds_raise_and_do_not_guess(monkeypatch):
    monkeypatch.setattr(union_find, "ROUNDS", 1)
    with pytest.raises(RuntimeError, match="too winding"):
        largest_component_on_device(snake(65)[None], 2)


def test_of_equals_the_first_stays():
    label = torch.tensor([[[1, 0, 1], [0, 0, 0], [1, 0, 1]]])
    assert largest_component_on_device(label, 2).flatten().tolist() == [1] + [0] * 8


def test_a_huge_sample_is_refused():
    with pytest.raises(ValueError, match=r"2\*\*24"):
        largest_component_on_device(torch.zeros(1, 2**12, 2**12 + 1, dtype=torch.uint8), 2)
