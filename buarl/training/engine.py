"""What the machine offers: device, precision, memory layout. Choices, each overridable."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from buarl.fast.bf16 import Bf16Gradients, has_fast_bf16
from buarl.fast.dense_gradients import make_gradients_dense

Chosen = Literal["fp32", "bf16_backward", "bf16"]
Precision = Literal["auto", Chosen]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # numbers of glibc's malloc.h


@dataclass(frozen=True)
class Engine:
    """Where and how tensors are computed; made by `choose_engine`."""

    device: torch.device
    precision: Chosen
    compiler: str | None = None  # a backend of torch.compile; None runs the networks as written

    def autocast(self) -> contextlib.AbstractContextManager:
        """bf16 for convolutions; losses and entropy switch themselves back to float32."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        )

    def backward(self, loss: Tensor) -> None:
        """Fill the gradients; with "bf16_backward" convolutions go back in bf16."""
        low = self.precision == "bf16_backward"
        with Bf16Gradients(has_fast_bf16(self.device)) if low else contextlib.nullcontext():
            loss.backward()

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, convolution weights channels-last (faster everywhere)."""
        make_gradients_dense(module)
        ranks = {p.dim() for p in module.parameters()}
        layout = torch.channels_last_3d if 5 in ranks else torch.channels_last
        return module.to(self.device).to(memory_format=layout)

    def compile(self, networks: Iterable[nn.Module]) -> None:
        """Compile the forward pass of networks in place; their parameters keep their names."""
        if self.compiler is not None:
            for network in networks:
                network.compile(backend=self.compiler)

    def place_image(self, image: Tensor) -> Tensor:
        """Move an image (B, 1, *spatial) to the device in the layout of the weights."""
        layout = torch.channels_last_3d if image.dim() == 5 else torch.channels_last
        return image.to(self.device, non_blocking=True).contiguous(memory_format=layout)


def hold_memory(hold: bool = True) -> bool:
    """Let this process keep freed memory instead of handing it back after every tensor (glibc).

    Tensors over 32 MiB otherwise come fresh from the system each time, and every page of them
    costs a fault: 0.4 s of a 3.4 s training step, measured. The process stays at its peak.
    BUARL_HOLD_MEMORY=0 in the environment turns this off.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if os.environ.get("BUARL_HOLD_MEMORY") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # False: where glibc's own adjustment ends up once a large tensor has been freed.
    most_maps, map_from, trim_above = (0, 2**25, -1) if hold else (65536, 2**25, 2**26)
    numbers = {M_MMAP_MAX: most_maps, M_MMAP_THRESHOLD: map_from, M_TRIM_THRESHOLD: trim_above}
    accepted = [library.mallopt(*setting) for setting in numbers.items()]
    if not hold:
        library.malloc_trim(0)  # what is kept already
    return all(accepted)


def choose_engine(
    device: str = "auto", precision: Precision = "auto", *, compiler: str | None = None
) -> Engine:
    """Pick device and precision.

    Args:
        device: "auto" (CUDA if there, else CPU) or a torch device name.
        precision: "fp32"; "bf16_backward", which predicts in fp32 and computes the gradients of
            convolutions in bf16 (where that is not native, in fp32 between its roundings); "bf16",
            faster still and not shown to give the same results; or "auto": "bf16_backward" where
            bf16 is native, else "fp32".
        compiler: "inductor" compiles the networks at the first step of a stage. Not the default:
            two cores spend 1 to 2 minutes on it, and BCP's step got no faster to speak of: stage 1
            from 0.32 to 0.50 s, stage 2 from 1.24 to 1.19 s (AVX2, 128x128); from 0.45 to 0.59 s
            and from 1.31 to 1.56 s (Zen 4, bf16, 256x256).
    Raises:
        ValueError: unknown precision, or CUDA asked for where there is none.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, got {precision!r}")
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
        precision = "bf16_backward" if has_fast_bf16(chosen) else "fp32"
    return Engine(chosen, precision, compiler)
