"""What a measurement needs of the machine: waiting for it, its peak, memory and arithmetic."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from buarl.fast.memory import hold_memory
from buarl.training.engine import Engine

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(compute: Callable, device: torch.device) -> float:
    """Wall time of one call."""
    synchronize(device)
    started = time.perf_counter()
    compute()
    synchronize(device)
    return time.perf_counter() - started


@contextlib.contextmanager
def memory_given_back() -> Iterator[None]:
    """Memory as a program leaves it that has never heard of `hold_memory`."""
    hold_memory(False)
    try:
        yield
    finally:
        hold_memory()


def product_gflops(engine: Engine) -> float:
    """The best of ten matrix products, in bf16 unless all is fp32: what convolutions can reach."""
    size = 1024 if engine.device.type == "cpu" else 8192
    dtype = torch.float32 if engine.precision == "fp32" else torch.bfloat16
    a, b = (torch.randn(size, size, device=engine.device).to(dtype) for _ in range(2))
    best = min(seconds(lambda: a @ b, engine.device) for _ in range(10))
    return 2 * size**3 / best / 1e9


def count_flops(compute: Callable) -> float:
    """Billions of floating-point operations of one call, convolutions and products only."""
    with FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops() / 1e9


def peak_memory(compute: Callable, device: torch.device) -> float | None:
    """MiB that one call takes at its peak on top of what is there; None where nobody counts it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        compute()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    try:
        ctypes.CDLL(None).malloc_trim(0)  # else memory kept from earlier calls hides the need
        CLEAR.write_text("5")  # Linux: the peak starts anew
        before = _status_mib("VmRSS")
    except (OSError, AttributeError):
        return None
    compute()
    return _status_mib("VmHWM") - before


def _status_mib(key: str) -> float:
    line = next(text for text in STATUS.read_text().splitlines() if text.startswith(key))
    return int(line.split()[1]) / 1024
