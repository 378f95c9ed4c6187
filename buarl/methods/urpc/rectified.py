"""Consistency of several predictions with their mean, rectified by how far they stray from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from buarl.losses import Reduction, region_mean
from buarl.regions import Region


def log_mean_probs(log_probs: Tensor) -> Tensor:
    """Logarithm of the mean of several predictions.

    Args:
        log_probs: The log-softmax of S predictions, (S, B, C, *spatial).
    Returns:
        (B, C, *spatial). It is computed from logarithms, because ln of a mean that has rounded to 0
        would send an infinite gradient back.

    >>> import torch
    >>> log_mean_probs(torch.tensor([[0.2, 0.8], [0.4, 0.6]]).log()).exp()
    tensor([0.3000, 0.7000])
    """
    return log_probs.logsumexp(0) - math.log(len(log_probs))


def rectified_consistency(
    log_probs: Tensor,
    mean_log_probs: Tensor,
    regions: Sequence[Region],
    *,
    reduction: Reduction,
) -> Tensor:
    """URPC's uncertainty-rectified distance of one prediction from the mean of all.

    D = KL(mean || prediction) is the uncertainty of a voxel. The squared error is averaged with
    the weights e^-D, so that voxels the predictions disagree on count less; the mean of D is added,
    so that disagreeing does not pay. Gradients flow through every factor, the mean and e^-D too.

    Args:
        log_probs: One prediction, float32 (B, C, *spatial).
        mean_log_probs: The mean of all, see `log_mean_probs`, (B, C, *spatial).
        regions: What weighs how much, see `region_mean`. They weigh all three means, so a common
            factor of the weights cancels in the rectified error and stays in the mean of D.
        reduction: See `region_mean`.
    Returns:
        A scalar, at least 0; 0 where the prediction equals the mean.
    Source: Luo et al., MICCAI 2021, uncertainty rectification; SSL4MIS; docs/protocol.md 4.6.

    >>> import torch
    >>> from buarl.regions import whole
    >>> probs = torch.tensor([[[0.5], [0.5]]])  # one image, two classes, one voxel
    >>> rectified_consistency(probs.log(), probs.log(), whole()(probs), reduction="voxel")
    tensor(0.)
    """

    def mean(values: Tensor) -> Tensor:
        return region_mean(values, regions, reduction=reduction)

    mean_probs = mean_log_probs.exp()  # (B, C, *spatial)
    divergence = (mean_probs * (mean_log_probs - log_probs)).sum(1)  # (B, *spatial), D
    certainty = (-divergence).exp()  # (B, *spatial)
    error = (mean_probs - log_probs.exp()).square().mean(1)  # (B, *spatial)
    return mean(error * certainty) / (mean(certainty) + 1e-8) + mean(divergence)
