"""Mutual consistency of several predictions: each learns from the sharpened others (MC-Net)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from buarl.arguments import at_least_float32
from buarl.losses import Reduction, consistency_loss
from buarl.regions import Region

ODDS_LIMIT = 1e-6  # probabilities nearer to 0 or 1 are taken as this near


def sharpen(probs: Tensor, temperature: float = 0.1) -> Tensor:
    """Push probabilities towards 0 or 1, every class against the rest on its own.

    S(p) = p^(1/T) / (p^(1/T) + (1 - p)^(1/T)), which is the sigmoid of the log-odds of p over T.
    So it is computed, for powers underflow. The classes of a voxel need not sum to 1 afterwards.

    Args:
        probs: Any shape, 0 to 1, computed in float32.
        temperature: T, above 0; 1 changes nothing.
    Returns:
        float32, same shape. Its gradient is finite everywhere, and 0 within 1e-6 of 0 and 1, where
        at T = 0.1 it is below 1e-50 anyway.
    Raises:
        ValueError: temperature not above 0.
    Source: MC-Net (Wu et al., MICCAI 2021); docs/protocol.md 4.7.

    >>> sharpen(torch.tensor([0.4, 0.5, 0.6]))
    tensor([0.0170, 0.5000, 0.9830])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return torch.sigmoid(torch.logit(at_least_float32(probs), eps=ODDS_LIMIT) / temperature)


def mutual_consistency(
    probs: Sequence[Tensor],
    regions: Sequence[Region],
    *,
    reduction: Reduction,
    temperature: float = 0.1,
    detach_targets: bool = False,
) -> Tensor:
    """Sum over ordered pairs i != j of the mean of (p_i - S(p_j))^2 over weighted regions.

    Args:
        probs: Two or more predictions, each (B, C, *spatial).
        regions, reduction: What weighs how much, see `consistency_loss`.
        temperature: See `sharpen`.
        detach_targets: Let no gradient reach p_j through S(p_j).
    Returns:
        float32 scalar; with `whole` the plain means over samples, classes and voxels.

    >>> from buarl.regions import whole
    >>> sure = torch.tensor([[[1.0], [0.0]]])  # one image, two classes, one voxel
    >>> mutual_consistency([sure, sure], whole()(sure), reduction="voxel")
    tensor(0.)
    """
    targets = [sharpen(p.detach() if detach_targets else p, temperature) for p in probs]
    pairs = permutations(range(len(probs)), 2)
    return sum(
        consistency_loss(probs[i], targets[j], regions, reduction=reduction) for i, j in pairs
    )
