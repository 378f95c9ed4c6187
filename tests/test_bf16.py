"""Where bf16 is native, whether it is faster there, and where it would be wrong."""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn import functional as F

from buarl.fast.bf16 import bf16_time, has_native_bf16, is_wrong_in_bf16

CPU = torch.device("cpu")
CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize("native", CHECKS)
def test_either_instruction_set_makes_bf16_native(monkeypatch, native):
    for name in CHECKS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == native, raising=False)
    assert has_native_bf16(CPU)
    monkeypatch.setattr(torch.cpu, native, lambda: False)
    assert not has_native_bf16(CPU)


def test_a_torch_without_the_private_names_has_none(monkeypatch):
    for name in CHECKS:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_native_bf16(CPU)
    assert not has_native_bf16(torch.device("meta"))


def test_native_need_not_be_faster(monkeypatch):
    """As on a Xeon with AVX-512 BF16 and without AMX tiles: `doctor` tells what it measured."""
    convolve, clock = F.conv2d, [0.0]

    def timed(image, *others, **named):
        clock[0] += 3.0 if image.dtype == torch.bfloat16 else 2.0
        return convolve(image, *others, **named)

    monkeypatch.setattr(F, "conv2d", timed)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert bf16_time(CPU, repeats=1) == 1.5


def test_only_volumes_of_one_or_two_planes_on_a_cpu_are_wrong():
    """tests/test_models.py shows that what stays in fp32 is right."""
    assert is_wrong_in_bf16(torch.empty(2, 16, 1, 4, 4))
    assert is_wrong_in_bf16(torch.empty(2, 16, 2, 4, 4))
    assert not is_wrong_in_bf16(torch.empty(2, 16, 3, 4, 4))
    assert not is_wrong_in_bf16(torch.empty(2, 16, 2, 4))
    assert not is_wrong_in_bf16(torch.empty(2, 16, 2, 4, 4, device="meta"))
