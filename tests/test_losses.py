"""Losses equal the references and hand computation, and weigh voxels as they say."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import one_of_each
from torch.nn import functional as F

import buarl
from buarl.dice import (
    DICE_BCP_LA,
    DICE_MC_NET_ACDC,
    DICE_SS_NET_LA,
    DICE_SSL4MIS,
    DICE_UA_MT_LA,
    DICES,
    OLD_DICE_NAMES,
    dice_by_name,
    dice_loss,
    region_sums,
)
from buarl.losses import consistency_loss, region_loss, region_mean, voxel_weights, weighted_means
from buarl.methods.ss_net.perturbation import dice_distance
from buarl.regions import Region, crl, drop, soft_certainty, url, whole, within

BCP_2D = replace(DICE_SSL4MIS, smooth=1e-10)
FLAT = replace(
    DICE_SSL4MIS, smooth=1e12
)  # a Dice without gradient leaves the cross-entropy to measure
VARIANTS = pytest.mark.parametrize(
    "dice", [DICE_SSL4MIS, DICE_BCP_LA, DICE_UA_MT_LA, DICE_SS_NET_LA, BCP_2D], ids=str
)
REDUCTIONS = pytest.mark.parametrize("reduction", ["region", "voxel"])


def random_case(shape=(2, 4, 6, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(shape, generator=generator)).requires_grad_()
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, target


def everything(logits):
    return whole()(logits.detach().float().softmax(1))


def gradient(logits, *args, **kwargs):
    return torch.autograd.grad(region_loss(logits, *args, **kwargs), logits)[0]


# --- Parity with the recorded reference -----------------------------------------------------------


def assert_parity(arrays, name, loss, outside_weight, inside_weight, dice):
    logits = torch.tensor(arrays["logits"], requires_grad=True)
    outside = torch.tensor(arrays["mask_outside"]).bool()
    got = 0.0
    for weight, place, label in (
        (outside_weight, outside, arrays["label_outside"]),
        (inside_weight, ~outside, arrays["label_patch"]),
    ):
        regions = within(everything(logits), place)
        part = region_loss(logits, torch.tensor(label), regions, reduction="region", dice=dice)
        got = got + weight * part
    got.backward()
    assert got.item() == pytest.approx(float(loss), rel=2e-5)
    expected = torch.tensor(arrays[f"{name}_grad"])
    torch.testing.assert_close(logits.grad, expected, atol=1e-8, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "outside_weight", "inside_weight"),
    [
        ("pretrain_u1.0_unlabTrue", 1, 1),
        ("self_l_u0.5_unlabFalse", 1, 0.5),
        ("self_u_u0.5_unlabTrue", 0.5, 1),
    ],
)
def test_bcp_mix_loss_2d(parity, name, outside_weight, inside_weight):
    arrays = parity("bcp_mix_loss_2d")
    loss = (arrays[f"{name}_dice"] + arrays[f"{name}_ce"]) / 2
    assert_parity(arrays, name, loss, outside_weight, inside_weight, BCP_2D)


@pytest.mark.parametrize(
    ("name", "outside_weight", "inside_weight"),
    [("self_l_u0.5_unlabFalse", 1, 0.5), ("self_u_u0.5_unlabTrue", 0.5, 1)],
)
def test_bcp_mix_loss_3d(parity, name, outside_weight, inside_weight):
    arrays = parity("bcp_mix_loss_3d")
    assert_parity(arrays, name, arrays[f"{name}_loss"], outside_weight, inside_weight, DICE_BCP_LA)


def test_unmasked_losses_of_the_reference(parity):
    arrays = parity("bcp_mix_loss_2d")
    probs = torch.tensor(arrays["logits"]).softmax(1).flatten(2)
    target = torch.tensor(arrays["label_outside"]).flatten(1)
    dice = dice_loss(probs, target, torch.ones(3, 1, target.shape[1]), BCP_2D)
    assert dice.item() == pytest.approx(float(arrays["dice_nomask"]), abs=1e-6)

    arrays = parity("bcp_mix_loss_3d")
    logits, target = torch.tensor(arrays["logits"]), torch.tensor(arrays["label_outside"])
    loss = region_loss(logits, target, everything(logits), reduction="region", dice=DICE_BCP_LA)
    assert loss.item() == pytest.approx(float(arrays["sup_loss"]), abs=1e-6)


# --- Values computed by hand ----------------------------------------------------------------------

# Two images of 2 x 2 voxels and two classes; P1 is the probability of class 1.
P1 = torch.tensor([[[0.8, 0.4], [0.6, 0.1]], [[0.5, 0.5], [0.5, 0.5]]])
LABEL = torch.tensor([[[1, 0], [1, 0]], [[0, 0], [0, 0]]])
HAND_CE = -(math.log(0.8) + 2 * math.log(0.6) + math.log(0.9) + 4 * math.log(0.5)) / 8
HAND_DICE = {
    # class 1: overlap 1.4, p^2 1.17 + 1, y 2; class 0: overlap 1.5 + 2, p^2 1.37 + 1, y 2 + 4
    DICE_SSL4MIS: 1 - (2.8 / 4.17 + 7.0 / 8.37) / 2,
    # per image, not squared: class 1: 2.8 / (1.9 + 2), 0; class 0: 3 / (2.1 + 2), 4 / (2 + 4)
    DICE_BCP_LA: 1 - (2.8 / 3.9 + 0 + 3 / 4.1 + 4 / 6) / 4,
    DICE_UA_MT_LA: 1 - 2.8 / 4.17,
    DICE_SS_NET_LA: 1 - 2.8 / (3.9 + 2.0),
}


@REDUCTIONS
@pytest.mark.parametrize("dice", HAND_DICE, ids=str)
def test_hand_computed_dice_and_cross_entropy(dice, reduction):
    logits = torch.stack([1 - P1, P1], 1).log()
    loss = region_loss(logits, LABEL, everything(logits), reduction=reduction, dice=dice)
    assert loss.item() == pytest.approx((HAND_DICE[dice] + HAND_CE) / 2, abs=1e-5)


@REDUCTIONS
def test_hand_computed_regions(reduction):
    """Image 0 alone is uncertain (weight 1), image 1 certain (weight 1/2)."""
    logits = torch.stack([1 - P1, P1], 1).log()
    mask = torch.zeros(2, 2, 2, dtype=torch.bool)
    mask[0] = True
    regions = [Region(mask, 1.0), Region(~mask, 0.5)]
    loss = region_loss(logits, LABEL, regions, reduction=reduction, dice=DICE_UA_MT_LA)
    sure = -(math.log(0.8) + 2 * math.log(0.6) + math.log(0.9))
    unsure = -4 * math.log(0.5)
    if reduction == "region":  # image 1 has no foreground: its Dice loss is 1
        expected = (1 - 2.8 / 3.17 + sure / 4) / 2 + 0.5 * (1 + unsure / 4) / 2
    else:  # weights inside the sums: p^2 1.17 + 1/2
        expected = (1 - 2.8 / 3.67 + (sure + 0.5 * unsure) / 8) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-4)


@REDUCTIONS
@given(seed=st.integers(0, 99))
def test_whole_is_plain_cross_entropy_plus_dice(seed, reduction):
    logits, target = random_case(seed=seed)
    probs, truth = logits.softmax(1), F.one_hot(target, 4).movedim(-1, 1)
    axes = (0, 2, 3)
    dice = (2 * (probs * truth).sum(axes) + 1e-5) / (
        probs.square().sum(axes) + truth.sum(axes) + 1e-5
    )
    plain = (F.cross_entropy(logits, target) + 1 - dice.mean()) / 2
    loss = region_loss(logits, target, everything(logits), reduction=reduction)
    torch.testing.assert_close(loss, plain)
    grads = [torch.autograd.grad(value, logits)[0] for value in (loss, plain)]
    torch.testing.assert_close(*grads, atol=1e-7, rtol=1e-4)


# --- Regions --------------------------------------------------------------------------------------


@VARIANTS
@REDUCTIONS
def test_loss_on_a_mask_is_the_loss_on_the_crop(dice, reduction):
    logits, target = random_case((2, 4, 9, 8))
    place = torch.zeros(9, 8, dtype=torch.bool)
    place[2:7, 1:6] = True
    regions = within(everything(logits), place)
    crop, crop_target = logits[..., 2:7, 1:6], target[..., 2:7, 1:6]
    torch.testing.assert_close(
        region_loss(logits, target, regions, reduction=reduction, dice=dice),
        region_loss(crop, crop_target, everything(crop), reduction=reduction, dice=dice),
    )


@VARIANTS
@REDUCTIONS
def test_no_gradient_and_no_influence_outside_the_mask(dice, reduction):
    logits, target = random_case()
    place = torch.rand(6, 7, generator=torch.Generator().manual_seed(1)) > 0.4
    regions = within(url(70)(logits.softmax(1)), place)
    grad = gradient(logits, target, regions, reduction=reduction, dice=dice)
    assert (grad[:, :, ~place] == 0).all()
    assert (grad[:, :, place] != 0).any()
    changed = torch.where(place, target, (target + 1) % 4)
    other = torch.where(place, logits, -logits)
    assert region_loss(other, changed, regions, reduction=reduction, dice=dice) == region_loss(
        logits, target, regions, reduction=reduction, dice=dice
    )


@VARIANTS
@REDUCTIONS
@pytest.mark.parametrize("bfloat16", ["no", "autocast", "logits"])
def test_empty_regions_are_finite_and_zero(dice, reduction, bfloat16):
    logits, target = random_case()
    if bfloat16 == "logits":
        logits = logits.detach().bfloat16().requires_grad_()
    full = everything(logits)[0].mask
    empty = Region(torch.zeros_like(full), 0.5)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16 == "autocast"):
        alone = region_loss(logits, target, [empty], reduction=reduction, dice=dice)
        beside = [
            region_loss(logits, target, regions, reduction=reduction, dice=dice)
            for regions in ([empty, Region(full, 1.0)], [Region(full, 1.0)])
        ]
    assert alone.dtype == torch.float32
    assert alone == 0
    assert torch.equal(*beside)
    grad = torch.autograd.grad(alone + beside[0], logits)[0]
    assert torch.isfinite(grad).all()
    assert (grad != 0).any()


@REDUCTIONS
def test_low_precision_logits_are_computed_in_float32(reduction):
    logits, target = random_case()
    low = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = region_loss(low, target, everything(low), reduction=reduction)
    expected = region_loss(low.float(), target, everything(low), reduction=reduction)
    assert torch.equal(got, expected)


# --- How much a voxel weighs ----------------------------------------------------------------------


def measured_weights(rule, reduction):
    """Measured factor on the cross-entropy gradient of every voxel: (2000,), and the mask."""
    logits, target = random_case((2, 4, 25, 40))  # 2000 voxels: 100 above q = 95, 20 above q = 99
    regions = rule(logits.detach().softmax(1))
    grad = gradient(logits, target, regions, reduction=reduction, dice=FLAT)
    plain = logits.detach().softmax(1) - F.one_hot(target, 4).movedim(-1, 1)
    return (grad.abs().sum(1) / plain.abs().sum(1)).flatten(), regions[0].mask.flatten()


@pytest.mark.parametrize(
    ("rule", "reduction", "ratio"),
    [
        (url(95), "region", 38.0),  # (1 / .05) : (.5 / .95)
        (url(95), "voxel", 2.0),
        (crl(99), "region", 49.5),  # (.5 / .01) : (1 / .99)
        (crl(99), "voxel", 0.5),
        (crl(95), "region", 9.5),
        (drop(99), "region", 0.0),
        (drop(99), "voxel", 0.0),
    ],
)
def test_uncertain_voxels_weigh_so_many_times_a_certain_one(rule, reduction, ratio):
    weight, uncertain = measured_weights(rule, reduction)
    certain_weight = weight[~uncertain].median()
    expected = torch.where(uncertain, ratio * certain_weight, certain_weight)
    torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(("reduction", "voxels"), [("voxel", 2000), ("region", 1980)])
def test_only_the_voxel_denominator_counts_dropped_voxels(reduction, voxels):
    weight, uncertain = measured_weights(drop(99), reduction)
    torch.testing.assert_close(
        weight[~uncertain].mean(), torch.tensor(0.5 / voxels), rtol=1e-4, atol=0
    )


@VARIANTS
@REDUCTIONS
def test_drop_leaves_no_gradient_on_uncertain_voxels(dice, reduction):
    logits, target = random_case()
    regions = drop(90)(logits.detach().softmax(1))
    grad = gradient(logits, target, regions, reduction=reduction, dice=dice).movedim(1, -1)
    assert (grad[regions[0].mask] == 0).all()
    assert (grad[regions[1].mask] != 0).any(-1).all()


# --- Maps of weights ------------------------------------------------------------------------------

EVERY_DICE = pytest.mark.parametrize(
    "dice",
    [DICE_SSL4MIS, DICE_BCP_LA, DICE_UA_MT_LA, DICE_SS_NET_LA, BCP_2D, DICE_MC_NET_ACDC],
    ids=str,
)
WEIGHTS = st.floats(0, 3, width=32, allow_subnormal=False)


def as_maps(regions, dtype=torch.float32):
    """The same regions, their numbers written as constant maps."""
    return [Region(m, torch.full(m.shape, w, dtype=dtype)) for m, w in regions]


def random_regions(seed, weights, shape=(2, 6, 7)):
    """Disjoint regions with these weights; some voxels lie in none, a region may be empty."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(len(weights) + 2, shape, generator=generator)
    return [Region(owner == i, weight) for i, weight in enumerate(weights)]


@EVERY_DICE
@REDUCTIONS
@given(
    seed=st.integers(0, 999),
    weights=st.lists(WEIGHTS, min_size=1, max_size=3),
    precision=st.sampled_from(["float32", "float64", "bfloat16", "autocast"]),
    map_dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_a_map_of_constant_weight_is_the_number(
    dice, reduction, seed, weights, precision, map_dtype
):
    """To the last bit, value and gradient, in every precision of the logits."""
    weights = [torch.tensor(w).to(map_dtype).item() for w in weights]  # what the map can hold
    logits, target = random_case(seed=seed)
    if precision in ("float64", "bfloat16"):
        logits = logits.detach().to(getattr(torch, precision)).requires_grad_()
    regions = random_regions(seed, weights)
    results = []
    for cut in (regions, as_maps(regions, map_dtype), [as_maps(regions)[0], *regions[1:]]):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            loss = region_loss(logits, target, cut, reduction=reduction, dice=dice)
        results.append((loss, torch.autograd.grad(loss, logits)[0]))
    for loss, grad in results[1:]:
        assert loss.dtype == (torch.float64 if precision == "float64" else torch.float32)
        assert torch.equal(loss, results[0][0])
        assert torch.equal(grad, results[0][1])


@REDUCTIONS
@given(
    seed=st.integers(0, 999),
    weights=st.lists(WEIGHTS, min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_a_map_of_constant_weight_is_the_number_in_every_mean(reduction, seed, weights, dtype):
    probs = random_case(seed=seed)[0].detach().to(dtype).softmax(1)
    other = probs.roll(1, 2)
    numbers = random_regions(seed, weights)
    maps = as_maps(numbers, dtype)
    for term in (
        lambda cut: region_mean((probs - other).square().sum(1), cut, reduction=reduction),
        lambda cut: consistency_loss(probs, other, cut, reduction=reduction),
        lambda cut: voxel_weights(cut, reduction=reduction),
        lambda cut: dice_distance(probs, other, cut, reduction=reduction, dice=DICE_SSL4MIS),
    ):
        assert torch.equal(term(maps), term(numbers))
        assert term(maps).dtype == term(numbers).dtype


SOFT = torch.tensor([[[1.0, 0.5], [0.25, 0.25]], [[1.0, 1.0], [0.0, 0.0]]])  # mean 1/2


@pytest.mark.parametrize("dice", HAND_DICE, ids=str)
@REDUCTIONS
def test_hand_computed_map(dice, reduction):
    """Weights inside all sums; "region" scales them to mean 1 and puts their mean in front."""
    logits = torch.stack([1 - P1, P1], 1).log()
    soft = [Region(torch.ones(2, 2, 2, dtype=torch.bool), SOFT)]
    loss = region_loss(logits, LABEL, soft, reduction=reduction, dice=dice)
    costs = -torch.where(LABEL == 1, P1, 1 - P1).log()
    cross_entropy = (SOFT * costs).sum() / 8  # in both readings
    scale = SOFT.mean() if reduction == "region" else torch.tensor(1.0)
    weight = (SOFT / scale)[:, None]
    p, y = torch.stack([1 - P1, P1], 1), torch.stack([1 - LABEL, LABEL], 1).float()
    axes = (2, 3) if dice.per_sample else (0, 2, 3)
    squared = 2 if dice.squared else 1
    below = (weight * p**squared).sum(axes) + (weight * y**squared).sum(axes)
    scores = (2 * (weight * p * y).sum(axes) + dice.smooth) / (below + dice.smooth)
    overlap = 1 - scores[..., 0 if dice.background else 1 :].mean()
    expected = (scale * overlap + cross_entropy) / 2
    torch.testing.assert_close(loss, expected)


@VARIANTS
@given(seed=st.integers(0, 99), weights=st.lists(WEIGHTS, min_size=2, max_size=3))
def test_per_voxel_many_regions_are_one_region_with_a_map(dice, seed, weights):
    """The reading "voxel" knows no regions, only what every voxel weighs."""
    logits, target = random_case(seed=seed)
    regions = random_regions(seed, weights)
    place = torch.stack([region.mask for region in regions]).any(0)
    together = Region(place, sum(mask * weight for mask, weight in regions))
    losses = [
        region_loss(logits, target, cut, reduction="voxel", dice=dice)
        for cut in (regions, [together])
    ]
    assert torch.equal(*losses)


@EVERY_DICE
@REDUCTIONS
def test_voxels_of_weight_zero_teach_nothing(dice, reduction):
    logits, target = random_case()
    weight = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    weight[:, :2] = 0
    mask = torch.ones_like(weight, dtype=torch.bool)
    grad = gradient(logits, target, [Region(mask, weight)], reduction=reduction, dice=dice)
    assert (grad.movedim(1, -1)[weight == 0] == 0).all()
    assert (grad.movedim(1, -1)[weight > 0] != 0).any(-1).all()
    nothing = [Region(mask, torch.zeros_like(weight))]
    grad = gradient(logits, target, nothing, reduction=reduction, dice=dice)
    assert (grad == 0).all()


@VARIANTS
@REDUCTIONS
def test_only_the_part_of_a_map_inside_the_mask_matters(dice, reduction):
    logits, target = random_case()
    (region,) = soft_certainty()(logits.detach().softmax(1))
    place = torch.zeros(6, 7, dtype=torch.bool)
    place[1:4, 2:6] = True
    (inside,) = within([region], place)
    other = inside._replace(weight=torch.where(place, inside.weight, 7.0))
    crop = Region(inside.mask[:, 1:4, 2:6], inside.weight[:, 1:4, 2:6])
    loss, changed = (
        region_loss(logits, target, [cut], reduction=reduction, dice=dice)
        for cut in (inside, other)
    )
    assert torch.equal(loss, changed)
    small = logits[..., 1:4, 2:6], target[..., 1:4, 2:6]
    cropped = region_loss(*small, [crop], reduction=reduction, dice=dice)
    torch.testing.assert_close(loss, cropped)


@REDUCTIONS
def test_no_gradient_flows_through_a_map(reduction):
    logits, target = random_case()
    weight = (-logits.softmax(1).square().sum(1)).exp()
    mask = torch.ones_like(weight, dtype=torch.bool)
    through = gradient(logits, target, [Region(mask, weight)], reduction=reduction)
    fixed = gradient(logits, target, [Region(mask, weight.detach())], reduction=reduction)
    assert torch.equal(through, fixed)


@given(st.integers(1, 40), WEIGHTS.filter(bool), st.integers(0, 99))
def test_the_mean_weight_stays_between_the_smallest_and_the_largest(count, weight, seed):
    generator = torch.Generator().manual_seed(seed)
    map_ = weight * (1 + 1e-6 * torch.rand(1, count, generator=generator))
    (mean,) = weighted_means(
        [Region(torch.ones(1, count, dtype=torch.bool), map_)], reduction="region", shape=(1, count)
    )
    assert map_.amin() <= mean.factor <= map_.amax()


# --- Rank, consistency, errors --------------------------------------------------------------------


@VARIANTS
@REDUCTIONS
def test_2d_equals_3d_of_depth_one(dice, reduction):
    logits, target = random_case()
    flat, deep = logits.detach(), logits.detach()[..., None]
    losses = [
        region_loss(x, y, crl(80)(x.softmax(1)), reduction=reduction, dice=dice)
        for x, y in ((flat, target), (deep, target[..., None]))
    ]
    assert torch.equal(*losses)
    probs, other = deep.softmax(1), deep.flip(0).softmax(1)
    consistency = [
        consistency_loss(p, q, crl(80)(q), reduction=reduction)
        for p, q in ((probs, other), (probs[..., 0], other[..., 0]))
    ]
    torch.testing.assert_close(*consistency)


@REDUCTIONS
def test_consistency_with_whole_is_the_mean_squared_error(reduction):
    logits, _ = random_case()
    probs, teacher = logits.softmax(1), logits.detach().roll(1, 2).softmax(1)
    loss = consistency_loss(probs, teacher, whole()(teacher), reduction=reduction)
    torch.testing.assert_close(loss, F.mse_loss(probs, teacher))


@REDUCTIONS
def test_hand_computed_consistency(reduction):
    """Squared differences: 1 on the uncertain voxel (weight 1), 1/2 on three others (1/2)."""
    probs = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])
    half = 1 - math.sqrt(0.5)
    teacher = torch.tensor([[[0.0, half, half, half], [1.0, 1 - half, 1 - half, 1 - half]]])
    mask = torch.tensor([[True, False, False, False]])
    regions = [Region(mask, 1.0), Region(~mask, 0.5)]
    expected = 1 + 0.5 * 0.5 if reduction == "region" else (1 + 3 * 0.5 * 0.5) / 4
    loss = consistency_loss(probs, teacher, regions, reduction=reduction)
    assert loss.item() == pytest.approx(expected)


@REDUCTIONS
def test_consistency_ignores_dropped_and_empty_regions(reduction):
    logits, _ = random_case()
    teacher = logits.detach().roll(1, 2).softmax(1)
    regions = drop(80)(teacher)
    loss = consistency_loss(logits.softmax(1), teacher, regions, reduction=reduction)
    grad = torch.autograd.grad(loss, logits)[0].movedim(1, -1)
    assert (grad[regions[0].mask] == 0).all()
    assert (grad[regions[1].mask] != 0).any()
    empty = [Region(torch.zeros_like(regions[0].mask), 1.0)]
    assert consistency_loss(logits.softmax(1), teacher, empty, reduction=reduction) == 0


def test_errors_name_the_shape_and_the_reduction():
    logits, target = random_case()
    regions = everything(logits)
    with pytest.raises(ValueError, match=r"target must have shape \(2, 6, 7\) .* got \(2, 6, 6\)"):
        region_loss(logits, target[..., :6], regions, reduction="voxel")
    with pytest.raises(ValueError, match=r"target must have .* got \(2, 1, 6, 7\)"):
        region_loss(logits, target[:, None], regions, reduction="voxel")
    narrow = [Region(regions[0].mask[:1], 1.0)]
    with pytest.raises(ValueError, match=r"region mask must have .* got \(1, 6, 7\)"):
        region_loss(logits, target, narrow, reduction="voxel")
    with pytest.raises(ValueError, match="at least one region"):
        region_loss(logits, target, [], reduction="voxel")
    with pytest.raises(ValueError, match=r"reduction must be .* got 'pixel'"):
        region_loss(logits, target, regions, reduction="pixel")
    with pytest.raises(TypeError, match="reduction"):  # no default: the effects are opposite
        region_loss(logits, target, regions)


def test_consistency_errors_name_the_value():
    probs = random_case()[0].softmax(1)
    with pytest.raises(ValueError, match=r"reduction must be .* got 'pixel'"):
        consistency_loss(probs, probs, whole()(probs), reduction="pixel")
    with pytest.raises(ValueError, match="at least one region"):
        consistency_loss(probs, probs, [], reduction="region")
    with pytest.raises(ValueError, match=r"teacher_probs must have .* got \(1, 4, 6, 7\)"):
        consistency_loss(probs, probs[:1], whole()(probs), reduction="voxel")


def test_a_target_outside_the_classes_is_named():
    logits, target = torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), 3)
    regions = whole()(logits.softmax(1))
    with pytest.raises(ValueError, match="target must lie in 0 to 2, got 3 to 3"):
        region_loss(logits, target, regions, reduction="voxel")


GOOD = dict(zip(("logits", "target"), random_case(), strict=True))
MASK = torch.ones(2, 6, 7, dtype=torch.bool)


@REDUCTIONS
@pytest.mark.parametrize(
    ("regions", "error", "message"),
    [
        ([Region(MASK.float(), 1.0)], TypeError, "region mask must hold True .* got torch.float32"),
        ([Region(MASK.numpy(), 1.0)], TypeError, "region mask must be a torch tensor, got numpy"),
        ([Region(MASK, -0.5)], ValueError, "region weight must be >= 0, got -0.5"),
        ([Region(MASK, math.nan)], ValueError, "region weight must be >= 0, got nan"),
        ([Region(MASK, math.inf)], ValueError, "region weight must be finite, got inf"),
        ([Region(MASK, "1")], TypeError, "region weight must be a number, got str '1'"),
        ([Region(MASK, None)], TypeError, "region weight must be a number, got NoneType"),
        ([Region(MASK, MASK.float() - 2)], ValueError, "region weight must be >= 0, got -1"),
        ([Region(MASK, MASK / 0)], ValueError, "region weight must be finite, got inf"),
        ([Region(MASK, 0 * MASK / 0)], ValueError, "region weight must be >= 0, got nan"),
        ([Region(MASK, MASK.long())], TypeError, "region weight must hold real .* torch.int64"),
        (
            [Region(MASK, MASK[:1].float())],
            ValueError,
            r"region weight must have shape \(2, 6, 7\)",
        ),
        ([Region(MASK, torch.ones(()))], ValueError, r"region weight must have .* got \(\)"),
        ([Region(MASK, 1.0)] * 2, ValueError, "must not overlap, got 84 of 84 voxels"),
        ([Region(MASK[:1], 1.0)], ValueError, r"mask must have shape \(2, 6, 7\) .* \(1, 6, 7\)"),
        (MASK, TypeError, r"regions must be a list of Region\(mask, weight\), got Tensor"),
        ([MASK], TypeError, r"regions must be a list of Region\(mask, weight\), got \['Tensor'\]"),
        (Region(MASK, 1.0), TypeError, r"regions must be a list .* got Region"),
    ],
)
def test_no_loss_takes_wrong_regions(regions, error, message, reduction):
    probs = GOOD["logits"].detach().softmax(1)
    for term in (
        lambda: region_loss(**GOOD, regions=regions, reduction=reduction),
        lambda: consistency_loss(probs, probs, regions, reduction=reduction),
        lambda: region_mean(probs[:, 0], regions, reduction=reduction),
        lambda: dice_distance(probs, probs, regions, reduction=reduction, dice=DICE_SSL4MIS),
    ):
        with pytest.raises(error, match=message):
            term()


def test_overlap_is_found_where_a_single_voxel_lies_in_two_regions():
    first, second = torch.zeros_like(MASK), ~MASK
    first[0, 0, 0] = second[0, 0, 0] = second[1, 2, 3] = True
    regions = [Region(first, 1.0), Region(second, 1.0)]
    with pytest.raises(ValueError, match="regions must not overlap, got 1 of 84 voxels"):
        voxel_weights(regions, reduction="voxel")


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("target", GOOD["target"].float(), "target must hold integers, got torch.float32"),
        ("target", GOOD["target"] + 0.5, "target must hold integers, got torch.float32"),
        ("target", GOOD["target"].numpy(), "target must be a torch tensor, got numpy.ndarray"),
        ("logits", GOOD["logits"].detach().numpy(), "logits must be a torch tensor, got numpy"),
        ("logits", GOOD["logits"].to(torch.complex64), "logits must hold real .*complex64"),
        ("logits", GOOD["target"][:, None], "logits must hold real numbers .* got torch.int64"),
        ("logits", [[0.5]], "logits must be a torch tensor, got list"),
        ("ce_share", "0.5", "ce_share must be a number, got str '0.5'"),
        ("dice", "DICE_SSL4MIS", "dice must be a Dice, got str 'DICE_SSL4MIS'"),
    ],
)
def test_region_loss_takes_no_other_types(argument, value, message):
    arguments = {**GOOD, "regions": [Region(MASK, 1.0)], "reduction": "voxel", argument: value}
    with pytest.raises(TypeError, match=message):
        region_loss(**arguments)


@pytest.mark.parametrize("share", [-0.1, 7, math.nan])
def test_a_share_outside_0_to_1_is_named(share):
    with pytest.raises(ValueError, match=f"ce_share must lie in 0-1, got {share}"):
        region_loss(**GOOD, regions=[Region(MASK, 1.0)], reduction="voxel", ce_share=share)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.bool])
def test_labels_may_have_any_integer_type(dtype):
    target = GOOD["target"].clamp_max(1)
    expected = region_loss(GOOD["logits"], target, [Region(MASK, 1.0)], reduction="voxel")
    other = region_loss(GOOD["logits"], target.to(dtype), [Region(MASK, 1.0)], reduction="voxel")
    assert torch.equal(other, expected)


def test_a_prediction_of_other_classes_is_not_broadcast():
    probs = GOOD["logits"].detach().softmax(1)
    with pytest.raises(ValueError, match=r"teacher_probs must have shape \(2, 4, 6, 7\)"):
        consistency_loss(probs, probs[:, :1], [Region(MASK, 1.0)], reduction="voxel")
    with pytest.raises(TypeError, match=r"teacher_probs must be a torch tensor, got numpy"):
        consistency_loss(probs, probs.numpy(), [Region(MASK, 1.0)], reduction="voxel")


# --- Names of the Dice ----------------------------------------------------------------------------


def test_a_dice_goes_by_its_name_and_by_its_old_name():
    assert {dice_by_name(name) for name in DICES} == set(DICES.values())
    for old, new in OLD_DICE_NAMES.items():
        assert dice_by_name(old) == dice_by_name(new) == getattr(buarl.dice, old)
    with pytest.raises(ValueError, match=r"dice must be one of \['bcp_acdc', .* got 'd2'"):
        dice_by_name("d2")


# --- Precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.46, 0.1, 0.999])
def test_a_million_equal_voxels_do_not_add_up_errors(value):
    """One LA patch. A product of matrices, voxel after voxel, is 0.06 to 0.4 % off here."""
    values = torch.full((1, 2, 1_003_520), value, requires_grad=True)
    masks = torch.ones(1, 2, 1_003_520)
    masks[:, 1] = 0.3
    sums = region_sums(values, masks)  # (1, R, C)
    expected = values.double().sum(2)[:, None] * masks.double()[..., :1]
    torch.testing.assert_close(sums.double(), expected, rtol=1e-6, atol=0)
    slope = torch.autograd.grad(sums[0, 0].sum() + 2 * sums[0, 1].sum(), values)[0]
    torch.testing.assert_close(slope, torch.full_like(values, 1.6))


def test_the_gradient_of_region_sums_is_their_slope():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 11, generator=generator, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(2, 4, 11, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(region_sums, (values, masks))
    assert torch.autograd.gradgradcheck(region_sums, (values, masks))


# --- No waiting -----------------------------------------------------------------------------------


@REDUCTIONS
@pytest.mark.parametrize("rule", one_of_each(), ids=str)
def test_a_step_asks_a_gpu_for_no_value(rule, reduction, monkeypatch):
    """On the meta device tensors have no values: whoever asks for one fails. A GPU would wait."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta device
    logits = torch.empty(2, 4, 6, 7, device="meta", requires_grad=True)
    target = torch.empty(2, 6, 7, dtype=torch.int64, device="meta")
    probs = logits.detach().softmax(1)
    regions = within(rule(probs), torch.empty(6, 7, dtype=torch.bool, device="meta"))
    loss = region_loss(logits, target, regions, reduction=reduction)
    loss = loss + consistency_loss(logits.softmax(1), probs, regions, reduction=reduction)
    loss = loss + dice_distance(
        logits.softmax(1), probs, regions, reduction=reduction, dice=DICE_SSL4MIS
    )
    loss = loss + voxel_weights(regions, reduction=reduction).sum()
    loss.backward()
    assert logits.grad.shape == logits.shape


@pytest.mark.parametrize("reduction", ["region", "voxel"])
@pytest.mark.parametrize("inside", [True, False])
def test_what_lies_outside_the_regions_may_be_anything(reduction, inside):
    """NaN logits and 255, "not labeled"; inside, 255 is refused and NaN is not hidden."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 6, 5, generator=generator)
    label = torch.randint(3, (2, 6, 5), generator=generator)
    place = torch.zeros(2, 6, 5, dtype=torch.bool)
    place[:, :4] = True
    regions = within(url(60)(logits.softmax(1)), place)
    clean = logits.clone().requires_grad_()
    wanted = region_loss(clean, label, regions, reduction=reduction)
    wanted.backward()
    row = 0 if inside else 5
    holed, spoilt = label.clone(), logits.clone()
    holed[:, row], spoilt[:, :, row] = 255, math.nan
    if inside:
        with pytest.raises(ValueError, match="target"):
            region_loss(logits, holed, regions, reduction=reduction)
        assert region_loss(spoilt, label, regions, reduction=reduction).isnan()
        return
    spoilt.requires_grad_()
    found = region_loss(spoilt, holed, regions, reduction=reduction)
    found.backward()
    assert torch.equal(found, wanted)
    assert torch.equal(spoilt.grad, clean.grad)


def test_logits_without_space_are_refused_by_their_shape():
    with pytest.raises(ValueError, match=r"logits must have shape .* got \(4, 3\)"):
        region_loss(torch.zeros(4, 3), torch.zeros(4).long(), [], reduction="voxel")
