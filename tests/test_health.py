"""A training that teaches nothing says so: what was seen, where, and what to try."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from buarl.data.h5 import Sample
from buarl.training.health import TeachesNothing, check_history, check_prediction, check_samples


def sample(case, image, label=None):
    return Sample(case, np.asarray(image, np.float32), label)


def noise(seed=0):
    return np.random.default_rng(seed).normal(size=(4, 4))


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error", TeachesNothing)
        yield


def test_labels_with_one_class_are_named():
    labels = [sample(f"p{i}", noise(i), np.zeros((4, 4), np.uint8)) for i in range(3)]
    with pytest.warns(TeachesNothing, match="all 3 labels hold class 0 only; .*check the label"):
        check_samples(labels, [])


def test_constant_images_are_named():
    label = np.eye(4, dtype=np.uint8)
    with pytest.warns(TeachesNothing, match="all 2 unlabeled images are constant, first q0"):
        check_samples(
            [sample("p", noise(), label)], [sample(f"q{i}", np.ones((4, 4))) for i in range(2)]
        )


def test_one_constant_slice_among_others_is_normal(silent):
    label = np.eye(4, dtype=np.uint8)
    check_samples(
        [sample("p", noise(), label), sample("q", np.zeros((4, 4)), 0 * label)],
        [sample("r", noise(1)), sample("s", np.zeros((4, 4)))],
    )


def row(step, **logs):
    return {"stage": "train", "step": step, "lr": 0.01, **logs}


def test_a_loss_of_zero_for_fifty_steps_is_named_with_its_step():
    history = [row(10 * i, student_loss=0.0, weight=0.0) for i in range(1, 6)]
    with pytest.warns(
        TeachesNothing, match="stage 'train', step 50: student_loss has been exactly"
    ):
        check_history("train", history)


def test_a_loss_that_moves_or_a_weight_of_zero_is_normal(silent):
    check_history("train", [row(10 * i, student_loss=0.1, weight=0.0) for i in range(1, 6)])
    check_history("train", [row(10 * i, student_loss=float(i == 1)) for i in range(1, 6)])
    check_history("train", [row(10 * i, student_loss=0.0) for i in range(1, 5)])


class Constant(nn.Module):
    def __init__(self, scores):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.scores = torch.tensor(scores)

    def forward(self, image):
        moved = self.norm(image) * torch.tensor([1.0, 0.0])[:, None, None]  # class 0 sees the image
        return moved + self.scores[:, None, None]


def test_a_network_that_predicts_one_class_is_named_and_left_as_it_was():
    network, image = Constant([0.0, 99.0]).train(), torch.randn(2, 1, 4, 4)
    before = network.norm.running_mean.clone()
    random = torch.get_rng_state()
    with pytest.warns(
        TeachesNothing, match="step 200: the teacher predicts class 1 for every voxel"
    ):
        check_prediction("train", 200, [("teacher", network)], image)
    assert network.training
    assert network.norm.training
    assert torch.equal(before, network.norm.running_mean)
    assert torch.equal(random, torch.get_rng_state())


def test_a_network_that_tells_classes_apart_is_normal(silent):
    check_prediction("train", 1, [("student", Constant([0.0, 0.0]))], torch.randn(2, 1, 4, 4))
