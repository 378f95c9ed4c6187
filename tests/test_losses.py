"""Losses equal the references and hand computation, and weigh voxels as they say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from torch.nn import functional as F

from buarl.losses import D2, D3, DB, DF, consistency_loss, dice_loss, region_loss, region_sums
from buarl.regions import Region, crl, drop, url, whole, within

BCP_2D = replace(D2, smooth=1e-10)
FLAT = replace(D2, smooth=1e12)  # a Dice without gradient leaves the cross-entropy to measure
VARIANTS = pytest.mark.parametrize("dice", [D2, D3, DF, DB, BCP_2D], ids=str)
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
    assert_parity(arrays, name, arrays[f"{name}_loss"], outside_weight, inside_weight, D3)


def test_unmasked_losses_of_the_reference(parity):
    arrays = parity("bcp_mix_loss_2d")
    probs = torch.tensor(arrays["logits"]).softmax(1).flatten(2)
    target = torch.tensor(arrays["label_outside"]).flatten(1)
    dice = dice_loss(probs, target, torch.ones(3, 1, target.shape[1]), BCP_2D)
    assert dice.item() == pytest.approx(float(arrays["dice_nomask"]), abs=1e-6)

    arrays = parity("bcp_mix_loss_3d")
    logits, target = torch.tensor(arrays["logits"]), torch.tensor(arrays["label_outside"])
    loss = region_loss(logits, target, everything(logits), reduction="region", dice=D3)
    assert loss.item() == pytest.approx(float(arrays["sup_loss"]), abs=1e-6)


# --- Values computed by hand ----------------------------------------------------------------------

# Two images of 2 x 2 voxels and two classes; P1 is the probability of class 1.
P1 = torch.tensor([[[0.8, 0.4], [0.6, 0.1]], [[0.5, 0.5], [0.5, 0.5]]])
LABEL = torch.tensor([[[1, 0], [1, 0]], [[0, 0], [0, 0]]])
HAND_CE = -(math.log(0.8) + 2 * math.log(0.6) + math.log(0.9) + 4 * math.log(0.5)) / 8
HAND_DICE = {
    # class 1: overlap 1.4, p^2 1.17 + 1, y 2; class 0: overlap 1.5 + 2, p^2 1.37 + 1, y 2 + 4
    D2: 1 - (2.8 / 4.17 + 7.0 / 8.37) / 2,
    # per image, not squared: class 1: 2.8 / (1.9 + 2), 0; class 0: 3 / (2.1 + 2), 4 / (2 + 4)
    D3: 1 - (2.8 / 3.9 + 0 + 3 / 4.1 + 4 / 6) / 4,
    DF: 1 - 2.8 / 4.17,
    DB: 1 - 2.8 / (3.9 + 2.0),
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
    loss = region_loss(logits, LABEL, regions, reduction=reduction, dice=DF)
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


def voxel_weights(rule, reduction):
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
    weight, uncertain = voxel_weights(rule, reduction)
    certain_weight = weight[~uncertain].median()
    expected = torch.where(uncertain, ratio * certain_weight, certain_weight)
    torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(("reduction", "voxels"), [("voxel", 2000), ("region", 1980)])
def test_only_the_voxel_denominator_counts_dropped_voxels(reduction, voxels):
    weight, uncertain = voxel_weights(drop(99), reduction)
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
