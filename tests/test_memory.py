"""Memory stays with the process, and nothing else changes."""

from __future__ import annotations

import platform

import pytest
import torch
from tiny import same_weights, tiny_config, tiny_method, write_tiny

from buarl.data.acdc import Acdc
from buarl.fast.memory import hold_memory
from buarl.training.loop import fit

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")


@glibc
def test_held_memory_is_not_faulted_in_again():
    import resource  # not on Windows

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(10_000_000)  # over 32 MiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert hold_memory()
    faults()  # the heap grows
    held = faults()
    assert hold_memory(False)
    given_back = faults()
    hold_memory()
    assert held < given_back / 3


def test_memory_is_left_alone_on_request(monkeypatch):
    monkeypatch.setenv("BUARL_HOLD_MEMORY", "0")
    assert not hold_memory()


@glibc
def test_a_training_is_the_same_with_and_without(tmp_path, monkeypatch):
    source, trained = Acdc(write_tiny(tmp_path)), []
    for held in ("1", "0"):
        hold_memory(False)
        monkeypatch.setenv("BUARL_HOLD_MEMORY", held)
        trained.append(tiny_method("bcp"))
        fit(trained[-1], source, tiny_config("bcp"))
        monkeypatch.undo()
    hold_memory()
    assert same_weights(*trained)
