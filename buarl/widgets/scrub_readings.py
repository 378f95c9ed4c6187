"""The scrubber's read-outs as the library computes them, to check the browser's arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from buarl.entropy import Scope, entropy_threshold, uncertain_mask
from buarl.evaluation.errors import error_capture
from buarl.losses import Reduction, region_mean
from buarl.widgets.scrub_pack import RULES, Side, slices_of


def readings(
    side: Side,
    step: int,
    index: int,
    percentile: float,
    alpha: float = 0.5,
    scope: Scope = "batch",
) -> dict[str, float | None]:
    """Compute all numbers beside the pictures, for one position of the sliders.

    Args:
        side: What is shown.
        step: Which training step, from 0.
        index: Which slice, from 0.
        percentile: Cut in percent, see `buarl.entropy.uncertain_mask`.
        alpha: Weight of the lesser region.
        scope: "batch" or "image".
    Returns:
        threshold: nats, of the batch or of the slice's image. share, wrong, precision, recall,
        ceiling: marked pixels, errors of all pixels, errors of marked pixels, marked errors of
        errors, and what that could be at most with so many marks; each 0-1, of the slice; with the
        ending _all of all slices. voxel_inside, voxel_outside,
        region_inside, region_outside: what an uncertain and a certain voxel weigh under both
        reductions, 1 being its weight in the plain mean. None where there is nothing to divide by.
    """
    entropy = side.entropy(step)  # (N, *spatial)
    mask = uncertain_mask(entropy, percentile, scope)
    thresholds = entropy_threshold(entropy, percentile, scope)
    depth = 1 if mask.ndim == 3 else mask.shape[-1]
    marked = slices_of(mask.numpy())[index]
    result = {
        "threshold": thresholds[index // depth if scope == "image" else 0].item(),
        "share": float(marked.mean()),
        "share_all": mask.double().mean().item(),
    }
    if side.labels is not None:
        error = side.pseudo_label(step) != side.labels  # (N, *spatial)
        missed = slices_of(error)[index]
        both = float((missed & marked).sum())
        total = error_capture(torch.from_numpy(error), entropy, percentile, scope)
        result |= {
            "wrong": float(missed.mean()),
            "recall": both / missed.sum() if missed.any() else None,
            "precision": both / marked.sum() if marked.any() else None,
            "ceiling": min(1, marked.sum() / missed.sum()) if missed.any() else None,
            "wrong_all": float(error.mean()),
            "recall_all": None if np.isnan(total.recall) else total.recall,
            "precision_all": None if np.isnan(total.precision) else total.precision,
            "ceiling_all": min(1, mask.sum().item() / error.sum()) if error.any() else None,
        }
    rule = RULES[side.rule](percentile, alpha, scope)
    return result | _weights(rule(torch.from_numpy(np.ascontiguousarray(side.probs[step]))))


def _weights(regions: list) -> dict[str, float | None]:
    """What a voxel inside and outside the uncertain region weighs under both reductions."""
    result = {}
    for reduction in ("voxel", "region"):
        weight = voxel_weights(regions, reduction)
        for place, region in zip(("inside", "outside"), regions, strict=True):
            inside = weight[region.mask]
            result[f"{reduction}_{place}"] = inside[0].item() if len(inside) else None
    return result


def voxel_weights(regions: list, reduction: Reduction) -> Tensor:
    """What every voxel weighs in a loss on regions, (B, *spatial); 1 in the plain mean.

    Measured, not derived: the gradient of the library's own `region_mean`.
    """
    values = torch.zeros(regions[0].mask.shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(region_mean(values, regions, reduction=reduction), values)
    return gradient * gradient.numel()
