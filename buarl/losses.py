"""Dice + cross-entropy on weighted regions (Eq. 7-8), and the squared-error consistency term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from buarl.regions import Region

Reduction = Literal["region", "voxel"]


@dataclass(frozen=True)
class Dice:
    """Which soft Dice: the field uses several under one name (docs/protocol.md 4.1).

    squared: sums of p^2 in the denominator instead of p. per_sample: one Dice per image, then the
    mean, instead of sums over the batch. background: class 0 counts. smooth: added above and below.
    overlap_factor: 2 lets a perfect prediction score 1. smooth_above: False smooths below only.
    """

    squared: bool
    per_sample: bool
    background: bool
    smooth: float
    overlap_factor: float = 2.0
    smooth_above: bool = True


D2 = Dice(squared=True, per_sample=False, background=True, smooth=1e-5)  # SSL4MIS
D2_BCP = Dice(squared=True, per_sample=False, background=True, smooth=1e-10)  # BCP on ACDC
D3 = Dice(squared=False, per_sample=True, background=True, smooth=1e-5)  # BCP on LA
DF = Dice(
    squared=True, per_sample=False, background=False, smooth=1e-5
)  # UA-MT, DTC, SASSNet on LA
D2_HALF = Dice(  # MC-Net on ACDC, a slip its numbers depend on: a perfect prediction costs 0.5
    squared=True,
    per_sample=False,
    background=True,
    smooth=1e-10,
    overlap_factor=1.0,
    smooth_above=False,
)
DB = Dice(squared=False, per_sample=False, background=False, smooth=1e-8)  # SS-Net, MC-Net on LA
DICES = {"D2": D2, "D2_BCP": D2_BCP, "D2_HALF": D2_HALF, "D3": D3, "DF": DF, "DB": DB}
"""The Dice losses by name, for rows of plain data."""


def region_loss(
    logits: Tensor,
    target: Tensor,
    regions: Sequence[Region],
    *,
    reduction: Reduction,
    dice: Dice = D2,
    ce_share: float = 0.5,
) -> Tensor:
    """Half Dice plus half cross-entropy over weighted regions: L^l and L^u (Eq. 7 and 8).

    Args:
        logits: (B, C, *spatial), any float; computed in float32 also under autocast.
        target: Label or pseudo-label, integer (B, *spatial), 0 to C-1.
        regions: From a rule, e.g. `url()(probs)`; together they make up the place of the loss.
        reduction: "region": every region is a mean over its own voxels, then weighted, as in BCP's
            masked loss, so a small region counts as much as a large one (CRL at q = 99, alpha 0.5:
            an uncertain voxel weighs 49.5 times a certain one). "voxel": every voxel has its
            region's weight and the sum is divided by the number of voxels of the place (the same
            CRL: half). The paper does not say which; the effects are opposite, so no default.
        dice: Which Dice, see `Dice`. ce_share: Share of the cross-entropy, Dice has the rest; 0 in
            the methods that log cross-entropy only (DTC, SASSNet, MC-Net, SS-Net).
    Returns:
        Scalar float32. An empty region adds 0. No gradient reaches voxels outside the regions.
    Raises:
        ValueError: shapes that differ, classes out of range, no region, an unknown reduction.
    Paper note: Eq. 7-8 multiply a scalar loss by M; the loss is restricted to M here.
    """
    _check(logits, target, regions, reduction)
    with torch.autocast(logits.device.type, enabled=False):
        plain = torch.contiguous_format  # channels-last would be copied once more on the way
        log_probs = logits.to(torch.float32, memory_format=plain).log_softmax(1)  # (B, C, *spatial)
        log_probs_flat, target = log_probs.flatten(2), target.flatten(1).long()
        _check_classes(target, logits.shape[1])
        cross_entropy = -log_probs_flat.gather(1, target[:, None])  # (B, 1, N)
        masks = torch.stack([region.mask.flatten(1) for region in regions], 1).float()  # (B, R, N)
        weights = [region.weight for region in regions]  # no tensor: a GPU would wait for it
        if reduction == "region":
            voxels = masks.sum((0, 2))  # (R,)
        else:  # one soft region: the map of weights, over all voxels of the place
            voxels = masks.amax(1).sum()[None]  # (1,)
            masks = sum(w * mask for w, mask in zip(weights, masks.unbind(1), strict=True))[:, None]
            weights = [1.0]
        ce = region_sums(cross_entropy, masks).sum((0, 2)) / voxels.clamp_min(1)  # (R,)
        overlap = dice_loss(log_probs_flat.exp(), target, masks, dice)  # (R,)
        losses = (1 - ce_share) * overlap + ce_share * ce  # (R,)
        return sum(w * loss for w, loss in zip(weights, losses, strict=True))  # Eq. 7, Eq. 8


def dice_loss(probs: Tensor, target: Tensor, masks: Tensor, dice: Dice) -> Tensor:
    """Soft Dice loss of every region; masks stand inside all three sums (docs/protocol.md 4.1).

    Args:
        probs: float32 (B, C, N). target: int64 (B, N), or soft, float32 (B, C, N). masks: float32
            (B, R, N), 0/1 or weights. dice: Which Dice.
    Returns:
        (R,), 0 to 1; 0 for an empty region.
    """
    if target.is_floating_point():
        truth, true = target, target.square() if dice.squared else target  # (B, C, N)
    else:
        truth = true = torch.zeros_like(probs, requires_grad=False).scatter_(1, target[:, None], 1)
    predicted = probs.square() if dice.squared else probs  # (B, C, N)
    sums = [region_sums(values, masks) for values in (probs * truth, predicted, true)]  # (B, R, C)
    if not dice.per_sample:
        sums = [total.sum(0, keepdim=True) for total in sums]
    overlap, predicted, true = (total[..., 0 if dice.background else 1 :] for total in sums)
    above = dice.overlap_factor * overlap + (dice.smooth if dice.smooth_above else 0)
    score = above / (predicted + true + dice.smooth)  # (B or 1, R, C)
    return 1 - score.mean((0, 2))


def region_sums(values: Tensor, masks: Tensor) -> Tensor:
    """Sums of maps over every region, to fp32 precision.

    Args:
        values: float32 (B, C, N). masks: float32 (B, R, N), 0/1 or weights.
    Returns:
        (B, R, C).
    """
    # Not a product of matrices: that adds voxel after voxel and loses up to 0.4 % over the million
    # voxels of an LA patch; `sum` adds in pairs.
    return torch.stack([(values * mask[:, None]).sum(2) for mask in masks.unbind(1)], 1)


def consistency_loss(
    probs: Tensor, teacher_probs: Tensor, regions: Sequence[Region], *, reduction: Reduction
) -> Tensor:
    """Mean squared difference of two predictions over weighted regions (Mean Teacher).

    Args:
        probs, teacher_probs: (B, C, *spatial). regions, reduction: as in `region_loss`.
    Returns:
        Scalar float32; with `whole` the plain mean over samples, classes and voxels.
    Raises:
        ValueError: as in `region_loss`.
    """
    _check(probs, teacher_probs[:, 0], regions, reduction)
    difference = (probs.float() - teacher_probs.float()).square().mean(1)  # (B, *spatial)
    return region_mean(difference, regions, reduction=reduction)


def region_mean(values: Tensor, regions: Sequence[Region], *, reduction: Reduction) -> Tensor:
    """Mean of a map of losses over weighted regions: how a rule weighs any voxel-wise term.

    Args:
        values: (B, *spatial), e.g. a squared error or a divergence per voxel. regions, reduction:
            as in `region_loss`.
    Returns:
        Scalar; with `whole` the plain mean, over a place without voxels 0.
    Raises:
        ValueError: as in `region_loss`.
    """
    _check(values[:, None], values, regions, reduction)
    if reduction == "region":
        means = [(r.mask * values).sum() / r.mask.sum().clamp_min(1) for r in regions]
        return sum(r.weight * mean for r, mean in zip(regions, means, strict=True))
    place = torch.stack([region.mask for region in regions]).any(0)
    weight = sum(region.mask * region.weight for region in regions)  # (B, *spatial)
    return (weight * values).sum() / place.sum().clamp_min(1)


def voxel_weights(regions: Sequence[Region], *, reduction: Reduction) -> Tensor:
    """Weight of every voxel in `region_mean`, relative to its weight in a plain mean.

    Args:
        regions, reduction: As in `region_loss`.
    Returns:
        float32 (B, *spatial); 1 everywhere with `whole`.
    """
    voxels = regions[0].mask.numel()
    if reduction == "region":
        return sum(r.weight * r.mask * (voxels / r.mask.sum().clamp_min(1)) for r in regions)
    place = torch.stack([region.mask for region in regions]).any(0)
    weights = sum(region.weight * region.mask for region in regions)
    return weights * (voxels / place.sum().clamp_min(1))


def _check_classes(target: Tensor, num_classes: int) -> None:
    """Torch would say only "index out of bounds". Not on a GPU: it would wait."""
    if target.device.type == "cpu" and target.numel():
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= num_classes:
            raise ValueError(f"target must lie in 0 to {num_classes - 1}, got {low} to {high}")


def _check(logits: Tensor, target: Tensor, regions: Sequence[Region], reduction: Reduction) -> None:
    wanted = (logits.shape[0], *logits.shape[2:])
    for name, shape in [("target", target.shape)] + [
        ("region mask", r.mask.shape) for r in regions
    ]:
        if tuple(shape) != wanted:
            raise ValueError(f"{name} must have shape {wanted} to fit logits, got {tuple(shape)}")
    if not regions:
        raise ValueError("a loss needs at least one region, got none")
    if reduction not in ("region", "voxel"):
        raise ValueError(f'reduction must be "region" or "voxel", got {reduction!r}')
