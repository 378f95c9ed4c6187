"""bf16: where it is native, whether it is faster there, and where it would be wrong.

A BCP step in bf16 takes 0.7 of the time of one in fp32 (two Zen 5 cores, 12 + 12 slices of
256x256). Native is not enough: a Xeon with AVX-512 BF16 but without AMX tiles takes 1.4 times as
long for a step of the U-Net, so `bf16_time` measures. Results are near those of fp32 and not the
same, so bf16 is used on request only: over seeds it lost 0.02 of Dice on ACDC, most of which logits
in fp32 gave back, see results/precision.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 arithmetic (AVX-512 BF16 or AMX on a CPU, Ampere or newer)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private names: may move
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def bf16_time(device: torch.device, *, repeats: int = 5) -> float:
    """Time of a convolution in bf16 over its time in fp32, measured now; below 1 bf16 is faster.

    Forward and backward pass of a 3x3 convolution, 32 to 32 channels, six slices of 64x64, the
    shortest of a few turns each: 0.1 s on one core.

    Args:
        device: Where to measure.
        repeats: Turns of each precision, at least 1.
    """
    image = torch.randn(6, 32, 64, 64, device=device).to(memory_format=torch.channels_last)
    weight = torch.randn(32, 32, 3, 3, device=device).to(memory_format=torch.channels_last)
    shortest = dict.fromkeys((torch.bfloat16, torch.float32), float("inf"))
    for turn in range(repeats + 1):  # the first only warms up
        for dtype in shortest:
            operands = [each.to(dtype).requires_grad_() for each in (image, weight)]
            _wait_for(device)
            start = time.perf_counter()
            F.conv2d(*operands, padding=1).sum().backward()
            _wait_for(device)
            if turn:
                shortest[dtype] = min(shortest[dtype], time.perf_counter() - start)
    return shortest[torch.bfloat16] / shortest[torch.float32]


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Fp32Conv2d(nn.Conv2d):
    """A convolution in float32, whatever autocast says."""

    def forward(self, feature: Tensor) -> Tensor:
        """float32 (B, channels, H, W), from a feature of any precision."""
        with torch.autocast(feature.device.type, enabled=False):
            return super().forward(feature.float())


class Fp32Conv3d(nn.Conv3d):
    """A convolution in float32, whatever autocast says."""

    def forward(self, feature: Tensor) -> Tensor:
        """float32 (B, channels, X, Y, Z), from a feature of any precision."""
        with torch.autocast(feature.device.type, enabled=False):
            return super().forward(feature.float())


_IN_FP32: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: Fp32Conv2d, nn.Conv3d: Fp32Conv3d}


def keep_logits_in_fp32(module: nn.Module) -> None:
    """Let the last convolutions of all networks in a module compute in float32 under autocast.

    Those are the convolutions called `head`, `SOMETHING_head` or lying in `heads`, as in the
    networks of this package. Weights and their names stay.

    Args:
        module: Changed in place.
    Raises:
        ValueError: no convolution of such a name.

    >>> network = nn.ModuleDict({"body": nn.Conv2d(1, 2, 1), "head": nn.Conv2d(2, 4, 1)})
    >>> keep_logits_in_fp32(network)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     feature = network["body"](torch.zeros(1, 1, 2, 2))
    ...     feature.dtype, network["head"](feature).dtype
    (torch.bfloat16, torch.float32)
    """
    found = False
    for name, part in module.named_modules():
        *_, parent, own = ["", *name.split(".")]
        if own == "head" or own.endswith("_head") or parent == "heads":
            found |= isinstance(part, nn.Conv2d | nn.Conv3d)
            part.__class__ = _IN_FP32.get(type(part), type(part))
    if not found:
        raise ValueError(
            "precision bf16_logits_fp32 needs a network whose last convolution is called head, "
            f"found none in {type(module).__name__}"
        )


def is_wrong_in_bf16(feature: Tensor) -> bool:
    """Whether a convolution of this feature must stay in fp32: volumes of two planes, on a CPU.

    There the bf16 weight gradient of oneDNN 3.12 (torch 2.13) adds memory that nobody has written,
    NaN now and then: 3x3x3, padding 1, a first axis of 2, any number of channels.
    """
    return feature.device.type == "cpu" and feature.dim() == 5 and feature.shape[2] <= 2
