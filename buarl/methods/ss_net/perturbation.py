"""Virtual adversarial perturbation (VAT): where a prediction changes most, and how far it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from buarl.arguments import check_shape, check_tensor
from buarl.dice import Dice, dice_loss
from buarl.losses import Reduction, stacked_weights, weighted_means
from buarl.regions import Region


def adversarial_direction(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    distance: Callable[[Tensor], Tensor],
    *,
    xi: float = 10.0,
) -> Tensor:
    """The direction in which a small step changes the prediction most, by one power iteration.

    The distance of a prediction from itself has no slope, so it is taken at image + xi d with a
    random direction d, and its gradient there is the direction. Source: Miyato et al., 2018
    (arXiv:1704.03976), as SS-Net uses it; docs/protocol.md 4.8.

    Args:
        predict: Turns images into a prediction, with a graph.
        image: (B, channels, *spatial).
        distance: Turns a prediction into a scalar, how far it lies from the clean one.
        xi: Length of the probing step in every image.
    Returns:
        Shape of image, without a graph, of length 1 per image; shorter where the gradient's length
        comes near 1e-8. No gradient is left in any parameter.

    >>> image = torch.zeros(1, 1, 2)
    >>> direction = adversarial_direction(lambda x: x[..., :1] ** 2, image, lambda p: p.sum())
    >>> direction[0, 0].abs().tolist()  # only the first pixel matters
    [1.0, 0.0]
    """
    start = unit_length(torch.rand_like(image) - 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(distance(predict(image + xi * start)), start)
    return unit_length(gradient)


def unit_length(vectors: Tensor) -> Tensor:
    """Every sample of (B, ...) divided by its Euclidean length (+1e-8).

    >>> unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
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
        probs: One prediction, float of any precision, (B, C, *spatial).
        clean_probs: The other one, of the same shape.
        regions: From a rule, see `region_loss`.
        reduction: "region" or "voxel", see `region_loss`; for maps of weights `weighted_means`.
        dice: Which Dice; the background always counts, as all of the prediction is compared.
        pool_classes: False: one Dice per class, then the mean. True: the sums run over the classes
            as well.
    Returns:
        float32 scalar. Two equal predictions score 0 only by a squared Dice.
    Raises:
        TypeError, ValueError: as in `region_loss`.

    >>> from buarl.dice import DICE_SSL4MIS
    >>> probs = torch.tensor([[[0.9, 0.2], [0.1, 0.8]]])
    >>> everything = [Region(torch.ones(1, 2, dtype=torch.bool), 1.0)]
    >>> dice_distance(probs, probs, everything, reduction="voxel", dice=DICE_SSL4MIS).abs() < 1e-6
    tensor(True)
    """
    check_tensor("probs", probs)
    check_tensor("clean_probs", clean_probs)
    check_shape("clean_probs", clean_probs, probs.shape, fit="probs")
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
    """Batch normalization keeps its mode but leaves its running statistics alone inside.

    >>> layer = nn.BatchNorm1d(1)
    >>> with frozen_statistics(layer):
    ...     _ = layer(torch.ones(4, 1))
    >>> layer.running_mean
    tensor([0.])
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    tracked = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, before in zip(layers, tracked, strict=True):
            layer.track_running_stats = before
