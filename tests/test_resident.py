"""Batches cut out on the device equal those cut out on the host, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny import InMemory, tiny_config, tiny_method, write_tiny

from buarl.data import augment
from buarl.data.acdc import Acdc
from buarl.data.batches import Batches
from buarl.data.h5 import DataError, Sample
from buarl.fast.resident import ResidentBatches
from buarl.training.loop import fit

CPU = torch.device("cpu")


class Made(InMemory):
    """Samples of any shapes, all from random numbers."""

    name, class_names = "made", ("background", "blob")

    def __init__(self, shapes):
        super().__init__()
        self.shapes, self.rank = shapes, len(shapes[0])

    def training_names(self):
        return [str(i) for i in range(len(self.shapes))]

    def training_sample(self, name, *, labeled=True):
        rng = np.random.default_rng(int(name))
        image = rng.normal(size=self.shapes[int(name)]).astype(np.float32)
        return Sample(name, image, (image > 1).astype(np.uint8) if labeled else None)


def both(shapes, size, labeled):
    batches = Batches(Made(shapes), labeled, size)
    return batches, ResidentBatches(batches, CPU)


def assert_same(host, device, steps, size=2):
    for step in range(steps):
        for a, b in zip(
            host.batch((5, 1), step, size, size),
            device.batch((5, 1), step, size, size),
            strict=True,
        ):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


sides = st.integers(5, 40)


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(sides, sides), min_size=4, max_size=6), size=st.tuples(sides, sides)
)
def test_slices_of_any_shape(shapes, size):
    assert_same(*both(shapes, size, 2), steps=6)


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(*[st.integers(4, 24)] * 3), min_size=4, max_size=5),
    size=st.tuples(*[st.integers(4, 20)] * 3),
)
def test_patches_from_volumes_larger_and_smaller_than_the_patch(shapes, size):
    assert_same(*both(shapes, size, 2), steps=6)


@pytest.mark.parametrize("angle", range(-20, 20))
def test_every_angle(angle, monkeypatch):
    monkeypatch.setattr(augment, "sample_2d", lambda rng: augment.Augmentation(angle=angle))
    assert_same(*both([(31, 44), (44, 31), (40, 40), (23, 50)], (32, 48), 2), steps=1)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rank", [2, 3])
def test_every_turn_and_flip(turns, axis, rank, monkeypatch):
    for name in ("sample_2d", "sample_3d"):
        monkeypatch.setattr(augment, name, lambda rng: augment.Augmentation(turns, axis))
    shapes = [(31, 44, 9), (18, 31, 12), (40, 40, 15), (23, 50, 20)]
    size = (30, 26, 14)
    assert_same(*both([s[:rank] for s in shapes], size[:rank], 2), steps=2)


def test_rules_are_the_same():
    _, device = both([(8, 8)] * 4, (8, 8), 4)
    with pytest.raises(DataError, match="needs unlabeled patients"):
        device.batch((0,), 0, 2, 2)
    with pytest.raises(DataError, match="labeled_batch must be at least 1, got 0"):
        device.batch((0,), 0, 0, 0)
    assert len(device.batch((0,), 0, 5, 0).label) == 5  # of 4: drawn again, as on the host


def test_training_from_resident_batches_is_the_same_training(tmp_path, monkeypatch):
    import buarl.training.loop

    source = Acdc(write_tiny(tmp_path))
    plain = fit(tiny_method("bcp"), source, tiny_config("bcp"))
    monkeypatch.setattr(
        buarl.training.loop, "Batches", lambda *a, **k: ResidentBatches(Batches(*a, **k), CPU)
    )
    moved = fit(tiny_method("bcp"), source, tiny_config("bcp"))
    for a, b in zip(plain.network.parameters(), moved.network.parameters(), strict=True):
        assert torch.equal(a, b)
