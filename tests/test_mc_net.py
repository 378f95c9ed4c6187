"""MC-Net: the decoders, the sharpening, the pairs, and one step against the plain formulas."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import labeled_only
from torch import nn

import buarl
from buarl.dice import DICE_BCP_ACDC, DICE_MC_NET_ACDC, DICE_SS_NET_LA
from buarl.losses import region_loss
from buarl.methods import McNet
from buarl.methods.base import Step, detached_probs
from buarl.methods.mc_net.multi_decoder import MultiDecoder
from buarl.methods.mc_net.mutual import mutual_consistency, sharpen
from buarl.networks import UNet, VNet
from buarl.regions import crl, url, whole
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)
KINDS = [(2, 2), (2, 3), (2, 4), (3, 2), (3, 3)]  # rank, decoders
every_kind = pytest.mark.parametrize(("rank", "decoders"), KINDS)
every_rank = pytest.mark.parametrize("rank", [2, 3])
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])


def trunk(rank):
    torch.manual_seed(0)
    return UNet(4, width=2) if rank == 2 else VNet(2, width=2)


def build(rank=2, still=False, **kwargs):
    method = McNet(trunk(rank), ce_share=0.0, **kwargs)
    return method.eval() if still else method


def step_of(method, batch, step=LATE):
    torch.manual_seed(2)
    return method.training_step(batch, method.at(step.index, step.steps))


def images(batch):
    return batch.image


def plain_sharpen(p):
    p = p.double()
    return p**10 / (p**10 + (1 - p) ** 10)


# --- The network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "decoders", "parameters"),
    [
        (UNet, 2, 2_577_624),
        (UNet, 3, 3_210_924),
        (UNet, 4, 3_844_224),
        (VNet, 2, 12_347_716),
        (VNet, 3, 15_246_566),
    ],
)
def test_parameters_of_the_reference(model, decoders, parameters):
    with torch.device("meta"):
        net = MultiDecoder(model(), decoders)
    assert sum(p.numel() for p in net.parameters()) == parameters


@every_kind
def test_decoder_one_is_the_trunk_and_is_what_is_evaluated(rank, decoders, semi):
    net = MultiDecoder(trunk(rank), decoders).eval()
    image = semi[rank].labeled_image
    outputs = net.all_logits(image)
    assert len(outputs) == decoders
    assert all(logits.shape == outputs[0].shape for logits in outputs)
    assert torch.equal(net(image), outputs[0])
    assert torch.equal(trunk(rank).eval()(image), outputs[0])
    for first, second in permutations(outputs, 2):
        assert not torch.allclose(first, second)


def test_a_new_decoder_of_the_trunks_own_kind_is_the_trunks_way_up(semi):
    for rank in (2, 3):
        net = trunk(rank).eval()
        decoder = net.new_decoder(net.up_samplings[0]).eval()
        own = {k: v for k, v in net.state_dict().items() if k in decoder.state_dict()}
        decoder.load_state_dict(own)
        image = semi[rank].labeled_image
        assert torch.equal(decoder(net.encode(image)), net(image))


@pytest.mark.parametrize("kind", UNet.up_samplings)
def test_up_sampling_in_2d(kind):
    torch.manual_seed(0)
    decoder = UNet(4, width=2).new_decoder(kind).eval()
    coarse, joined = [], []
    decoder.reduce[0].register_forward_hook(lambda module, inputs, output: coarse.append(output))
    decoder.decoder[0].register_forward_pre_hook(lambda module, inputs: joined.append(inputs[0]))
    sizes = [(2 * 2**level, 48 // 2**level) for level in range(5)]
    decoder([torch.randn(1, c, n, n) for c, n in sizes])
    low, high = coarse[0], joined[0][:, 16:]
    assert high.shape == (1, 16, 6, 6)
    if kind == "transposed":
        assert torch.equal(low, high)  # the convolution itself has doubled the size
    elif kind == "nearest":
        assert torch.equal(low.repeat_interleave(2, 2).repeat_interleave(2, 3), high)
    else:  # the corners are aligned
        torch.testing.assert_close(high[..., ::5, ::5], low[..., ::2, ::2])
        assert isinstance(decoder.reduce[0], nn.Conv2d)
        assert decoder.reduce[0].kernel_size == (1, 1)


def test_bicubic_is_not_bilinear():
    features = [torch.randn(1, 2 * 2**level, 32 // 2**level, 32 // 2**level) for level in range(5)]
    net = trunk(2)
    bilinear, bicubic = (net.new_decoder(kind).eval() for kind in ("bilinear", "bicubic"))
    bicubic.load_state_dict(bilinear.state_dict())
    assert not torch.allclose(bilinear(features), bicubic(features))


@pytest.mark.parametrize(("rank", "decoders"), [(2, 1), (2, 5), (3, 4)])
def test_numbers_of_decoders_that_do_not_exist(rank, decoders):
    with pytest.raises(ValueError, match=rf"2 to {6 - rank} on a .Net, got {decoders}"):
        McNet(trunk(rank), decoders=decoders)


def test_a_network_without_decoders_is_refused():
    with pytest.raises(TypeError, match="such as UNet or VNet, got Conv2d"):
        McNet(nn.Conv2d(1, 4, 3))


# --- Sharpening and pairs -------------------------------------------------------------------------


def test_sharpen_by_hand():
    p = torch.tensor([0.5, 0.6, 0.4, 0.25])
    # (0.6 / 0.4)^10 = 57.665, (1 / 3)^10 = 1.6935e-5
    expected = torch.tensor([0.5, 57.665 / 58.665, 1 / 58.665, 1.6935e-5])
    torch.testing.assert_close(sharpen(p), expected, atol=1e-6, rtol=1e-4)


@given(p=st.floats(0, 1), temperature=st.floats(0.05, 1))
def test_sharpen_keeps_sides_and_moves_outwards(p, temperature):
    value = torch.tensor([p, 1 - p])
    sharp, other = sharpen(value, temperature)
    assert sharp + other == pytest.approx(1, abs=1e-4)
    if p > 0.5:
        assert sharp >= value[0] - 1e-5
    if p < 0.5:
        assert sharp <= value[0] + 1e-5


def test_sharpen_has_the_gradient_of_its_formula_and_none_at_the_ends():
    p = torch.cat([torch.linspace(0.01, 0.99, 99), torch.tensor([0.0, 1.0, 1e-20, 1e-7])])
    p.requires_grad_()
    sharp = sharpen(p)
    (gradient,) = torch.autograd.grad(sharp.sum(), p)
    inner = p[:99].detach().double().requires_grad_()
    expected = plain_sharpen(inner)
    torch.testing.assert_close(sharp[:99], expected.float(), atol=1e-6, rtol=1e-4)
    (slope,) = torch.autograd.grad(expected.sum(), inner)
    torch.testing.assert_close(gradient[:99], slope.float(), atol=1e-4, rtol=1e-3)
    assert torch.equal(gradient[99:], torch.zeros(4))
    torch.testing.assert_close(sharp[99:], torch.tensor([0.0, 1.0, 0.0, 0.0]))


def test_sharpen_of_temperature_one_changes_nothing_and_of_zero_is_refused():
    p = torch.rand(50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sharpen(p, 1.0), p, atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="above 0, got 0"):
        sharpen(p, 0)


def test_mutual_consistency_by_hand():
    first, second = torch.tensor([[[0.6], [0.4]]]), torch.tensor([[[0.5], [0.5]]])  # (1, 2, 1)
    got = mutual_consistency([first, second], whole()(first), reduction="voxel")
    sharp = 57.665 / 58.665
    by_hand = 0.1**2 + (0.5 - sharp) ** 2  # the classes are symmetric, so one stands for both
    assert got.item() == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("count", [2, 3, 4])
@every_reduction
def test_mutual_consistency_is_the_sum_over_ordered_pairs(count, reduction):
    torch.manual_seed(0)
    probs = [torch.randn(2, 3, 4, 5).softmax(1) for _ in range(count)]
    expected = sum(
        (probs[i] - plain_sharpen(probs[j])).square().mean()
        for i in range(count)
        for j in range(count)
        if i != j
    )
    got = mutual_consistency(probs, whole()(probs[0]), reduction=reduction)
    torch.testing.assert_close(got, expected.float(), atol=1e-6, rtol=1e-5)


def test_gradients_flow_through_the_targets_unless_detached():
    torch.manual_seed(0)
    first, second = (torch.randn(2, 3, 8).softmax(1).requires_grad_() for _ in range(2))
    grads = []
    for detach in (False, True):
        loss = mutual_consistency(
            [first, second], whole()(first.detach()), reduction="voxel", detach_targets=detach
        )
        grads.append(torch.autograd.grad(loss, first)[0])
    with torch.no_grad():
        direct = 2 * (first - sharpen(second)) / first.numel()
    torch.testing.assert_close(grads[1], direct)
    assert not torch.allclose(grads[0], grads[1])


# --- The step -------------------------------------------------------------------------------------


@every_kind
@every_reduction
def test_a_step_with_whole_is_the_published_loss(rank, decoders, reduction, semi):
    batch = semi[rank]
    method = build(
        rank,
        still=True,
        decoders=decoders,
        dice=DICE_MC_NET_ACDC if rank == 2 else DICE_SS_NET_LA,
        labeled_weight=1.0 if rank == 2 else 0.5,
        labeled_reduction=reduction,
        unlabeled_reduction=reduction,
    )
    loss, logs = step_of(method, batch)

    probs = [logits.softmax(1) for logits in method.student.all_logits(images(batch))]
    labeled = 0.0
    for p in probs:
        p = p[: len(batch.label)]
        y = nn.functional.one_hot(batch.label, p.shape[1]).movedim(-1, 1).float()
        if rank == 2:  # no factor 2
            dims = (0, 2, 3)
            overlap = (p * y).sum(dims) / (p.square().sum(dims) + y.square().sum(dims) + 1e-10)
            labeled += (1 - overlap).mean()
        else:
            p, y = p[:, 1], y[:, 1]
            labeled += 0.5 * (1 - (2 * (p * y).sum() + 1e-8) / (p.sum() + y.sum() + 1e-8))
    pairs = permutations(probs, 2)
    unlabeled = sum((p - plain_sharpen(q)).square().mean() for p, q in pairs).float()
    torch.testing.assert_close(logs["labeled"], labeled.detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(logs["unlabeled"], unlabeled.detach(), atol=1e-6, rtol=1e-5)
    weight = method.weight(LATE)
    assert 0 < weight < 0.1
    torch.testing.assert_close(loss, labeled + weight * unlabeled, atol=1e-6, rtol=1e-5)


@every_rank
@every_reduction
def test_rules_cut_each_decoder_alone_and_the_pairs_by_the_mean(rank, reduction, semi):
    batch = semi[rank]
    rules = {"labeled_rule": url(80), "unlabeled_rule": crl(80)}
    method = build(
        rank,
        True,
        labeled_reduction=reduction,
        unlabeled_reduction=reduction,
        dice=DICE_SS_NET_LA,
        **rules,
    )
    logs = step_of(method, batch).logs
    outputs = [logits.detach() for logits in method.student.all_logits(images(batch))]
    labeled = sum(
        region_loss(
            logits[: len(batch.label)],
            batch.label,
            url(80)(logits[: len(batch.label)].softmax(1)),
            reduction=reduction,
            dice=DICE_SS_NET_LA,
            ce_share=0.0,
        )
        for logits in outputs
    )
    torch.testing.assert_close(logs["labeled"], labeled)

    first, second = (logits.softmax(1) for logits in outputs)
    uncertain, certain = (r.mask for r in crl(80)((first + second) / 2))
    error = (first - sharpen(second)).square() + (second - sharpen(first)).square()
    error = error.mean(1)
    expected = (
        error[certain].mean() + 0.5 * error[uncertain].mean()
        if reduction == "region"
        else (error * certain + 0.5 * error * uncertain).mean()
    )
    torch.testing.assert_close(logs["unlabeled"], expected, atol=1e-6, rtol=1e-5)


def test_the_rule_sees_the_mean_of_the_decoders_without_a_graph(semi_2d):
    method = build(still=True, decoders=3)
    seen = []
    method.unlabeled_rule = lambda probs: (seen.append(probs), whole()(probs))[1]
    step_of(method, semi_2d)
    outputs = method.student.all_logits(images(semi_2d))
    mean = sum(detached_probs(logits) for logits in outputs) / 3
    torch.testing.assert_close(seen[0], mean)
    assert not seen[0].requires_grad


@every_kind
def test_every_parameter_learns(rank, decoders, semi):
    method = build(rank, decoders=decoders, labeled_rule=url(80), unlabeled_rule=crl(80))
    step_of(method, semi[rank]).loss.backward()
    for name, parameter in method.student.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for head in (method.student.trunk.head, *(d.head for d in method.student.others)):
        assert (head.weight.grad != 0).any()


def test_the_consistency_alone_teaches_every_decoder_and_reaches_labeled_images(semi_2d):
    method = build(still=True)
    image = images(semi_2d).requires_grad_()
    outputs = method.student.all_logits(image)
    loss = method.consistency([logits.softmax(1) for logits in outputs])
    heads = [method.student.trunk.head.weight, method.student.others[0].head.weight]
    *grads, slope = torch.autograd.grad(loss, [*heads, image])
    assert all((grad != 0).any() for grad in grads)
    assert (slope.flatten(1).abs().sum(1) > 0).all()


def test_switches_act(semi_2d):
    plain, half = (
        step_of(build(still=True, dice=DICE_BCP_ACDC, labeled_weight=w), semi_2d).logs
        for w in (1, 0.5)
    )
    torch.testing.assert_close(half["labeled"], plain["labeled"] / 2)
    assert torch.equal(half["unlabeled"], plain["unlabeled"])
    soft = step_of(build(still=True, temperature=0.5), semi_2d).logs
    assert not torch.equal(soft["unlabeled"], plain["unlabeled"])
    grads = []
    for detach in (False, True):
        method = build(still=True, detach_targets=detach)
        loss, logs = step_of(method, semi_2d)
        assert torch.equal(logs["unlabeled"], plain["unlabeled"])  # the value stays
        grads.append(torch.autograd.grad(loss, method.student.trunk.head.weight)[0])
    assert not torch.allclose(*grads)


def test_a_step_repeats_with_the_seed(semi_2d):
    first, second = (step_of(build(unlabeled_rule=crl(80)), semi_2d).loss for _ in range(2))
    assert torch.equal(first, second)


@every_rank
def test_under_bf16_autocast_loss_and_gradients_are_finite_float32(rank, semi):
    method = build(rank, labeled_rule=url(80), unlabeled_rule=crl(80))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = step_of(method, semi[rank]).loss
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.student.parameters())


def test_without_unlabeled_images(semi_2d):
    with pytest.raises(ValueError, match="McNet needs unlabeled images"):
        step_of(build(), labeled_only(semi_2d))


def test_a_row_trains_on_the_phantom():
    row = Experiment(method="mc_net", source="phantom", preset="toy", labeled=3)
    method = build_method(row, 4)
    assert (method.dice, method.ce_share, method.labeled_weight) == (DICE_MC_NET_ACDC, 0.0, 1.0)
    config = config_for(row).shortened(2)
    (plan,) = config.stages
    config = replace(config, stages=(replace(plan, labeled_batch=2, unlabeled_batch=2),))
    result = fit(method, buarl.open_source("phantom"), config, device="cpu")
    assert {"labeled", "unlabeled", "weight"} <= set(result.history[-1])
    assert result.network is method.student


def test_the_row_of_la():
    method = build_method(Experiment(method="mc_net", source="la", preset="paper"), 2)
    assert isinstance(method.student.trunk, VNet)
    assert (method.dice, method.labeled_weight, method.consistency_weight) == (
        DICE_SS_NET_LA,
        0.5,
        1.0,
    )
    assert (method.temperature, method.detach_targets, len(method.student.others)) == (
        0.1,
        False,
        1,
    )
