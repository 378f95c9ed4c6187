"""Where is the network unsure? The entropy map and its percentile cut (Eq. 3 and 4)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from buarl.arguments import (
    at_least_float32,
    check_axes,
    check_choice,
    check_number,
    check_tensor,
    may_look,
    widest_float,
)
from buarl.whole_batch import batch_kth_smallest, batch_least, batch_parts, batch_total

Scope = Literal["batch", "image"]
ROUNDING = -0.1  # an entropy below comes from no probabilities, of whatever precision


def entropy_of_probs(probs: Tensor) -> Tensor:
    """How unsure a prediction is at every voxel: the paper's entropy map U (Eq. 3), in nats.

    Eq. 3  printed:  U = p log p
           read:     U = - sum over classes c of p_c ln p_c,  with 0 ln 0 = 0

    Paper note: the print has neither the minus sign nor the sum. Both are used here: without the
    sign the percentile would select the most certain voxels, and the mask M of Eq. 4 has no class
    axis.

    Args:
        probs: Class probabilities, float of any precision, (B, C, *spatial), 0 to 1, with sum 1
            over axis 1.
    Returns:
        float32 (B, *spatial), from 0 (one class is certain) to ln C (all classes are alike);
        float64 of float64.
    Raises:
        TypeError: anything but a tensor of real floating-point numbers.
        ValueError: no axis of classes, or, on the CPU, numbers that are no probabilities.

    >>> entropy_of_probs(torch.tensor([[[1.0, 0.9, 0.5], [0.0, 0.1, 0.5]]]))  # three voxels
    tensor([[0.0000, 0.3251, 0.6931]])
    """
    check_tensor("probs", probs)
    check_axes("probs", probs)
    entropy = torch.special.entr(at_least_float32(probs)).sum(1)  # Eq. 3
    if may_look(entropy) and (low := float(entropy.detach().amin())) < ROUNDING:
        raise ValueError(
            "probs must be probabilities, 0 to 1 (use logits.softmax(1)), got numbers outside, "
            f"which give an entropy of {low:.3g}"
        )
    return entropy


def entropy_map(logits: Tensor) -> Tensor:
    """The same map straight from the output of a network: softmax, then Eq. 3.

    Equal to `entropy_of_probs(logits.softmax(1))` to the last bit in float32 and float64, with two
    differences: infinite logits are certain instead of NaN, and the gradient is finite where a
    probability has underflowed to 0.

    Args:
        logits: What a network puts out before its softmax, float of any precision,
            (B, C, *spatial).
    Returns:
        float32 (B, *spatial), 0 to ln C, nats; float64 of float64. NaN where a logit is NaN.
    Raises:
        TypeError: anything but a tensor of real floating-point numbers.
        ValueError: no axis of classes.

    >>> entropy_map(torch.tensor([[[0.0, 2.0, torch.inf], [0.0, 0.0, 0.0]]]))
    tensor([[0.6931, 0.3653, 0.0000]])
    """
    check_tensor("logits", logits)
    check_axes("logits", logits)
    exact = at_least_float32(logits)
    finite = exact.clamp(-1e30, 1e30)  # inf - inf inside the softmax would be NaN
    probs = finite.softmax(1)  # (B, C, *spatial)
    # A class of probability 0 adds nothing, nor does one of 1; but the slope is infinite at 0.
    return entropy_of_probs(torch.where(probs == 0, 1, probs))  # (B, *spatial)


def most_likely(probs: Tensor) -> Tensor:
    """The class of highest probability at every voxel: predicted labels and pseudo-labels.

    Args:
        probs: Probabilities or logits, float, (B, C, *spatial).
    Returns:
        int64 (B, *spatial), 0 to C-1; the first of several that are equally likely.
    Raises:
        TypeError: anything but a tensor of real floating-point numbers.
        ValueError: no axis of classes.

    >>> most_likely(torch.tensor([[[0.8, 0.3], [0.2, 0.7]]]))
    tensor([[0, 1]])
    """
    check_tensor("probs", probs)
    check_axes("probs", probs)
    return probs.max(1).indices  # argmax(1) gives the same, ten times as slow on a CPU


def entropy_threshold(entropy: Tensor, percentile: float, scope: Scope = "batch") -> Tensor:
    """The percentile of the entropy, the paper's mu (see Eq. 4 at `uncertain_mask`).

    Args:
        entropy: Float of any precision, (B, *spatial), nats.
        percentile: q in percent, 0 to 100; between two voxels it interpolates linearly.
        scope: "batch" takes all voxels of the batch together, also where it lies in parts on
            several devices (see `buarl.whole_batch`); "image" each image on its own.
    Returns:
        float64 (float32 on a device that has no other), (1,) for "batch" or (B,) for "image";
        equals `numpy.percentile` in float64.
    Raises:
        TypeError: anything but a tensor of real floating-point numbers.
        ValueError: percentile outside 0-100, an unknown scope, or entropy that is empty or, on the
            CPU, has NaN in it.

    >>> entropy_threshold(torch.tensor([[0.0, 0.1, 0.2, 0.6]]), 50)
    tensor([0.1500], dtype=torch.float64)
    """
    flat, percentile = _flatten(entropy, percentile, scope), float(percentile)
    if may_look(flat) and flat.amax().isnan():
        raise ValueError(f"entropy has NaN in {int(flat.isnan().sum())} of {flat.numel()} voxels")
    rank, fraction = _rank(flat.shape[1], percentile, scope)
    lower = _order_statistic(flat, rank, scope)
    above = torch.where(flat > lower, flat, math.inf).amin(1, keepdim=True)
    not_above = (flat <= lower).sum(1, keepdim=True)
    if scope == "batch":
        above, not_above = batch_least(above), batch_total(not_above)
    tied = not_above >= rank + 2
    upper = torch.where(tied | (fraction == 0), lower, above)
    lower, upper = (each.to(widest_float(each.device)) for each in (lower, upper))
    # Two forms of the same line, as in numpy: each is exact at its own end.
    rising, falling = lower + (upper - lower) * fraction, upper - (upper - lower) * (1 - fraction)
    return (falling if fraction >= 0.5 else rising).squeeze(1)


def uncertain_mask(entropy: Tensor, percentile: float, scope: Scope = "batch") -> Tensor:
    """Mark the voxels whose entropy lies above its percentile: the paper's mask M (Eq. 4).

    Eq. 4  printed:  mu = Percentile(U, q);  M = 1 where U > mu, 0 otherwise
           read:     the same with H of Eq. 3, over all voxels of the batch

    Paper note: "each time" leaves open over what the percentile runs; U2PL, which the paper cites,
    takes the voxels of a batch, and so do we by default.

    Args:
        entropy: Float of any precision, (B, *spatial), nats. No gradient flows. float64 is compared
            in float64, everything below in float32.
        percentile: q in percent, 0 to 100 (the paper: 95 for labeled images, and for unlabeled ones
            99 on ACDC and 95 on LA).
        scope: "batch" takes all voxels of the batch together, also where it lies in parts on
            several devices (see `buarl.whole_batch`); "image" each image on its own.
    Returns:
        bool (B, *spatial), True where uncertain: strictly above, so a constant map has no uncertain
        voxel. A voxel of NaN is never certain: NaN ranks above every number, and where so many are
        NaN that the percentile is, no voxel is certain.
    Raises:
        TypeError: anything but a tensor of real floating-point numbers.
        ValueError: percentile outside 0-100, an unknown scope or empty entropy.

    >>> uncertain_mask(torch.tensor([[0.0, 0.1, 0.2, 0.6]]), 50)
    tensor([[False, False,  True,  True]])
    """
    flat, percentile = _flatten(entropy, percentile, scope), float(percentile)
    rank, _ = _rank(flat.shape[1], percentile, scope)
    # No value lies strictly between the order statistic at floor(position) and the interpolated
    # threshold, so U > mu is U > that statistic: one selection, no rounding, any number of voxels.
    lower = _order_statistic(flat, rank, scope)
    certain = flat <= lower  # False for NaN
    return ~certain.view(entropy.shape)  # Eq. 4


def _order_statistic(flat: Tensor, rank: int, scope: Scope) -> Tensor:
    """The value that `rank` others precede in order, of every row, (rows, 1)."""
    if scope == "batch" and batch_parts() > 1:
        return batch_kth_smallest(flat[0], rank).view(1, 1)
    if flat.device.type == "cpu":
        return flat.kthvalue(rank + 1, dim=1, keepdim=True).values
    return flat.sort(1).values[:, rank : rank + 1]  # CUDA's kthvalue: 20 x slower, pytorch#75599


def _rank(count: int, percentile: float, scope: Scope) -> tuple[int, float]:
    """Where the percentile lies among the values in order: a whole rank and the rest."""
    count = count * batch_parts() if scope == "batch" else count
    position = percentile / 100 * (count - 1)
    rank = min(math.floor(position), count - 1)
    return rank, position - rank


def _flatten(entropy: Tensor, percentile: float, scope: Scope) -> Tensor:
    """Check the arguments; one row of float32 or float64 per percentile that is asked for."""
    check_tensor("entropy", entropy)
    check_axes("entropy", entropy, "(B, *spatial)", 1)
    check_number("percentile", percentile, 0, 100)
    check_choice("scope", scope, ("batch", "image"))
    if entropy.numel() == 0:
        raise ValueError(f"entropy is empty, got shape {tuple(entropy.shape)}")
    rows = entropy.shape[0] if scope == "image" else 1
    exact = entropy if entropy.dtype == torch.float64 else entropy.float()
    return exact.detach().reshape(rows, -1)
