"""bf16: where it is native, where it would be wrong, and gradients in it of an fp32 forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is native here (AVX-512 BF16 or AMX on a CPU, Ampere or newer)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private names: may move
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def is_wrong_in_bf16(feature: Tensor) -> bool:
    """Whether a convolution of this feature must stay in fp32: volumes of two planes, on a CPU.

    There the bf16 weight gradient of oneDNN 3.12 (torch 2.13) adds memory that nobody has written,
    NaN now and then: 3x3x3, padding 1, a first axis of 2, any number of channels.
    """
    return feature.device.type == "cpu" and feature.dim() == 5 and feature.shape[2] <= 2


class Bf16Gradients(TorchDispatchMode):
    """While entered, gradients of convolutions are computed in bf16, from fp32 and to fp32.

    Two thirds of a student's work. Rounding it leaves each layer's gradient as it was (cosines
    from 0.999); rounding the forward pass as well, as autocast does, turns those of a fresh network
    (to 0.9 in a U-Net, -0.2 in a V-Net): activations change sign, maxima their place. Measured by
    tools/bf16_gradients.py on ACDC and LA.

    Args:
        native: False keeps the roundings and computes in fp32 between them; where bf16 is not
            native its kernels take 14 times as long (U-Net, AVX2).
    """

    def __init__(self, native: bool = True) -> None:
        super().__init__()
        self.arithmetic = torch.bfloat16 if native else torch.float32

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """The operation, with bf16's roundings if it is the gradient of a convolution."""
        gradient_of = torch.ops.aten.convolution_backward.default
        if operation is not gradient_of or is_wrong_in_bf16(args[1]):
            return operation(*args, **(kwargs or {}))
        gradient, feature, weight, *rest = args
        low = (t.to(torch.bfloat16).to(self.arithmetic) for t in (gradient, feature, weight))
        found = operation(*low, *rest)
        return tuple(None if t is None else t.to(torch.bfloat16).to(weight.dtype) for t in found)
