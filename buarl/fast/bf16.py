"""bf16: where it is native, and where it would be wrong.

A BCP step in bf16 takes 0.7 of the time of one in fp32 (two Zen 5 cores, 12 + 12 slices of
256x256). Its results are near those of fp32 and not the same, so it is used on request only.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
