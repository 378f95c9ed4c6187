"""Where is the network unsure? The entropy map and its percentile cut (Eq. 3-4)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["batch", "image"]


def entropy_map(logits: Tensor) -> Tensor:
    """Predictive entropy of every voxel, in nats, from logits (Eq. 3).

    Args:
        logits: Network output before softmax, float of any precision, (B, C, *spatial).
    Returns:
        float32 (B, *spatial), 0 to ln C. Saturated and infinite logits give 0, never NaN.
    Paper note: Eq. 3 prints neither the minus sign nor the sum over classes. Both are used here:
        the printed sign would select the most certain voxels, and the mask has no class axis.
    """
    finite = logits.float().clamp(-1e30, 1e30)  # inf - inf inside the softmax would be NaN
    log_probs = finite.log_softmax(1)  # (B, C, *spatial)
    return -(log_probs.exp() * log_probs).sum(1)  # (B, *spatial)  Eq. 3


def entropy_of_probs(probs: Tensor) -> Tensor:
    """The same map from probabilities; prefer `entropy_map` where logits are at hand.

    Args:
        probs: Class probabilities, float, (B, C, *spatial), summing to 1 over axis 1.
    Returns:
        float32 (B, *spatial), 0 to ln C.
    """
    return torch.special.entr(probs.float()).sum(1)  # (B, *spatial)  Eq. 3 for probs


def most_likely(probs: Tensor) -> Tensor:
    """The class of highest probability of every voxel: predicted labels and pseudo-labels.

    Args:
        probs: Or logits, (B, C, *spatial).
    Returns:
        int64 (B, *spatial); the first of equals.
    """
    return probs.max(1).indices  # argmax(1) gives the same, ten times as slow on a CPU


def entropy_threshold(entropy: Tensor, percentile: float, scope: Scope = "batch") -> Tensor:
    """The percentile of the entropy, the paper's mu_q (Eq. 4), with linear interpolation.

    Args:
        entropy: (B, *spatial), float of any precision, nats.
        percentile: q in percent, 0-100.
        scope: "batch" cuts all voxels of the batch together, "image" each image on its own.
    Returns:
        float64, (1,) for "batch" or (B,) for "image"; equals `numpy.percentile` in float64.
    Raises:
        ValueError: percentile outside 0-100, unknown scope or empty entropy.
    """
    flat = _flatten(entropy, percentile, scope)
    rank, fraction = _rank(flat.shape[1], percentile)
    lower = _order_statistic(flat, rank)
    above = torch.where(flat > lower, flat, math.inf).amin(1, keepdim=True)
    tied = (flat <= lower).sum(1, keepdim=True) >= rank + 2
    upper = torch.where(tied | (fraction == 0), lower, above)
    lower, upper = lower.double(), upper.double()
    # Two forms of the same line, as in numpy: each is exact at its own end.
    rising, falling = lower + (upper - lower) * fraction, upper - (upper - lower) * (1 - fraction)
    return (falling if fraction >= 0.5 else rising).squeeze(1)


def uncertain_mask(entropy: Tensor, percentile: float, scope: Scope = "batch") -> Tensor:
    """Mark the voxels whose entropy exceeds its percentile: the paper's M (Eq. 4), strict `>`.

    Args:
        entropy: (B, *spatial), float of any precision, nats; no gradient flows.
        percentile: q in percent, 0-100 (paper: 95 for labeled, 99 for unlabeled images on ACDC).
        scope: "batch" (default reading) or "image"; see `entropy_threshold`.
    Returns:
        bool (B, *spatial), True where uncertain; all False if the entropy is constant.
    Raises:
        ValueError: percentile outside 0-100, unknown scope or empty entropy.
    """
    flat = _flatten(entropy, percentile, scope)
    rank, _ = _rank(flat.shape[1], percentile)
    # No value lies strictly between the order statistic at floor(position) and the interpolated
    # threshold, so H > mu is H > that statistic: one selection, no rounding, any number of voxels.
    lower = _order_statistic(flat, rank)
    return (flat > lower).view(entropy.shape)  # (B, *spatial)  Eq. 4


def _order_statistic(flat: Tensor, rank: int) -> Tensor:
    """The value that `rank` others precede in order, of every row, (rows, 1)."""
    if flat.device.type == "cpu":
        return flat.kthvalue(rank + 1, dim=1, keepdim=True).values
    return flat.sort(1).values[:, rank : rank + 1]  # CUDA's kthvalue: 20 x slower, pytorch#75599


def _rank(count: int, percentile: float) -> tuple[int, float]:
    position = percentile / 100 * (count - 1)
    rank = min(math.floor(position), count - 1)
    return rank, position - rank


def _flatten(entropy: Tensor, percentile: float, scope: Scope) -> Tensor:
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must lie in 0-100, got {percentile}")
    if scope not in ("batch", "image"):
        raise ValueError(f'scope must be "batch" or "image", got {scope!r}')
    if entropy.numel() == 0:
        raise ValueError(f"entropy is empty, got shape {tuple(entropy.shape)}")
    rows = entropy.shape[0] if scope == "image" else 1
    return entropy.detach().float().reshape(rows, -1)
