"""Virtual adversarial perturbation (VAT): where a prediction changes most, and how far it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from buarl.losses import Dice, Reduction, dice_loss, stacked_weights, weighted_means
from buarl.regions import Region


def adversarial_direction(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    distance: Callable[[Tensor], Tensor],
    *,
    xi: float = 10.0,
) -> Tensor:
    """One step of the power method from a random direction.

    The distance of a prediction from itself has no slope, so it is taken at image + xi d, with d
    random, and its gradient there is the direction.

    Args:
        predict: Images -> prediction, with a graph. image: (B, channels, *spatial).
        distance: Prediction -> scalar, how far it lies from the clean one.
        xi: Length of the probing step, for every image.
    Returns:
        Shape of image, without a graph, of length 1 per image; shorter where the gradient's length
        comes near 1e-8. No gradient is left in any parameter.
    Source: Miyato et al., 2018, as SS-Net uses it; docs/protocol.md 4.8.
    """
    start = unit_length(torch.rand_like(image) - 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(distance(predict(image + xi * start)), start)
    return unit_length(gradient)


def unit_length(vectors: Tensor) -> Tensor:
    """Each sample of (B, ...) divided by its Euclidean length (+1e-8)."""
    length = vectors.flatten(1).norm(dim=1) + 1e-8  # (B,)
    return vectors / length.view(-1, *[1] * (vectors.ndim - 1))


def dice_distance(
    probs: Tensor,
    clean_probs: Tensor,
    regions: Sequence[Region],
    *,
    reduction: Reduction,
    dice: Dice,
    pool_classes: bool = False,
) -> Tensor:
    """Soft Dice loss of two predictions on weighted regions; weights stand inside every sum.

    Args:
        probs, clean_probs: (B, C, *spatial). regions, reduction: As in `region_loss`.
        dice: Which Dice; the background always counts, as all of the prediction is compared.
        pool_classes: False: one Dice per class, then the mean. True: sums run over classes, too.
    Returns:
        Scalar float32. Two equal predictions score 0 only by a squared Dice.
    """
    shape = (probs.shape[0], *probs.shape[2:])
    means = weighted_means(regions, reduction=reduction, shape=shape, fit="probs")
    masks = stacked_weights(means)  # (B, R, N)
    pair = [probs.float().flatten(2), clean_probs.float().flatten(2)]  # (B, C, N)
    if pool_classes:  # classes in a row, like voxels of a single class
        masks = masks.repeat(1, 1, probs.shape[1])
        pair = [p.flatten(1)[:, None] for p in pair]  # (B, 1, C * N)
    with torch.autocast(probs.device.type, enabled=False):
        losses = dice_loss(*pair, masks, replace(dice, background=True))  # (R,)
    return sum(mean.factor * loss for mean, loss in zip(means, losses, strict=True))


@contextlib.contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisation keeps its mode but leaves its running statistics alone inside."""
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    tracked = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, before in zip(layers, tracked, strict=True):
            layer.track_running_stats = before
