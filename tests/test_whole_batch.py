"""A loss, a percentile and a mean of the whole batch, computed part by part."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, strategies as st

from buarl.controls import _SameSize
from buarl.dice import DICES
from buarl.entropy import entropy_of_probs, entropy_threshold, uncertain_mask
from buarl.losses import consistency_loss, region_loss, region_mean, voxel_weights
from buarl.regions import crl, drop, soft_certainty, url, whole
from buarl.whole_batch import (
    WholeBatch,
    batch_in_parts,
    batch_kth_smallest,
    batch_mean,
    current_batch,
    drawn_once,
)

RULES = [whole(), url(80), crl(70), drop(60), url(80, scope="image"), soft_certainty()]


class Threads(WholeBatch):
    """Every thread holds a part: what processes do, without their start-up."""

    def __init__(self, parts):
        self.parts = parts
        self.meeting, self.place = threading.Barrier(parts, timeout=20), threading.local()
        self.brought = [None] * parts

    def exchanged(self, part):
        self.meeting.wait()
        self.brought[self.place.number] = part
        self.meeting.wait()
        return torch.stack(self.brought)

    def total(self, part):
        return self.exchanged(part).sum(0)

    def least(self, part):
        return self.exchanged(part).amin(0)

    def drawn_once(self, drawn):
        return self.exchanged(drawn)[0]


def in_parts(compute, parts, *tensors, batch=None):
    """What `compute` returns in each of so many threads, of the strided parts of the tensors."""
    batch = batch or Threads(parts)

    def work(number):
        batch.place.number = number
        return compute(*(tensor[number::parts] for tensor in tensors))

    with batch_in_parts(batch), ThreadPoolExecutor(parts) as pool:
        return list(pool.map(work, range(parts)))


def a_batch(seed=0, images=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, 3, 6, 5, generator=generator, dtype=dtype)
    return logits, torch.randint(3, (images, 6, 5), generator=generator)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_every_loss_of_the_parts_is_that_of_the_whole_batch(rule, reduction, parts):
    logits, target = a_batch()

    def losses(logits, target):
        probs = logits.softmax(1)
        regions = rule(probs)
        means = [
            region_loss(logits, target, regions, reduction=reduction, dice=dice)
            for dice in DICES.values()
        ]
        error = (probs - 0.3).square().sum(1)
        means.append(region_mean(error, regions, reduction=reduction))
        means.append(consistency_loss(probs, probs.roll(1, 1), regions, reduction=reduction))
        return torch.stack(means)

    expected = losses(logits, target)
    for found in in_parts(losses, parts, logits, target):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_weights_of_voxels_are_relative_to_the_mean_of_the_whole_batch(rule, reduction):
    logits, _ = a_batch()

    def weights(logits):
        return voxel_weights(rule(logits.softmax(1)), reduction=reduction)

    expected = weights(logits)
    for number, found in enumerate(in_parts(weights, 2, logits)):
        torch.testing.assert_close(found, expected[number::2], atol=1e-6, rtol=0)


class ByClass(_SameSize):
    """A control without a draw: the voxels with the smallest probability of class 0."""

    def order(self, probs):
        return probs[:, 0].float()


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("percentile", [0, 80, 100])
def test_a_control_takes_as_many_voxels_of_the_parts_as_of_the_whole_batch(percentile, scope):
    rule, probs = ByClass(percentile, scope=scope), a_batch()[0].softmax(1)

    def chosen(probs):
        return rule(probs)[0].mask

    expected = chosen(probs)
    for number, found in enumerate(in_parts(chosen, 2, probs)):
        assert torch.equal(found, expected[number::2])


@given(
    seed=st.integers(0, 10**6),
    percentile=st.sampled_from([0, 1, 33.3, 50, 80, 99, 100]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    ties=st.booleans(),
)
def test_the_percentile_of_the_parts_is_that_of_the_whole_batch(seed, percentile, dtype, ties):
    """To the last bit, also where many voxels have the same entropy."""
    entropy = entropy_of_probs(a_batch(seed, dtype=dtype)[0].softmax(1))
    entropy = entropy.mul(4).round() if ties else entropy

    def cut(entropy):
        return uncertain_mask(entropy, percentile), entropy_threshold(entropy, percentile)

    mask, threshold = cut(entropy)
    for number, (ours, theirs) in enumerate(in_parts(cut, 2, entropy)):
        assert torch.equal(ours, mask[number::2])
        assert torch.equal(theirs, threshold)


def test_an_image_of_its_own_asks_no_other_part():
    entropy = entropy_of_probs(a_batch()[0].softmax(1))
    expected = uncertain_mask(entropy, 80, "image")
    with batch_in_parts(Threads(2)):  # would wait for the other part, and time out
        assert torch.equal(uncertain_mask(entropy, 80, "image"), expected)


@given(
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40),
    nans=st.integers(0, 3),
    wide=st.booleans(),
    data=st.data(),
)
def test_the_value_of_any_rank_is_found_by_counting(values, nans, wide, data):
    values = torch.tensor(values + nans * [torch.nan], dtype=torch.float64 if wide else None)
    rank = data.draw(st.integers(0, len(values) - 1))
    found, expected = batch_kth_smallest(values, rank), values.sort().values[rank]
    assert found.dtype == values.dtype
    torch.testing.assert_close(found, expected, atol=0, rtol=0, equal_nan=True)


def test_a_draw_for_the_whole_batch_is_the_first_part_s():
    drawn = torch.arange(4)
    assert in_parts(drawn_once, 2, drawn)[1].tolist() == [0, 2]
    assert drawn_once(drawn) is drawn


def test_a_mean_of_parts_is_their_mean():
    means = in_parts(lambda values: batch_mean(values.mean()), 2, torch.tensor([1.0, 2, 3, 6]))
    assert means == [3, 3]


def test_after_an_error_the_batch_is_whole_again():
    with pytest.raises(KeyError), batch_in_parts(Threads(2)):
        raise KeyError
    assert current_batch().parts == 1
