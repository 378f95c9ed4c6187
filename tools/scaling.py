"""What a step costs in one process and in each of two: the figures of docs/scaling.md.

    python tools/scaling.py > scaling.json         (python tools/scaling.py 2 3: those cases alone)

Processor time, which other programs on the machine hardly change, wall time, memory, and what the
processes exchange, counted call by call. One thread a process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import socket
import sys
import time
from contextlib import suppress

import torch

import buarl
from buarl.methods.recipe import StagePlan
from buarl.training import devices
from buarl.training.config import Config
from buarl.training.group import ALONE
from buarl.training.loop import StopTraining, fit

WARM, MEASURED = 2, 4
CASES = [  # method, source, image size, labeled = unlabeled batch
    ("mean_teacher", "phantom", (64, 64), 12),
    ("mean_teacher", "phantom", (128, 128), 12),
    ("bcp", "phantom", (64, 64), 12),
    ("mean_teacher", "phantom_la", (48, 48, 32), 2),
    ("bcp", "phantom_la", (48, 48, 32), 4),
]


class Counted:
    """`torch.distributed.all_reduce`, and how many calls and bytes went through it."""

    def __init__(self) -> None:
        self.calls, self.bytes, self.plain = 0, 0, torch.distributed.all_reduce
        torch.distributed.all_reduce = self

    def __call__(self, tensor: torch.Tensor, *arguments: object, **options: object) -> object:
        self.calls += 1
        self.bytes += tensor.numel() * tensor.element_size()
        return self.plain(tensor, *arguments, **options)


class Watch:
    """A callback that takes the times of the measured steps."""

    def __init__(self, counted: Counted | None) -> None:
        self.counted, self.at = counted, []

    def __call__(self, stage: str, step: object, method: object) -> None:
        if stage == "pretrain":
            return
        calls = (self.counted.calls, self.counted.bytes) if self.counted else (0, 0)
        self.at.append((time.process_time(), time.perf_counter(), *calls))
        if len(self.at) == WARM + MEASURED:
            raise StopTraining


def measured(case: tuple, group: object, batch_norm: str) -> dict:
    name, source_name, size, batch = case
    source = buarl.open_source(source_name)
    row = buarl.Experiment(name, source=source_name, labeled=6)
    rules = {"labeled_rule": buarl.url(95), "unlabeled_rule": buarl.crl(99)}
    if name == "mean_teacher":
        rules["unsupervised"] = "pseudo_label"
    rank = len(size)
    network = buarl.networks.UNet(4) if rank == 2 else buarl.networks.VNet(2)
    settings = buarl.METHODS[name].recipe(rank).settings
    torch.manual_seed(0)
    method = buarl.METHODS[name](network, **{**settings, **rules})
    plans = (StagePlan(1000, batch, batch),)
    if name == "bcp":
        plans = (StagePlan(1, batch, 0), *plans)
    config = Config("-", size, plans, labeled=row.labeled, checkpoint_every=10**6)
    counted = None if group is ALONE else Counted()
    watch = Watch(counted)
    with suppress(StopTraining):
        fit(method, source, config, callback=watch, device="cpu", group=group)
    if counted is not None:
        torch.distributed.all_reduce = counted.plain
    first, last = watch.at[WARM - 1], watch.at[-1]
    each = [(b - a) / MEASURED for a, b in zip(first, last, strict=True)]
    weights = sum(p.numel() for p in method.student.parameters())
    return {
        "processor_s": each[0],
        "wall_s": each[1],
        "exchanges": each[2],
        "exchanged_bytes": each[3],
        "gradient_bytes": 4 * weights if counted else 0,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "batch_norm": batch_norm,
    }


def work(number: int, parts: int, port: int, case: tuple, batch_norm: str, results: object) -> None:
    os.environ |= {
        "LOCAL_RANK": str(number),
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        devices.LAUNCHED: "1",
    }
    torch.set_num_threads(1)
    group = ALONE
    if parts > 1:
        group = devices.Devices(parts, device="cpu", batch_norm=batch_norm).join()
    found = measured(case, group, batch_norm)
    if number == 0:
        results.put(found)


def main() -> None:
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    context = multiprocessing.get_context("spawn")
    for case in [CASES[int(word)] for word in sys.argv[1:]] or CASES:
        for parts, batch_norm in ((1, "synchronized"), (2, "synchronized"), (2, "per_device")):
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                port = listener.getsockname()[1]
            results = context.Queue()
            processes = [
                context.Process(target=work, args=(n, parts, port, case, batch_norm, results))
                for n in range(parts)
            ]
            for process in processes:
                process.start()
            line = {"case": case, "processes": parts, **results.get(timeout=900)}
            for process in processes:
                process.join()
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
