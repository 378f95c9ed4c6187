"""URPC: heads and perturbations of the network, the rectified term, and where rules act."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import labeled_only
from torch import nn
from torch.nn import functional as F

import buarl
from buarl.losses import region_loss
from buarl.methods import Urpc
from buarl.methods.base import Step
from buarl.methods.urpc.multi_scale import MultiScale, feature_dropout, feature_noise
from buarl.methods.urpc.rectified import log_mean_probs, rectified_consistency
from buarl.networks import UNet, VNet
from buarl.regions import Region, crl, drop, url, whole
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)
every_rank = pytest.mark.parametrize("rank", [2, 3])
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])


def trunk(rank, width=2):
    torch.manual_seed(0)
    return UNet(4, width) if rank == 2 else VNet(2, width)


def build(rank=2, **kwargs):
    return Urpc(trunk(rank), **kwargs)


def step_of(method, batch, step=LATE):
    torch.manual_seed(2)
    return method.training_step(batch, method.at(step.index, step.steps))


def some_scales(count=4, shape=(2, 4, 6, 6), dtype=torch.float64, scale=2.0):
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(shape, generator=generator, dtype=dtype) for _ in range(count)]


def plain(scales):
    """The published unlabeled term, from probabilities."""
    probs = [logits.softmax(1) for logits in scales]
    mean = sum(probs) / len(probs)
    total = 0
    for p in probs:
        divergence = (mean * (mean.log() - p.log())).sum(1, keepdim=True)
        certainty = torch.exp(-divergence)
        rectified = (((mean - p) ** 2) * certainty).mean() / (certainty.mean() + 1e-8)
        total = total + rectified + divergence.mean()
    return total / len(probs)


# Network


@pytest.mark.parametrize(
    ("network", "count"),
    [(lambda: UNet(4), 1_831_060 - 9_220), (lambda: VNet(2), 9_448_866 + 454)],
    ids=["2d", "3d"],
)
def test_parameter_counts_of_the_protocol(network, count):
    assert sum(p.numel() for p in MultiScale(network()).parameters()) == count


@every_rank
def test_scales_are_the_trunk_and_its_decoder_from_fine_to_coarse(rank, semi):
    image = semi[rank].labeled_image
    network = MultiScale(trunk(rank)).eval()
    with torch.no_grad():
        scales = network.scales(image)
        features = network.trunk.decode(network.trunk.encode(image))
        assert [f.shape[1] for f in features] == [16, 8, 4, 2]
        assert torch.equal(scales[0], network(image))
        assert torch.equal(scales[0], network.trunk(image))
        mode = {2: "nearest", 3: "trilinear"}[rank]
        for place, coarse in ((1, 2), (2, 1), (3, 0)):
            small = network.heads[coarse](features[coarse])
            assert small.shape[2] * 2**place == image.shape[2]
            factor = [2.0**place] * rank
            torch.testing.assert_close(
                scales[place], F.interpolate(small, scale_factor=factor, mode=mode)
            )


def test_in_2d_a_coarse_scale_is_made_of_blocks():
    scales = MultiScale(trunk(2)).eval().scales(torch.randn(1, 1, 16, 16))
    for place in (1, 2, 3):
        size = 2**place
        blocks = scales[place].unfold(2, size, size).unfold(3, size, size)  # (1, 4, n, n, s, s)
        assert torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks))


def test_perturbations_change_the_auxiliary_scales_in_training_alone():
    image = torch.randn(2, 1, 32, 32)
    disturbed, calm = MultiScale(trunk(2)), MultiScale(trunk(2), perturb=False)
    calm.load_state_dict(disturbed.state_dict())
    pairs = {}
    for training in (True, False):
        outputs = []
        for network in (disturbed, calm):
            torch.manual_seed(3)
            outputs.append(network.train(training).scales(image))
        pairs[training] = list(zip(*outputs, strict=True))
    assert [torch.equal(a, b) for a, b in pairs[True]] == [True, False, False, False]
    assert all(torch.equal(a, b) for a, b in pairs[False])


def test_in_3d_nothing_is_perturbed_unless_asked_for():
    assert not MultiScale(trunk(3)).perturb
    assert MultiScale(trunk(3), perturb=True).perturb
    network = MultiScale(trunk(3), perturb=True)
    assert all(torch.isfinite(s).all() for s in network.scales(torch.randn(2, 1, 32, 16, 16)))


def test_feature_dropout_silences_the_most_active_positions():
    activity = torch.tensor([[1.0, 2.0, 2.75], [3.2, 3.7, 4.0]])  # shares of 4: .. .69 .8 .925 1
    feature = torch.stack([activity - 0.5, activity + 0.5])[None]  # (1, 2, 2, 3)
    feature = torch.cat([feature, 10 * feature])  # each image has its own largest
    fates = set()
    for seed in range(60):
        torch.manual_seed(seed)
        out = feature_dropout(feature)
        kept = out != 0
        assert torch.equal(out[kept], feature[kept])  # not made up for
        assert torch.equal(kept[0], kept[1])  # one share for the batch
        assert torch.equal(kept[:, 0], kept[:, 1])
        assert kept[0, 0].flatten().tolist()[:3] == [True] * 3
        assert kept[0, 0].flatten().tolist()[4:] == [False] * 2
        fates.add(kept[0, 0, 1, 0].item())
    assert fates == {True, False}


def test_feature_noise_is_one_factor_for_the_batch():
    torch.manual_seed(0)
    factor = feature_noise(torch.ones(3, 8, 16, 16))
    assert torch.equal(factor, factor[:1].expand_as(factor))
    assert 0.7 <= factor.min() < 0.71
    assert 1.29 < factor.max() <= 1.3
    assert factor.mean() == pytest.approx(1, abs=0.02)
    assert not feature_noise(torch.zeros(1, 2, 4, 4)).any()


def test_a_trunk_without_decoder_is_refused():
    with pytest.raises(
        TypeError, match="encode, decode and head, such as UNet or VNet, got Conv2d"
    ):
        MultiScale(nn.Conv2d(1, 4, 3))


# Rectified term


def test_rectified_consistency_by_hand():
    """One voxel, (0.5, 0.5) and (0.9, 0.1): e^-D cancels, squared error 0.04 plus D."""
    probs = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64).view(2, 1, 2, 1, 1)
    log_mean = log_mean_probs(probs.log())
    torch.testing.assert_close(log_mean.exp().flatten(), torch.tensor([0.7, 0.3]).double())
    regions = whole()(log_mean.exp())
    losses = [
        rectified_consistency(p, log_mean, regions, reduction="voxel").item() for p in probs.log()
    ]
    assert losses == pytest.approx([0.04 + 0.0822829, 0.04 + 0.1536637], abs=1e-6)


def test_two_voxels_count_by_their_certainty():
    """A voxel in full agreement and one of the case above: e^-D weighs the error."""
    probs = torch.tensor([[[0.5, 0.8], [0.5, 0.2]], [[0.9, 0.8], [0.1, 0.2]]], dtype=torch.float64)
    probs = probs.view(2, 1, 2, 1, 2)
    log_mean = log_mean_probs(probs.log())
    regions = whole()(log_mean.exp())
    loss = rectified_consistency(probs[1].log(), log_mean, regions, reduction="voxel").item()
    weight = math.exp(-0.1536637)
    assert loss == pytest.approx(0.04 * weight / (1 + weight) + 0.1536637 / 2, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 4, 6, 6), (2, 2, 4, 4, 4)])
@every_reduction
def test_with_whole_value_and_gradient_are_the_published_ones(shape, reduction):
    method = build(unlabeled_reduction=reduction)
    scales = [s.float().requires_grad_() for s in some_scales(shape=shape)]
    loss = method.unlabeled_loss(scales)
    expected = plain(scales)
    torch.testing.assert_close(loss, expected)
    for mine, theirs in zip(
        torch.autograd.grad(loss, scales), torch.autograd.grad(expected, scales), strict=True
    ):  # equal only if the mean and e^-D pass gradients on
        torch.testing.assert_close(mine, theirs, atol=1e-7, rtol=1e-3)


def test_scales_that_agree_cost_nothing():
    scales = some_scales(1) * 4
    assert build().unlabeled_loss(scales).item() == pytest.approx(0, abs=1e-6)


def test_saturated_logits_keep_loss_and_gradient_finite():
    scales = [(100 * s).float().requires_grad_() for s in some_scales()]
    loss = build().unlabeled_loss(scales)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, scales))


@pytest.mark.parametrize("rule", [url(70), crl(70), drop(70)])
@every_reduction
def test_a_rule_weighs_all_three_means_by_the_entropy_of_the_mean(rule, reduction):
    scales = [s.float() for s in some_scales()]
    probs = torch.stack([s.softmax(1) for s in scales])
    mean = probs.mean(0)
    entropy = torch.special.entr(mean).sum(1)
    uncertain = entropy > torch.quantile(entropy, 0.7)
    certain_share = float((~uncertain).sum())
    uncertain_share = float(uncertain.sum())
    if reduction == "voxel":
        certain_share = uncertain_share = float(uncertain.numel())
    weights = torch.where(
        uncertain,
        torch.tensor(rule.uncertain_weight / uncertain_share),
        torch.tensor(rule.certain_weight / certain_share),
    )
    expected = 0
    for p in probs:
        divergence = (mean * (mean / p).log()).sum(1)
        soft = (-divergence).exp()
        error = (mean - p).square().mean(1)
        expected += (weights * error * soft).sum() / ((weights * soft).sum() + 1e-8)
        expected += (weights * divergence).sum()
    method = build(unlabeled_rule=rule, unlabeled_reduction=reduction)
    torch.testing.assert_close(method.unlabeled_loss(scales), expected / 4)


def test_dropped_voxels_teach_nothing():
    scales = [s.float().requires_grad_() for s in some_scales()]
    method = build(unlabeled_rule=drop(70), unlabeled_reduction="voxel")
    mean = torch.stack([s.softmax(1) for s in scales]).mean(0).detach()
    uncertain = drop(70)(mean)[0].mask
    for grad in torch.autograd.grad(method.unlabeled_loss(scales), scales):
        assert not grad.movedim(1, -1)[uncertain].any()
        assert grad.movedim(1, -1)[~uncertain].any()


def test_a_common_weight_cancels_in_the_rectified_error_alone():
    logits = torch.stack([s.float() for s in some_scales()]).log_softmax(2)
    log_mean = log_mean_probs(logits)
    everything = torch.ones(2, 6, 6, dtype=torch.bool)
    full, half = (
        rectified_consistency(logits[0], log_mean, [Region(everything, w)], reduction="voxel")
        for w in (1.0, 0.5)
    )
    divergence = (log_mean.exp() * (log_mean - logits[0])).sum(1).mean()
    torch.testing.assert_close(full - half, divergence / 2)


# A step


def test_the_labeled_term_is_the_mean_over_the_scales(semi_2d):
    method = build(perturb=False)
    method.student.eval()
    with torch.no_grad():  # fresh scales hardly differ, and so would the two halves of the batch
        for head in (method.student.trunk.head, *method.student.heads):
            head.weight.mul_(20)
    logs = step_of(method, semi_2d).logs
    images = semi_2d.image
    with torch.no_grad():
        scales = method.student.scales(images)
    expected = sum(
        region_loss(s[:4], semi_2d.label, whole()(s[:4].softmax(1)), reduction="voxel")
        for s in scales
    )
    torch.testing.assert_close(logs["labeled"], expected / 4)
    torch.testing.assert_close(logs["unlabeled"], plain([s[4:] for s in scales]))


@every_rank
@every_reduction
def test_a_step_reaches_every_parameter(rank, reduction, semi):
    rules = {"labeled_rule": url(80), "unlabeled_rule": crl(80)}
    method = build(rank, **rules, labeled_reduction=reduction, unlabeled_reduction=reduction)
    loss, logs = step_of(method, semi[rank])
    assert logs["unlabeled"] > 0
    assert loss.item() == pytest.approx(
        (logs["labeled"] + method.weight(LATE) * logs["unlabeled"]).item()
    )
    loss.backward()
    for key, parameter in method.student.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    for head in (method.student.trunk.head, *method.student.heads):
        assert head.weight.grad.any()


def test_each_rule_acts_on_its_own_part(semi_2d):
    base = step_of(build(), semi_2d).logs
    for part, other in (("labeled", "unlabeled"), ("unlabeled", "labeled")):
        logs = step_of(build(**{f"{part}_rule": url(80)}), semi_2d).logs
        assert torch.equal(logs[other], base[other])
        assert not torch.equal(logs[part], base[part])


def test_the_weight_ramps_from_the_first_step(semi_2d):
    method = build()
    assert method.weight(Step(0, 30_000)) == pytest.approx(0.1 * math.exp(-5))
    assert method.weight(Step(30_000, 30_000)) == pytest.approx(0.1)


def test_a_step_repeats_with_the_seed(semi_2d):
    first, second = (step_of(build_seeded(), semi_2d).loss for _ in range(2))
    assert torch.equal(first, second)


def build_seeded():
    torch.manual_seed(5)
    return build()


def test_a_step_is_finite_under_autocast(semi_2d):
    method = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = step_of(method, semi_2d)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in method.student.parameters())


def test_unlabeled_images_are_needed(semi_2d):
    empty = labeled_only(semi_2d)
    with pytest.raises(ValueError, match="Urpc needs unlabeled images, got 0"):
        step_of(build(), empty)


# In the loop


def test_it_trains_on_the_phantom():
    row = Experiment(method="urpc", source="phantom", preset="toy", labeled=3, unlabeled_rule=crl())
    method = build_method(row, 4)
    again = build_method(row, 4)
    assert all(
        torch.equal(a, b)
        for a, b in zip(method.state_dict().values(), again.state_dict().values(), strict=True)
    )  # the heads too
    result = fit(method, buarl.open_source("phantom"), config_for(row).shortened(2))
    assert {"labeled", "unlabeled", "weight"} <= set(result.history[-1])
    assert math.isfinite(result.history[-1]["student_loss"])
    with torch.no_grad():
        logits = result.network.eval()(torch.randn(1, 1, 32, 48))
    assert logits.shape == (1, 4, 32, 48)


def test_the_recipe_of_la_fits():
    method = build_method(Experiment(method="urpc", source="la"), 2)
    assert isinstance(method.student.trunk, VNet)
    assert (method.ramp_levels, method.consistency_weight) == (40, 0.1)
