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
        log_probs: (S, B, C, *spatial), the log-softmax of S predictions.
    Returns:
        (B, C, *spatial). From logarithms, because ln of a mean that has rounded to 0 would send
        an infinite gradient back.
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
        log_probs: One prediction, float32 (B, C, *spatial). mean_log_probs: See `log_mean_probs`.
        regions, reduction: As in `region_mean`. They weigh all three means, so a common factor of
            the weights cancels in the rectified error and stays in the mean of D.
    Returns:
        Scalar, >= 0; 0 where the prediction equals the mean.
    Source: Luo et al., MICCAI 2021, uncertainty rectification; SSL4MIS; docs/protocol.md 4.6.
    """

    def mean(values: Tensor) -> Tensor:
        return region_mean(values, regions, reduction=reduction)

    mean_probs = mean_log_probs.exp()  # (B, C, *spatial)
    divergence = (mean_probs * (mean_log_probs - log_probs)).sum(1)  # (B, *spatial), D
    certainty = (-divergence).exp()  # (B, *spatial)
    error = (mean_probs - log_probs.exp()).square().mean(1)  # (B, *spatial)
    return mean(error * certainty) / (mean(certainty) + 1e-8) + mean(divergence)
