"""Several processes of one training, as `buarl train --devices N` starts them, forked quickly."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

HEAVY = ["torch._dynamo", "lightning.fabric", "buarl.commands.main", "pytest"]


def context() -> Any:
    """Processes of a server that has imported everything; each is there within milliseconds."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("no forkserver on this system")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(HEAVY)
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def together(work: Callable, folder: Path, *arguments: Any, parts: int = 2) -> list[Any]:
    """What `work(group, *arguments)` returns in each of several joined processes."""
    port, here = free_port(), context()
    processes = [
        here.Process(target=_joined, args=(number, parts, port, folder, work, arguments))
        for number in range(parts)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    said = [(folder / f"{number}.txt").read_text() for number in range(parts)]
    assert [process.exitcode for process in processes] == [0] * parts, "\n".join(said)
    return [torch.load(folder / f"{number}.pt", weights_only=False) for number in range(parts)]


def _joined(
    number: int, parts: int, port: int, folder: Path, work: Callable, arguments: tuple
) -> None:
    os.environ |= {
        "BUARL_LAUNCHED": "1",
        "LOCAL_RANK": str(number),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = (folder / f"{number}.txt").open("w", buffering=1)
    try:
        from buarl.training.devices import Devices

        options = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
        group = Devices(parts, device="cpu", **options.get("devices", {})).join()
        torch.save(work(group, *arguments), folder / f"{number}.pt")
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
