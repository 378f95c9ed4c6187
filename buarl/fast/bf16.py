"""bf16: where it is native, and where it would be wrong.

A BCP step in bf16 takes 0.7 of the time of one in fp32 (two Zen 5 cores, 12 + 12 slices of
256x256). Its results are near those of fp32 and not the same, so it is used on request only: over
seeds it lost 0.02 of Dice on ACDC, most of which logits in fp32 gave back, see results/precision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is native here (AVX-512 BF16 or AMX on a CPU, Ampere or newer)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private names: may move
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


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
