"""What the machine offers: device, precision, memory layout. Choices, each overridable."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Engine:
    """Where and how tensors are computed; made by `choose_engine`."""

    device: torch.device
    precision: Literal["fp32", "bf16"]

    def autocast(self) -> contextlib.AbstractContextManager:
        """bf16 for convolutions; losses and entropy switch themselves back to float32."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, convolution weights channels-last (faster everywhere)."""
        ranks = {p.dim() for p in module.parameters()}
        layout = torch.channels_last_3d if 5 in ranks else torch.channels_last
        return module.to(self.device).to(memory_format=layout)

    def place_image(self, image: Tensor) -> Tensor:
        """Move an image (B, 1, *spatial) to the device in the layout of the weights."""
        layout = torch.channels_last_3d if image.dim() == 5 else torch.channels_last
        return image.to(self.device, non_blocking=True).contiguous(memory_format=layout)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is native here (AVX-512 BF16 or AMX on a CPU, Ampere or newer)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private names: may move
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def choose_engine(device: str = "auto", precision: Precision = "auto") -> Engine:
    """Pick device and precision.

    Args:
        device: "auto" (CUDA if there, else CPU) or a torch device name.
        precision: "auto" (bf16 where native, else fp32), "fp32" or "bf16".
    Raises:
        ValueError: unknown precision, or CUDA asked for where there is none.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, got {precision!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}") from error
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} asked for, but torch sees no CUDA GPU")
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(chosen) else "fp32"
    return Engine(chosen, precision)
