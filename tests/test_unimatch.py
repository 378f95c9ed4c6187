"""UniMatch against the formulas of its public code, and its boxes against hand-made cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import tiny_method
from torch import nn
from torch.nn import functional as F

from buarl.data.batches import SemiBatch
from buarl.data.strong_views import UNIMATCH_VIEWS
from buarl.methods import UniMatch
from buarl.methods.base import Step
from buarl.methods.recipe import StagePlan
from buarl.methods.unimatch import pasted, sample_boxes
from buarl.networks import UNet, VNet
from buarl.regions import crl, whole

STEP = Step(0, 10)


def published_dice(probs, target, ignore=None):
    """Mean over classes of 1 - (2 sum p t + s) / (sum p^2 + sum t^2 + s), s = 1e-5."""
    keep = torch.ones_like(target, dtype=torch.bool) if ignore is None else ~ignore
    total = 0.0
    for number in range(probs.shape[1]):
        p, t = probs[:, number][keep], (target == number).float()[keep]
        total += 1 - (2 * (p * t).sum() + 1e-5) / (p.square().sum() + t.square().sum() + 1e-5)
    return total / probs.shape[1]


def published_loss(network, batch, views, threshold):
    """The public training step: CE and Dice on labels, 0.25 + 0.25 + 0.5 of Dice, all of it halved.

    views: The strong views that the student sees, with the boxes pasted into them as into `mixed`.
    """
    features = [torch.cat((f, nn.Dropout2d(0.5)(f))) for f in network.encode(batch.image)]
    plain, dropped = network.head(network.decode(features)[-1]).chunk(2)
    labeled, weak = batch.split(plain)
    weak = weak.detach().softmax(1)
    confidence, pseudo_label = weak.max(1)
    strong = network(torch.cat([view for view, _ in views])).chunk(2)
    loss = (
        F.cross_entropy(labeled, batch.label) + published_dice(labeled.softmax(1), batch.label)
    ) / 2
    for logits, (_, box) in zip(strong, views, strict=True):
        target, sure = pseudo_label.clone(), confidence.clone()
        target[box], sure[box] = pseudo_label.roll(-1, 0)[box], confidence.roll(-1, 0)[box]
        loss = loss + 0.25 * published_dice(logits.softmax(1), target, sure < threshold)
    dropped = batch.split(dropped)[1].softmax(1)
    loss = loss + 0.5 * published_dice(dropped, pseudo_label, confidence < threshold)
    return loss / 2


def without_dropout(network):
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


@pytest.fixture
def batch():
    torch.manual_seed(3)
    label = torch.randint(4, (3, 32, 32))
    return SemiBatch(torch.rand(6, 1, 32, 32), label)


def test_a_whole_step_is_the_published_one(batch, monkeypatch):
    torch.manual_seed(0)
    network = without_dropout(UNet(4, 4))
    method = UniMatch(network, threshold=0.3).train()
    views = [(torch.rand(3, 1, 32, 32), torch.rand(3, 32, 32) < 0.3) for _ in range(2)]
    ready, boxes = iter(view for view, _ in views), iter(box for _, box in views)
    monkeypatch.setattr(UniMatch, "student_view", lambda self, image: next(ready))
    monkeypatch.setattr("buarl.methods.unimatch.sample_boxes", lambda *_: next(boxes))
    mixed = [(pasted(view, box), box) for view, box in views]
    torch.manual_seed(1)
    loss, logs = method.training_step(batch, STEP)
    torch.manual_seed(1)
    wanted = published_loss(network, batch, mixed, 0.3)
    torch.testing.assert_close(loss, wanted, atol=1e-6, rtol=1e-6)
    assert 0 < logs["confident"] < 1


def test_the_total_is_half_of_the_labeled_and_the_weighted_unlabeled_term(batch):
    torch.manual_seed(0)
    method = UniMatch(UNet(4, 2), threshold=0.3, unlabeled_weight=3.0, view_share=0.25)
    loss, logs = method.training_step(batch, STEP)
    unlabeled = 0.25 * logs["views"] + 0.75 * logs["features"]
    assert torch.isclose(logs["unlabeled"], unlabeled)
    assert torch.isclose(loss.detach(), (logs["labeled"] + 3 * unlabeled) / 2)


@pytest.mark.parametrize(("view_share", "absent"), [(0.0, "views"), (1.0, "features")])
def test_a_branch_without_a_part_is_not_computed(batch, view_share, absent):
    torch.manual_seed(0)
    calls = []
    network = UNet(4, 2)
    network.register_forward_hook(lambda *_: calls.append("plain"))
    _, logs = UniMatch(network, threshold=0.3, view_share=view_share).training_step(batch, STEP)
    assert logs[absent] == 0
    assert calls == (["plain"] * 2 if absent == "features" else [])


def test_what_is_not_confident_teaches_nothing(batch):
    torch.manual_seed(0)
    method = UniMatch(UNet(4, 2), threshold=1.0)
    loss, logs = method.training_step(batch, STEP)
    assert logs["confident"] == logs["unlabeled"] == 0
    assert torch.isclose(loss.detach(), logs["labeled"] / 2)


def test_crl_cuts_inside_what_is_confident():
    torch.manual_seed(0)
    plain, cut = (UniMatch(UNet(4, 2), unlabeled_rule=rule) for rule in (crl(100), crl(20)))
    probs = torch.tensor([0.97, 0.999, 0.5]).view(1, 1, 3, 1)
    probs = torch.cat([probs, 1 - probs], 1)  # the third is not confident, the second the surest
    logits = torch.randn(1, 2, 3, 1)
    student = logits.softmax(1)
    sure = published_dice(student[:, :, :2], torch.zeros(1, 2, 1))
    torch.testing.assert_close(plain.unlabeled_loss(logits, probs), sure)
    assert not torch.isclose(cut.unlabeled_loss(logits, probs), sure)


# Boxes


def test_a_box_shows_the_next_image_and_its_prediction():
    stack = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    box = torch.zeros(3, 2, 2, dtype=torch.bool)
    box[0, 0, 1] = box[2] = True
    assert pasted(stack, box)[:, 0].tolist() == [
        [[0, 1], [0, 0]],
        [[1, 1], [1, 1]],
        [[0, 0], [0, 0]],
    ]


@pytest.mark.parametrize("spatial", [(64, 64), (48, 48, 32)])
def test_boxes_are_boxes_of_the_size_and_as_often_as_they_should(spatial):
    torch.manual_seed(0)
    boxes = sample_boxes(400, spatial, 0.5)
    shares = boxes.flatten(1).float().mean(1)
    assert (shares > 0).float().mean() == pytest.approx(0.5, abs=0.07)
    assert 0.4 >= shares.max() > 0.3
    assert shares[shares > 0].min() > 0.01
    for box in boxes[shares > 0]:
        sides = 1
        for axis in range(box.dim()):
            line = box.movedim(axis, 0).flatten(1).any(1)
            places = line.nonzero()
            assert len(places) == places[-1] - places[0] + 1  # no gap
            sides *= len(places)
        assert box.sum() == sides


def test_boxes_are_as_square_as_those_of_the_public_code():
    """Its loop, 20,000 times at 256 x 256: a mean ratio of 1.62; 1 in 10 boxes is higher than 0.8
    of the image. Without drawing again it would be 1.82, and 1 in 5."""
    torch.manual_seed(0)
    boxes = sample_boxes(4000, (256, 256), 1.0)
    rows, columns = (boxes.any(axis).sum(1).float() for axis in (2, 1))
    assert (rows / columns).mean() == pytest.approx(1.62, abs=0.05)
    assert (rows > 0.8 * 256).float().mean() == pytest.approx(0.099, abs=0.02)
    assert (rows == 256).float().mean() < 0.002


def test_where_many_are_not_confident_crl_at_99_has_nothing_left_to_weigh_down():
    """The threshold has taken the uncertain voxels out already."""
    torch.manual_seed(0)
    top = torch.cat([torch.full((290,), 0.9), torch.linspace(0.951, 0.9999, 9710)])
    probs = torch.stack([top, 1 - top]).view(1, 2, 100, 100)
    logits = torch.randn(1, 2, 100, 100)
    plain, ruled = (UniMatch(UNet(2, 2), unlabeled_rule=rule) for rule in (whole(), crl(99)))
    assert plain.unlabeled_loss(logits, probs) == ruled.unlabeled_loss(logits, probs)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 20), min_size=2, max_size=3))
def test_boxes_fit_images_of_any_size(seed, spatial):
    torch.manual_seed(seed)
    boxes = sample_boxes(5, spatial, 1.0)
    assert boxes.shape == (5, *spatial)
    assert boxes.flatten(1).any(1).all()


# Options


def test_it_has_strong_views_of_its_own_which_a_row_can_change():
    assert tiny_method("unimatch").strong_views == UNIMATCH_VIEWS
    other = replace(UNIMATCH_VIEWS, blur=1.0)
    assert tiny_method("unimatch", strong_views=other).strong_views == other
    assert tiny_method("unimatch", strong_views=None).strong_views is None


def test_a_network_without_encoder_and_decoder_is_refused():
    with pytest.raises(TypeError, match="UniMatch needs a network with encode, decode and head"):
        UniMatch(nn.Conv2d(1, 4, 1))


def test_volumes_train_as_slices_do(semi_3d):
    torch.manual_seed(0)
    method = UniMatch(VNet(2, 2), threshold=0.3)
    loss, _ = method.training_step(semi_3d, STEP)
    loss.backward()
    assert all(p.grad is not None for p in method.student.parameters())


def test_a_box_needs_another_image_to_come_from():
    """On several devices, where each asks this of its part, as well."""
    alone = [StagePlan(10, 2, 1)]
    with pytest.raises(ValueError, match="unlabeled_batch must be at least 2, as UniMatch pastes"):
        tiny_method("unimatch").check_plan(alone)
    tiny_method("unimatch", box_probability=0.0).check_plan(alone)
    tiny_method("unimatch").check_plan([StagePlan(10, 2, 2)])
