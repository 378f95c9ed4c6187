"""Dice + cross-entropy on weighted regions (Eq. 7 and 8), and the squared-error consistency term.

What a region's weight means is decided in one place, `weighted_means`; every loss goes through it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from buarl.arguments import (
    at_least_float32,
    check_axes,
    check_choice,
    check_classes,
    check_number,
    check_shape,
    check_tensor,
)
from buarl.dice import DICE_SSL4MIS, Dice, dice_loss, region_sums
from buarl.rule import Region, check_regions
from buarl.whole_batch import batch_least, batch_parts, batch_total

Reduction = Literal["region", "voxel"]


def region_loss(
    logits: Tensor,
    target: Tensor,
    regions: Sequence[Region],
    *,
    reduction: Reduction,
    dice: Dice = DICE_SSL4MIS,
    ce_share: float = 0.5,
) -> Tensor:
    """The paper's loss, half Dice and half cross-entropy, over weighted regions (Eq. 7 and Eq. 8).

    Eq. 7  printed:  L^l = L_seg(P^l, Y^l_uc) * M + alpha L_seg(P^l, Y^l_c) * (1 - M)
           read:     L^l = L(P^l, Y^l; M) + alpha L(P^l, Y^l; 1 - M)
    Eq. 8  printed:  L^u = L_seg(P^u, Y^u_c) * (1 - M') + alpha L_seg(P^u, Y^u_uc) * M'
           read:     L^u = L(P^u, Y^u; 1 - M') + alpha L(P^u, Y^u; M')

    where L(P, Y; R) = (1 - ce_share) Dice + ce_share CE over the voxels of R. The two are one
    function: labels and the regions of `url` make Eq. 7, pseudo-labels and those of `crl` Eq. 8.

    Paper note: the print multiplies a loss, which is one number, by a mask. The loss is restricted
    to the mask here. And it does not say what a region's loss is divided by, where two readings
    have opposite effects; so `reduction` has no default:

    - "region": every region is a mean over its own voxels, then weighted, as in BCP's masked loss.
      A small region counts as much as a large one: under CRL with q = 99 and alpha = 0.5 an
      uncertain voxel weighs 49.5 times a certain one.
    - "voxel": every voxel has its region's weight, and the sum is divided by the number of voxels
      of all regions. Under the same CRL an uncertain voxel weighs half of a certain one.

    What a map of weights means under both stands at `weighted_means`.

    Args:
        logits: Output of a network, (B, C, *spatial), float of any precision; the loss is computed
            in float32, also under autocast, and in float64 where they are float64.
        target: Label or pseudo-label, integer (B, *spatial), 0 to C-1 where a region weighs
            something; elsewhere it may be another number, such as 255 for "not labeled":
            `within(url()(probs), label != 255)`.
        regions: From a rule, e.g. `url()(probs)`; together they make up the place of the loss.
        reduction: "region" or "voxel", see above.
        dice: Which Dice, see `Dice`.
        ce_share: Share of the cross-entropy, 0 to 1, Dice has the rest; 0 in methods that only log
            the cross-entropy (DTC, SASSNet, MC-Net, SS-Net).
    Returns:
        Scalar, float32 or float64. A region without voxels adds 0 (if `dice` is smooth above). No
        gradient reaches voxels outside the regions, and NaN there does no harm.
    Raises:
        TypeError: what is no tensor, or holds another kind of numbers.
        ValueError: shapes that differ, classes out of range, weights or regions that
            `check_regions` refuses, an unknown reduction, a share outside 0-1.

    >>> logits = torch.tensor([[[2.0, 0.0, -1.0], [0.0, 1.0, 1.0]]])  # B, C = 1, 2; three voxels
    >>> label = torch.tensor([[0, 1, 0]])
    >>> uncertain = torch.tensor([[False, True, False]])
    >>> regions = [Region(uncertain, 1.0), Region(~uncertain, 0.5)]  # as of a rule
    >>> region_loss(logits, label, regions, reduction="voxel")
    tensor(0.3802)
    """
    check_tensor("logits", logits)
    check_tensor("target", target, "integer")
    check_axes("logits", logits, least=3)
    ce_share = check_number("ce_share", ce_share, 0, 1)
    shape = (logits.shape[0], *logits.shape[2:])
    check_shape("target", target, shape, fit="logits")
    with torch.autocast(logits.device.type, enabled=False):
        exact = at_least_float32(logits)
        means = weighted_means(regions, reduction=reduction, shape=shape, dtype=exact.dtype)
        weights = stacked_weights(means, exact.dtype)  # (B, R, N)
        inside = (weights != 0).any(1).view(shape)  # (B, *spatial)
        target = torch.where(inside, target, 0)  # what weighs nothing may hold anything
        exact = torch.where(inside[:, None], exact, 0)
        check_classes("target", target, logits.shape[1])
        voxels = torch.stack([mean.voxels for mean in means])  # (R,)
        plain = torch.contiguous_format  # channels-last would be copied once more on the way
        log_probs = exact.to(memory_format=plain).log_softmax(1)  # (B, C, *spatial)
        log_probs_flat, target = log_probs.flatten(2), target.flatten(1).long()
        cross_entropy = -log_probs_flat.gather(1, target[:, None])  # (B, 1, N)
        ce = batch_total(region_sums(cross_entropy, weights).sum((0, 2)))  # (R,)
        ce = ce / voxels.clamp_min(1)
        overlap = dice_loss(log_probs_flat.exp(), target, weights, dice)  # (R,)
        losses = (1 - ce_share) * overlap + ce_share * ce  # (R,)
        # Eq. 7: labels, with the regions of URL
        # Eq. 8: pseudo-labels, with the regions of CRL
        return sum(mean.factor * loss for mean, loss in zip(means, losses, strict=True))


class WeightedMean(NamedTuple):
    """One of the means a loss is made of: factor * sum over voxels of (weights * values) / voxels.

    weights: How much each voxel counts inside the mean, bool or float (B, *spatial).
    factor: How much the mean counts, a number or a scalar tensor.
    voxels: What the sum is divided by, integer scalar: those of the whole batch, see
        `buarl.whole_batch`.

    >>> mean = WeightedMean(torch.tensor([[1.0, 0.5]]), 1.0, torch.tensor(2))
    >>> mean.factor * (mean.weights * torch.tensor([[4.0, 2.0]])).sum() / mean.voxels
    tensor(2.5000)
    """

    weights: Tensor
    factor: float | Tensor
    voxels: Tensor


def weighted_means(
    regions: Sequence[Region],
    *,
    reduction: Reduction,
    shape: Sequence[int],
    fit: str = "logits",
    dtype: torch.dtype = torch.float32,
) -> list[WeightedMean]:
    """What the weights of regions mean, in both readings of the paper; every loss asks here.

    For a region R of |R| voxels whose voxel x has the weight w(x), and its mean w_R over R:

    - "region": w_R is the factor before the region's own mean, in which x counts w(x) / w_R.
      The mean of a value v is w_R * sum(w / w_R * v) / |R|; in a Dice w / w_R stands inside all
      three sums and w_R before the whole. Of a number w_R is the number, and w / w_R is 1.
    - "voxel": all regions are one, and x counts w(x) in it. The mean of v is sum(w * v) divided by
      the voxels of all regions; in a Dice w stands inside all three sums.

    In both, a map of one constant weight gives the very bits that the number gives.

    Args:
        regions: From a rule; masks and maps of one shape.
        reduction: "region" or "voxel".
        shape: The shape they must have, (B, *spatial).
        fit: What has that shape, for the error message.
        dtype: In which a map is computed, float32 or float64.
    Returns:
        One mean per region, or a single one for all.
    Raises:
        TypeError, ValueError: see `check_regions`; an unknown reduction.

    >>> mask = torch.tensor([[True, True, False]])
    >>> soft = Region(mask, torch.tensor([[1.0, 3.0, 9.0]]))
    >>> weighted_means([soft], reduction="region", shape=(1, 3))[0]
    WeightedMean(weights=tensor([[0.5000, 1.5000, 0.0000]]), factor=tensor(2.), voxels=tensor(2))
    >>> weighted_means([soft], reduction="voxel", shape=(1, 3))[0]
    WeightedMean(weights=tensor([[1., 3., 0.]]), factor=1.0, voxels=tensor(2))
    """
    check_choice("reduction", reduction, ("region", "voxel"))
    place = check_regions(regions, shape, fit)  # bool (B, *spatial)
    if reduction == "region":
        return [_mean_of(region, dtype) for region in regions]
    weights = sum(_inside(region, dtype) for region in regions)  # (B, *spatial)
    return [WeightedMean(weights, 1.0, batch_total(place.sum()))]


def _mean_of(region: Region, dtype: torch.dtype) -> WeightedMean:
    """The reading "region" of one region."""
    mask, weight = region
    voxels = batch_total(mask.sum())
    if not isinstance(weight, Tensor):  # and make no tensor of it: a GPU would wait for it
        return WeightedMean(mask, float(weight), voxels)
    inside = _inside(region, dtype)
    mean = batch_total(inside.sum()) / voxels.clamp_min(1)
    if mask.numel():  # a mean lies between its smallest and largest value, but for rounding
        low = batch_least(torch.where(mask, inside, math.inf).amin())
        mean = mean.clamp(low, -batch_least(-inside.amax()))
    return WeightedMean(inside / mean.clamp_min(torch.finfo(dtype).tiny), mean, voxels)


def _inside(region: Region, dtype: torch.dtype) -> Tensor:
    """The weight of every voxel, 0 outside the region, (B, *spatial)."""
    mask, weight = region
    if isinstance(weight, Tensor):
        return torch.where(mask, weight.detach().to(dtype), 0)
    return mask.to(dtype) * float(weight)


def stacked_weights(means: Sequence[WeightedMean], dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights inside R means as one tensor with flat voxels, as `dice_loss` takes them.

    Args:
        means: From `weighted_means`.
        dtype: float32 or float64.
    Returns:
        (B, R, N).

    >>> mask = torch.ones(2, 5, 5, dtype=torch.bool)
    >>> means = weighted_means([Region(mask, 0.5)], reduction="voxel", shape=(2, 5, 5))
    >>> stacked_weights(means).shape
    torch.Size([2, 1, 25])
    """
    return torch.stack([mean.weights.flatten(1).to(dtype) for mean in means], 1)


def consistency_loss(
    probs: Tensor, teacher_probs: Tensor, regions: Sequence[Region], *, reduction: Reduction
) -> Tensor:
    """Mean squared difference of two predictions over weighted regions, as in Mean Teacher.

    Args:
        probs: One prediction, float of any precision, (B, C, *spatial).
        teacher_probs: The other one, of the same shape.
        regions: From a rule, see `region_loss`.
        reduction: "region" or "voxel", see `region_loss`.
    Returns:
        Scalar, float32 or float64; with `whole` the plain mean over samples, classes and voxels.
    Raises:
        TypeError, ValueError: as in `region_loss`.

    >>> probs, teacher_probs = torch.tensor([[[0.8], [0.2]]]), torch.tensor([[[0.6], [0.4]]])
    >>> everything = [Region(torch.tensor([[True]]), 1.0)]
    >>> consistency_loss(probs, teacher_probs, everything, reduction="voxel")
    tensor(0.0400)
    """
    check_tensor("probs", probs)
    check_axes("probs", probs)
    check_tensor("teacher_probs", teacher_probs)
    check_shape("teacher_probs", teacher_probs, probs.shape, fit="probs")
    error = at_least_float32(probs) - at_least_float32(teacher_probs)  # (B, C, *spatial)
    difference = error.square().mean(1)  # (B, *spatial)
    return region_mean(difference, regions, reduction=reduction)


def region_mean(values: Tensor, regions: Sequence[Region], *, reduction: Reduction) -> Tensor:
    """Mean of a map of losses over weighted regions: how a rule weighs any voxel-wise term.

    Args:
        values: float (B, *spatial), e.g. a squared error or a divergence per voxel; below float32
            it is computed in float32.
        regions: From a rule, see `region_loss`.
        reduction: "region" or "voxel", see `region_loss`; for maps of weights `weighted_means`.
    Returns:
        Scalar, float32 or float64 as the values; with `whole` the plain mean, and 0 where no region
        has a voxel.
    Raises:
        TypeError, ValueError: as in `region_loss`.

    >>> uncertain = torch.tensor([[True, False, False]])
    >>> regions = [Region(uncertain, 1.0), Region(~uncertain, 0.5)]
    >>> region_mean(torch.tensor([[4.0, 1.0, 3.0]]), regions, reduction="voxel")  # (4 + .5 + 1.5)/3
    tensor(2.)
    >>> region_mean(torch.tensor([[4.0, 1.0, 3.0]]), regions, reduction="region")  # 4 + .5 (1+3)/2
    tensor(5.)
    """
    check_tensor("values", values)
    values = at_least_float32(values)
    means = weighted_means(
        regions, reduction=reduction, shape=values.shape, fit="values", dtype=values.dtype
    )
    sums = batch_total(torch.stack([(mean.weights * values).sum() for mean in means]))
    return sum(
        mean.factor * (total / mean.voxels.clamp_min(1))
        for mean, total in zip(means, sums, strict=True)
    )


def voxel_weights(regions: Sequence[Region], *, reduction: Reduction) -> Tensor:
    """Weight of every voxel in `region_mean`, relative to its weight in a plain mean.

    Args:
        regions: From a rule, see `region_loss`.
        reduction: "region" or "voxel", see `region_loss`.
    Returns:
        float32 (B, *spatial); 1 everywhere with `whole`.
    Raises:
        TypeError, ValueError: as in `region_loss`.

    >>> uncertain = torch.tensor([[True, False, False, False]])
    >>> regions = [Region(uncertain, 1.0), Region(~uncertain, 0.5)]
    >>> voxel_weights(regions, reduction="voxel")
    tensor([[1.0000, 0.5000, 0.5000, 0.5000]])
    >>> voxel_weights(regions, reduction="region")
    tensor([[4.0000, 0.6667, 0.6667, 0.6667]])
    """
    first = next(iter(regions), None) if isinstance(regions, list | tuple) else None
    shape = getattr(first[0], "shape", ()) if isinstance(first, tuple) and first else ()
    means = weighted_means(regions, reduction=reduction, shape=shape, fit="the first region")
    voxels = batch_parts() * math.prod(shape)
    return sum(mean.factor * mean.weights * (voxels / mean.voxels.clamp_min(1)) for mean in means)
