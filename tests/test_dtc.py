"""DTC: the network's two answers, the published loss, and what the rules act on."""

from __future__ import annotations

import pytest
import torch
from tiny import labeled_only
from torch import nn

import buarl
from buarl.dice import DICE_SSL4MIS, DICE_UA_MT_LA
from buarl.methods import Dtc
from buarl.methods.base import Step
from buarl.methods.signed_distance.maps import signed_distance
from buarl.methods.signed_distance.network import SignedDistanceNet
from buarl.networks import UNet, VNet
from buarl.regions import crl, url, whole
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)
every_rank = pytest.mark.parametrize("rank", [2, 3])
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])


def trunk(rank, width=2):
    torch.manual_seed(0)
    return UNet(4, width) if rank == 2 else VNet(2, width)


def build(rank=2, width=2, **kwargs):
    return Dtc(trunk(rank, width), dice=DICE_SSL4MIS if rank == 2 else DICE_UA_MT_LA, **kwargs)


def step_of(method, batch, step=LATE):
    torch.manual_seed(2)
    return method.training_step(batch, method.at(step.index, step.steps))


def answers(method, batch):
    torch.manual_seed(2)
    return method.student.logits_and_distance(batch.image)


def plain_dice(logits, label, rank):
    """DICE_SSL4MIS over all classes, Df over class 1."""
    probs = logits.softmax(1)
    scores = []
    for c in range(probs.shape[1]) if rank == 2 else [1]:
        p, y = probs[:, c], (label == c).float()
        scores.append((2 * (p * y).sum() + 1e-5) / ((p * p).sum() + (y * y).sum() + 1e-5))
    return 1 - sum(scores) / len(scores)


# Network


def test_parameters_of_the_references():
    for network, count in ((UNet(), 1_814_344), (VNet(), 9_448_866)):
        net = SignedDistanceNet(network)
        assert sum(p.numel() for p in net.parameters()) == count
        assert {key.split(".")[0] for key in net.state_dict()} == {
            "trunk",
            "segmentation_head",
            "distance_head",
        }


@every_rank
def test_two_answers(rank, semi):
    net, image = SignedDistanceNet(trunk(rank)), semi[rank].labeled_image
    net.eval()
    logits, distance = net.logits_and_distance(image)
    channels = {2: 4, 3: 1}[rank]
    assert torch.equal(net(image), logits)
    assert logits.shape == (len(image), {2: 4, 3: 2}[rank], *image.shape[2:])
    assert distance.shape == (len(image), channels, *image.shape[2:])
    feature = net.trunk(image)
    torch.testing.assert_close(distance, torch.tanh(net.distance_head(feature)))
    assert not torch.allclose(distance, torch.tanh(net.segmentation_head(feature)))


@pytest.mark.parametrize("network", [UNet, VNet])
def test_two_classes_are_a_sigmoid_in_any_rank(network, semi):
    image = semi[{UNet: 2, VNet: 3}[network]].labeled_image
    net = SignedDistanceNet(network(2, 2)).eval()
    probs = net(image).softmax(1)
    z = net.segmentation_head(net.trunk(image))
    torch.testing.assert_close(probs[:, 1:], torch.sigmoid(z))


def test_many_classes_in_3d(semi_3d):
    logits, distance = SignedDistanceNet(VNet(3, 2)).logits_and_distance(semi_3d.labeled_image)
    assert logits.shape[1] == distance.shape[1] == 3


def test_a_network_without_a_head_is_refused():
    with pytest.raises(TypeError, match=r"ends in `head`, a convolution .* got Sequential"):
        Dtc(nn.Sequential(nn.Conv2d(1, 4, 1)))


# Loss


@every_rank
@every_reduction
def test_with_whole_the_loss_is_the_published_one(rank, reduction, semi):
    batch = semi[rank]
    method = build(rank, unlabeled_reduction=reduction, labeled_reduction=reduction)
    loss, logs = step_of(method, batch)
    logits, distance = answers(method, batch)
    count = len(batch.label)
    true = signed_distance(batch.label, logits.shape[1], background=rank == 2)
    regression = ((distance[:count] - true) ** 2).mean()
    probs = logits.softmax(1) if rank == 2 else torch.sigmoid(logits[:, 1:] - logits[:, :1])
    consistency = ((torch.sigmoid(-1500 * distance) - probs) ** 2).mean()
    labeled = plain_dice(logits[:count], batch.label, rank) + 0.3 * regression
    torch.testing.assert_close(logs["distance"], regression)
    torch.testing.assert_close(logs["labeled"], labeled)
    torch.testing.assert_close(logs["unlabeled"], consistency)
    torch.testing.assert_close(loss, labeled + method.weight(LATE) * consistency)
    assert not any(getattr(value, "requires_grad", False) for value in logs.values())


@every_rank
def test_the_rule_weighs_the_voxels_of_all_images(rank, semi):
    batch = semi[rank]
    logits, distance = answers(build(rank, 8).eval(), batch)  # few channels would tie
    probs = logits.softmax(1)
    entropy = -(probs * probs.log()).sum(1)
    uncertain = entropy > torch.quantile(entropy.flatten(), 0.8)
    difference = torch.sigmoid(-1500 * distance) - probs[:, -distance.shape[1] :]
    squares = (difference**2).mean(1)
    assert 0.19 < uncertain.float().mean() < 0.21
    expected = {
        "voxel": torch.where(uncertain, 0.5, 1.0).mul(squares).mean(),
        "region": 0.5 * squares[uncertain].mean() + squares[~uncertain].mean(),
    }
    for reduction, value in expected.items():
        method = build(rank, 8, unlabeled_rule=crl(80), unlabeled_reduction=reduction).eval()
        torch.testing.assert_close(step_of(method, batch).logs["unlabeled"], value)


def test_the_labeled_rule_acts_on_dice_alone(semi_2d):
    plain = step_of(build(), semi_2d).logs
    cut = step_of(build(labeled_rule=url(80)), semi_2d).logs
    assert torch.equal(cut["distance"], plain["distance"])
    assert torch.equal(cut["unlabeled"], plain["unlabeled"])
    assert not torch.equal(cut["labeled"], plain["labeled"])


def test_without_labels_of_distance_the_regression_is_gone(semi_2d):
    method = build(distance_weight=0.0)
    logs = step_of(method, semi_2d).logs
    logits, _ = answers(method, semi_2d)
    torch.testing.assert_close(logs["labeled"], plain_dice(logits[:4], semi_2d.label, 2))


# Gradients


@every_rank
def test_everything_learns(rank, semi):
    method = build(rank, unlabeled_rule=crl(80), labeled_rule=url(80))
    step_of(method, semi[rank]).loss.backward()
    for name, parameter in method.student.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


@every_rank
def test_the_consistency_teaches_both_heads(rank, semi):
    """Its gradient reaches the distance head only where the sigmoid is not flat."""
    grads = {}
    for steepness in (5.0, 1e9):
        method = build(rank, steepness=steepness, distance_weight=0.0, consistency_weight=1e3)
        step_of(method, semi[rank]).loss.backward()
        grads[steepness] = method.student.distance_head.weight.grad.abs().max()
        assert method.student.segmentation_head.weight.grad.abs().max() > 1
    assert grads[5.0] > 1
    assert grads[1e9] == 0


def test_needs_unlabeled_images(semi_2d):
    with pytest.raises(ValueError, match="Dtc needs unlabeled images, got 0"):
        step_of(build(), labeled_only(semi_2d))


@every_rank
def test_bf16(rank, semi):
    method = build(rank, unlabeled_rule=crl(80), labeled_rule=url(80))
    with torch.autocast("cpu", torch.bfloat16):
        loss = step_of(method, semi[rank]).loss
        assert answers(method, semi[rank])[1].dtype == torch.float32
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.student.parameters())


@every_rank
def test_a_step_repeats_with_the_seed(rank, semi):
    method = build(rank, unlabeled_rule=crl(80))
    assert torch.equal(step_of(method, semi[rank]).loss, step_of(method, semi[rank]).loss)


# Runs


def test_trains_on_the_phantom():
    row = Experiment(method="dtc", source="phantom", preset="toy", labeled=3)
    method = build_method(row, 4)
    assert isinstance(method, Dtc)
    assert (method.ce_share, method.unlabeled_rule) == (0.0, whole())
    before = method.student.distance_head.weight.detach().clone()
    result = fit(method, buarl.open_source("phantom"), config_for(row).shortened(2))
    assert {"labeled", "distance", "unlabeled", "weight"} <= set(result.history[-1])
    assert not torch.equal(method.student.distance_head.weight, before)


def test_learns_in_3d(semi_3d):
    torch.manual_seed(0)
    method = build(3)
    optimizer = torch.optim.Adam(method.parameters(), 0.02)
    losses = []
    for index in range(15):
        optimizer.zero_grad()
        loss, logs = method.training_step(semi_3d, method.at(index, 15))
        loss.backward()
        optimizer.step()
        losses.append(logs["labeled"].item())
    assert losses[-1] < 0.9 * losses[0]
