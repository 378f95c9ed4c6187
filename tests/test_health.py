"""A training that teaches nothing says so: what was seen, where, and what to try."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from tiny import (
    rings,
    same_weights,
    slice_path,
    tiny_config,
    tiny_method,
    trained,
    write_case,
    write_tiny,
)
from torch import nn

from buarl.data.acdc import Acdc
from buarl.data.h5 import Sample
from buarl.regions import url
from buarl.training.config import StagePlan
from buarl.training.health import (
    FewSamples,
    TeachesNothing,
    check_history,
    check_prediction,
    check_samples,
)
from buarl.training.loop import fit


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


# In a training


def test_a_training_on_background_alone_is_named_and_trained_all_the_same(tmp_path):
    root = write_tiny(tmp_path)
    source = Acdc(root)
    for name in source.training_names():
        image, label = rings((20, 24), 1)
        write_case(slice_path(root, name), image=image, label=0 * label)
    with pytest.warns(TeachesNothing, match="labels hold class 0 only"):
        trained("supervised", source)


def test_a_rule_that_weighs_nothing_is_named_once(tmp_path):
    source = Acdc(write_tiny(tmp_path))
    config = tiny_config("supervised", stages=(StagePlan(120, 4, 0),))
    method = tiny_method("supervised", labeled_rule=url(100, alpha=0))
    with pytest.warns(TeachesNothing) as caught:
        fit(method, source, config)
    idle = [str(w.message) for w in caught if "exactly 0" in str(w.message)]
    assert [text.split(":")[0] for text in idle] == ["stage 'train', step 50"] * len(idle)
    assert len(idle) in (1, 2)  # the loss, and its labeled term


def test_a_collapsed_student_and_teacher_are_named_at_a_checkpoint_and_no_bit_moves(
    tmp_path, monkeypatch
):
    source, seen = Acdc(write_tiny(tmp_path)), []
    config = tiny_config("mean_teacher", stages=(StagePlan(101, 4, 4),), checkpoint_every=50)
    watched = tiny_method("mean_teacher")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(watched, source, config)
        monkeypatch.setattr(
            "buarl.training.loop.check_prediction",
            lambda stage, step, networks, image: seen.append((step, [n for n, _ in networks])),
        )
        plain = tiny_method("mean_teacher")
        fit(plain, source, config)
    assert same_weights(watched, plain)
    assert seen == [(100, ["student", "teacher"]), (101, ["student", "teacher"])]


def test_a_teacher_that_no_stage_uses_yet_is_not_looked_at(tmp_path, monkeypatch):
    source, seen = Acdc(write_tiny(tmp_path)), {}
    monkeypatch.setattr("buarl.training.loop.YOUNG", 1)
    monkeypatch.setattr(
        "buarl.training.loop.check_prediction",
        lambda stage, step, networks, image: seen.update({stage: [n for n, _ in networks]}),
    )
    trained("bcp", source)
    assert seen == {"pretrain": ["student"], "selftrain": ["student", "teacher"]}


def test_batches_larger_than_the_samples_are_named(tmp_path):
    source = Acdc(write_tiny(tmp_path))
    config = tiny_config("supervised", stages=(StagePlan(2, 7, 0),))
    with pytest.warns(FewSamples, match="a step draws 7 labeled images, and there are 6"):
        fit(tiny_method("supervised"), source, config)
