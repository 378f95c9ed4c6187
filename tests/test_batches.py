"""Batches are a pure function of seed and step; labels of unlabeled images are never read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tiny import InMemory, slice_path, write_tiny

from buarl.data.acdc import Acdc
from buarl.data.batches import Batches, SemiBatch, stream_indices
from buarl.data.h5 import DataError, Sample
from buarl.data.resample import resize_nearest


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def batches(source):
    return Batches(source, 2, (32, 48))


def equal(a: SemiBatch, b: SemiBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# The order of samples


@given(
    count=st.integers(1, 40), batch=st.integers(1, 12), epoch=st.integers(0, 5), seed=st.integers(0)
)
def test_an_epoch_of_the_labeled_stream(count, batch, epoch, seed):
    batch = min(batch, count)
    per_epoch = count // batch
    chunks = [
        stream_indices([seed], epoch * per_epoch + k, count, batch, per_epoch)
        for k in range(per_epoch)
    ]
    seen = np.concatenate(chunks)
    assert all(len(chunk) == batch for chunk in chunks)
    assert len(set(seen)) == per_epoch * batch  # none twice; the rest, less than a chunk, waits
    assert set(seen) <= set(range(count))


@given(count=st.integers(1, 30), batch=st.integers(1, 12), per_epoch=st.integers(1, 8))
def test_the_unlabeled_stream_goes_round_before_it_repeats(count, batch, per_epoch):
    seen = np.concatenate(
        [stream_indices([7], step, count, batch, per_epoch) for step in range(per_epoch)]
    )
    assert len(seen) == batch * per_epoch
    for start in range(0, len(seen), count):
        part = seen[start : start + count]
        assert len(set(part)) == len(part)


def test_every_epoch_and_every_round_has_a_new_permutation():
    epochs = [
        np.concatenate([stream_indices([1], 4 * e + k, 20, 5, 4) for k in range(4)])
        for e in range(4)
    ]
    assert len({epoch.tobytes() for epoch in epochs}) == 4
    rounds = np.concatenate([stream_indices([1], k, 20, 10, 4) for k in range(4)])
    assert not np.array_equal(rounds[:20], rounds[20:])
    assert not np.array_equal(stream_indices([1], 0, 20, 20, 1), stream_indices([2], 0, 20, 20, 1))


def test_unlabeled_stream_restarts_each_labeled_epoch(batches, monkeypatch):
    # 6 labeled in chunks of 4: epochs of one step. Each step must show 6 different unlabeled ones.
    picked = []
    monkeypatch.setattr(
        Batches,
        "_augmented",
        lambda self, s, seed: (
            picked.append(s.case) or (np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8))
        ),
    )
    for step in range(20):
        picked.clear()
        batches.batch((0,), step, 4, 6)
        assert len(set(picked[:4])) == 4
        assert sorted(picked[4:]) == sorted(s.case for s in batches.unlabeled)


# The batch


def test_same_seed_and_step_same_batch_whatever_came_before(source, batches):
    first = batches.batch((3, 0), 5, 4, 4)
    again = Batches(source, 2, (32, 48))
    again.batch((3, 0), 9, 2, 2)
    assert equal(first, again.batch((3, 0), 5, 4, 4))
    for seed, step in (((3, 0), 6), ((4, 0), 5), ((3, 1), 5)):
        other = batches.batch(seed, step, 4, 4)
        assert not torch.equal(first.labeled_image, other.labeled_image)
        assert not torch.equal(first.unlabeled_image, other.unlabeled_image)


def test_the_global_generators_play_no_part(batches):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = batches.batch((3, 0), 5, 4, 4)
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())
    torch.manual_seed(1)
    assert equal(first, batches.batch((3, 0), 5, 4, 4))


def test_shapes_types_and_order(batches):
    batch = batches.batch((0,), 0, 4, 3)
    assert batch.labeled_image.shape == (4, 1, 32, 48)
    assert batch.label.shape == (4, 32, 48)
    assert batch.unlabeled_image.shape == (3, 1, 32, 48)
    assert batch.labeled_image.dtype == batch.unlabeled_image.dtype == torch.float32
    assert batch.label.dtype == torch.int64
    assert batches.batch((0,), 0, 4, 0).unlabeled_image.shape == (0, 1, 32, 48)


def test_labels_lie_on_their_images(batches):
    for step in range(10):
        batch = batches.batch((0,), step, 4, 0)  # grey = label / 3 + noise of 0.02
        assert (batch.labeled_image[:, 0] * 3 - batch.label).abs().max() < 0.4


def test_first_patients_are_labeled_the_others_are_not(batches, source):
    assert {source.patient(s.case) for s in batches.labeled} == {"p1", "p2"}
    assert {source.patient(s.case) for s in batches.unlabeled} == {"p3", "p4"}


def test_labels_of_unlabeled_samples_are_never_read(tmp_path):
    source = Acdc(write_tiny(tmp_path))
    whole = Batches(source, 2, (32, 32)).batch((0,), 1, 4, 4)
    for name in source.split_labeled(2)[1]:
        with h5py.File(slice_path(tmp_path, name), "a") as file:
            del file["label"]
    assert equal(Batches(source, 2, (32, 32)).batch((0,), 1, 4, 4), whole)
    with pytest.raises(DataError, match="p3_frame01"):
        Batches(source, 3, (32, 32))


def test_unlabeled_files_are_not_opened_when_not_wanted(tmp_path):
    source = Acdc(write_tiny(tmp_path))
    for name in source.split_labeled(2)[1]:
        slice_path(tmp_path, name).unlink()
    assert Batches(source, 2, (32, 32), unlabeled=False).batch((0,), 0, 4, 0).label.shape[0] == 4


def test_unlabeled_wanted_but_none_there(source):
    with pytest.raises(DataError, match="4 unlabeled samples needs unlabeled patients"):
        Batches(source, None, (32, 32)).batch((0,), 0, 4, 4)


def test_a_batch_without_labeled_samples_is_refused(batches):
    with pytest.raises(DataError, match="labeled_batch must be at least 1, got 0"):
        batches.batch((0,), 0, 0, 0)


@pytest.mark.parametrize("size", [7, 20])
def test_where_samples_are_fewer_than_a_batch_they_are_drawn_again(batches, size):
    """All of them equally often, give or take one, and each draw with an augmentation of its own."""
    order = stream_indices((0, 0), 5, 6, size, 1)
    counts = np.bincount(order, minlength=6)
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1
    batch = batches.batch((0,), 5, size, 0)
    assert batch.label.shape[0] == size
    assert equal(batch, batches.batch((0,), 5, size, 0))
    assert len({image.numpy().tobytes() for image in batch.image}) > 6


def test_labeled_and_unlabeled_images_are_views_of_one_tensor(batches):
    batch = batches.batch((0,), 0, 4, 3)
    assert batch.image.shape == (7, 1, 32, 48)
    storage = batch.image.untyped_storage().data_ptr()
    for part in (batch.labeled_image, batch.unlabeled_image, *batch.split(batch.image)):
        assert part.untyped_storage().data_ptr() == storage
    assert [len(part) for part in batch.split(batch.image)] == [4, 3]
    again = SemiBatch.from_parts(batch.labeled_image, batch.label, batch.unlabeled_image)
    assert equal(again, batch)
    alone = SemiBatch.from_parts(batch.labeled_image, batch.label)
    assert len(alone.unlabeled_image) == 0


def test_to_moves_every_tensor(batches):
    moved = batches.batch((0,), 0, 2, 2).to(torch.device("meta"))
    assert {tensor.device.type for tensor in moved} == {"meta"}


# 3-D


class Volumes(InMemory):
    """Volumes of different sizes in memory; image = label."""

    name, rank, class_names = "volumes", 3, ("background", "blob")
    shapes = ((18, 21, 17), (12, 30, 16), (20, 20, 20))

    def training_names(self):
        return ["a", "b", "c"]

    def training_sample(self, name, *, labeled=True):
        index = "abc".index(name)
        label = np.random.default_rng(index).integers(0, 2, self.shapes[index], np.uint8)
        return Sample(name, label.astype(np.float32), label if labeled else None)


def test_3d_patches_from_volumes_larger_and_smaller_than_the_patch():
    patch = (16, 24, 14)  # not square: a quarter turn changes what has to be padded
    batches = Batches(Volumes(), 2, patch)
    for step in range(6):
        batch = batches.batch((0,), step, 2, 2)
        assert batch.labeled_image.shape == (2, 1, *patch)
        assert batch.unlabeled_image.shape == (2, 1, *patch)
        assert torch.equal(batch.labeled_image[:, 0].long(), batch.label)
        assert batch.label.any()
    assert equal(batches.batch((0,), 3, 2, 2), batches.batch((0,), 3, 2, 2))


def test_volumes_are_standardised_and_thinned_as_asked():
    source = Volumes()
    whole = Batches(source, 2, (8, 8, 8))
    small = Batches(source, 2, (8, 8, 8), shrink=2, standardise=True)
    for before, after in zip(whole.labeled, small.labeled, strict=True):
        standard = (before.image - before.image.mean()) / before.image.std()
        shape = tuple(round(n / 2) for n in before.image.shape)
        np.testing.assert_allclose(after.image, resize_nearest(standard, shape), rtol=1e-5)
        assert np.array_equal(after.label, resize_nearest(before.label, shape))
    assert all(sample.label is None for sample in small.unlabeled)
