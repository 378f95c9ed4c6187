"""Batch normalization over a batch that lies in parts on several devices.

`torch.nn.SyncBatchNorm` does the same on a GPU and refuses a CPU. This one runs wherever a sum over
the parts can be made, so what is tested in two processes on a CPU is what runs on GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from buarl.arguments import at_least_float32
from buarl.whole_batch import WholeBatch, current_batch


@contextmanager
def over_the_whole_batch(module: nn.Module, number: int) -> Iterator[None]:
    """While inside, the batch normalization of a module takes the statistics of the whole batch.

    This acts where `batch_in_parts` does; elsewhere, and in eval mode, a layer is as it was.

    Args:
        module: Networks. number: Which part of the batch is here, from 0.

    >>> layer = nn.BatchNorm1d(1)
    >>> with over_the_whole_batch(layer, 0):
    ...     layer(torch.tensor([[0.0], [2.0]])).flatten().round(decimals=3).tolist()
    [-1.0, 1.0]
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.forward = partial(_forward, layer, number)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: _BatchNorm, number: int, feature: Tensor) -> Tensor:
    batch = current_batch()
    if batch.parts == 1 or not (layer.training or layer.running_mean is None):
        return type(layer).forward(layer, feature)
    mean, variance = _statistics(feature.detach(), batch, number)
    if layer.training and layer.track_running_stats and layer.running_mean is not None:
        _keep(layer, mean, variance, batch.parts * feature.numel() // feature.shape[1])
    return _Normalize.apply(feature, layer.weight, layer.bias, mean, variance, layer.eps, batch)


def _statistics(feature: Tensor, batch: WholeBatch, number: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, (channels,), over the whole batch; one exchange."""
    mean, variance = torch.batch_norm_update_stats(at_least_float32(feature), None, None, 0.0)
    every = mean.new_zeros(batch.parts, 2, len(mean))
    every[number] = torch.stack([mean, variance])
    means, variances = batch.total(every).unbind(1)  # (parts, channels)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def _keep(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics, as `nn.BatchNorm2d` does."""
    layer.num_batches_tracked.add_(1)
    share = layer.momentum
    if share is None:
        share = 1 / float(layer.num_batches_tracked)
    unbiased = variance * (count / max(count - 1, 1))
    layer.running_mean.lerp_(mean.to(layer.running_mean), share)
    layer.running_var.lerp_(unbiased.to(layer.running_var), share)


class _Normalize(torch.autograd.Function):
    """(feature - mean) / sqrt(variance + eps) * weight + bias, with the gradient of the whole."""

    @staticmethod
    def forward(
        ctx: Any,
        feature: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        batch: WholeBatch,
    ) -> Tensor:
        ctx.save_for_backward(feature, weight, mean, variance)
        ctx.batch, ctx.eps = batch, eps
        return F.batch_norm(feature, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        feature, weight, mean, variance = ctx.saved_tensors
        exact = at_least_float32(feature)
        # As if the statistics were constants: one pass for the gradient and for both sums.
        to_feature, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            at_least_float32(gradient),
            exact,
            weight,
            mean,
            variance,
            None,
            None,
            False,
            ctx.eps,
            [True, True, True],
        )
        count = ctx.batch.parts * feature.numel() // feature.shape[1]
        mean_of, along = ctx.batch.total(torch.stack([to_bias, to_weight])) / count  # (channels,)
        # Then what comes back through the statistics: a line in the feature, for each channel.
        scale = (variance + ctx.eps).rsqrt()
        factor = scale if weight is None else scale * weight
        slope = factor * along * scale
        shape = (1, -1, *[1] * (feature.dim() - 2))
        constant = (factor * mean_of - slope * mean).view(shape)
        to_feature.sub_(torch.addcmul(constant, exact, slope.view(shape)))
        if weight is None:
            to_weight = to_bias = None
        return to_feature.to(feature.dtype), to_weight, to_bias, None, None, None, None
