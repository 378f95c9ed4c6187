"""Where bf16 is native, and where it would be wrong."""

from __future__ import annotations

import pytest
import torch

from buarl.fast.bf16 import has_fast_bf16, is_wrong_in_bf16

CPU = torch.device("cpu")
CHECKS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.mark.parametrize("native", CHECKS)
def test_either_instruction_set_makes_bf16_fast(monkeypatch, native):
    for name in CHECKS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == native, raising=False)
    assert has_fast_bf16(CPU)
    monkeypatch.setattr(torch.cpu, native, lambda: False)
    assert not has_fast_bf16(CPU)


def test_a_torch_without_the_private_names_has_none(monkeypatch):
    for name in CHECKS:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_fast_bf16(CPU)
    assert not has_fast_bf16(torch.device("meta"))


def test_only_volumes_of_one_or_two_planes_on_a_cpu_are_wrong():
    """tests/test_models.py shows that what stays in fp32 is right."""
    assert is_wrong_in_bf16(torch.empty(2, 16, 1, 4, 4))
    assert is_wrong_in_bf16(torch.empty(2, 16, 2, 4, 4))
    assert not is_wrong_in_bf16(torch.empty(2, 16, 3, 4, 4))
    assert not is_wrong_in_bf16(torch.empty(2, 16, 2, 4))
    assert not is_wrong_in_bf16(torch.empty(2, 16, 2, 4, 4, device="meta"))
