"""What the machine offers: device, precision, memory layout. Choices, each overridable."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from buarl.fast.bf16 import keep_logits_in_fp32
from buarl.fast.dense_gradients import make_gradients_dense

Chosen = Literal["fp32", "bf16", "bf16_logits_fp32"]
Precision = Literal["auto", Chosen]
DEVICES = "device must be auto, cpu, cuda, cuda:N or mps"


@dataclass(frozen=True)
class Engine:
    """Where and how tensors are computed; made by `choose_engine`."""

    device: torch.device
    precision: Chosen
    compiler: str | None = None  # a backend of torch.compile; None runs the networks as written

    def autocast(self) -> contextlib.AbstractContextManager:
        """bf16 for convolutions; losses and entropy switch themselves back to float32."""
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision != "fp32"
        )

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, convolution weights channels-last where that is faster."""
        make_gradients_dense(module)
        if self.precision == "bf16_logits_fp32":
            keep_logits_in_fp32(module)
        ranks = {p.dim() for p in module.parameters()}
        return module.to(self.device).to(memory_format=self._layout(5 in ranks))

    def _layout(self, volumes: bool) -> torch.memory_format:
        if self.device.type == "mps":  # nobody has tried another there
            return torch.contiguous_format
        return torch.channels_last_3d if volumes else torch.channels_last

    def compile(self, networks: Iterable[nn.Module]) -> None:
        """Compile the forward pass of networks in place; their parameters keep their names."""
        if self.compiler is not None:
            for network in networks:
                network.compile(backend=self.compiler)

    def place_image(self, image: Tensor) -> Tensor:
        """Move an image (B, 1, *spatial) to the device in the layout of the weights."""
        layout = self._layout(image.dim() == 5)
        return image.to(self.device, non_blocking=True).contiguous(memory_format=layout)


def choose_engine(
    device: str = "auto", precision: Precision = "auto", *, compiler: str | None = None
) -> Engine:
    """Pick device and precision.

    Args:
        device: "auto" (CUDA if there, else CPU), or "cpu", "cuda", "cuda:N" or "mps", an Apple GPU.
        precision: "fp32"; "bf16", which rounds the networks' forward and backward pass, is faster
            where the hardware computes bf16, and is not shown to give the same results;
            "bf16_logits_fp32", the same with the last convolution in fp32, which loses less (see
            results/precision); or "auto", which is "fp32" on every machine.
        compiler: "inductor" compiles the networks at the first step of a stage. Not the default:
            two cores spend 1 to 2 minutes on it, and BCP's step got no faster to speak of: stage 1
            from 0.32 to 0.50 s, stage 2 from 1.24 to 1.19 s (AVX2, 128x128); from 0.45 to 0.59 s
            and from 1.31 to 1.56 s (Zen 4, bf16, 256x256).
    Raises:
        ValueError: unknown precision, or a GPU asked for where there is none.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, got {precision!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{DEVICES}, got {device!r}") from error
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"{DEVICES}, got {device!r}")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} asked for, but torch sees no CUDA GPU")
    if chosen.type == "cuda" and chosen.index is not None:
        if chosen.index >= (count := torch.cuda.device_count()):
            raise ValueError(f"device {device!r} asked for, but torch sees {count} CUDA GPUs")
        torch.cuda.set_device(chosen)  # graphs, names and peaks are those of the current one
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r} asked for, but torch sees no Apple GPU")
    return Engine(chosen, "fp32" if precision == "auto" else precision, compiler)
