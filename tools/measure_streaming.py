"""How fast and how small is streaming from disk? A phantom set eight times its memory budget.

    python tools/measure_streaming.py            # both ranks; some minutes on two cores

Prints wall and processor time of a batch and of a training step, medians of pairs taken in turn, in
memory and streamed, and what the samples add to the resident memory of a fresh process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from buarl.data.batches import Batches
from buarl.data.phantom.atrium import Phantom3dSpec
from buarl.data.phantom.heart import PhantomSpec
from buarl.data.phantom.on_disk import ACDC_LAYOUT, LA_LAYOUT, Layout, phantom_root
from buarl.data.source import open_source
from buarl.methods import METHODS
from buarl.networks import UNet, VNet


class Set(NamedTuple):
    name: str
    spec: PhantomSpec | Phantom3dSpec
    layout: Layout
    size: tuple[int, ...]
    batch: int  # labeled, and as many unlabeled


SLICES = PhantomSpec(train_patients=60, val_patients=1, test_patients=1)
SCANS = Phantom3dSpec(train_scans=64, test_scans=1)
SETS = {
    2: Set("phantom", SLICES, ACDC_LAYOUT, (128, 128), 12),
    3: Set("phantom_la", SCANS, LA_LAYOUT, (48, 48, 32), 2),
}
SEED = (1, 0)
WIDTH = 8  # a small network, whose steps show more of the batches than a large one's


def batches_of(rank: int, cache: Path, budget: int | None) -> Batches:
    made = SETS[rank]
    source = open_source(made.name, phantom_root(made.spec, cache, made.layout))
    source.memory_budget = budget
    return Batches(source, 4, made.size)


def bytes_of(batches: Batches) -> int:
    samples = [*batches.labeled, *batches.unlabeled]
    return sum(s.image.nbytes + (0 if s.label is None else s.label.nbytes) for s in samples)


def step_of(rank: int) -> Callable[[Batches, int], None]:
    network = UNet(4, WIDTH) if rank == 2 else VNet(2, WIDTH)
    method = METHODS["mean_teacher"](network, unsupervised="pseudo_label").train()
    optimizer = torch.optim.SGD(method.student.parameters(), lr=0.01)

    def step(batches: Batches, index: int) -> None:
        torch.manual_seed(index)
        batch = batches.batch(SEED, index, *[SETS[rank].batch] * 2)
        optimizer.zero_grad()
        method.training_step(batch, method.at(90, 100)).loss.backward()
        optimizer.step()

    return step


def spent(work: Callable[[Batches, int], object], *given: object) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work(*given)
    return time.perf_counter() - wall, time.process_time() - processor


def compare(what: str, pairs: int, work: Callable, whole: Batches, streamed: Batches) -> None:
    found = []
    for k in range(pairs):
        first, second = (whole, streamed) if k % 2 else (streamed, whole)
        times = {id(b): spent(work, b, k) for b in (first, second)}
        found.append((times[id(whole)], times[id(streamed)]))
    for place, kind in enumerate(("wall", "processor")):
        memory = 1000 * median(a[place] for a, _ in found)
        disk = 1000 * median(b[place] for _, b in found)
        ratio = median(b[place] / a[place] for a, b in found)
        print(
            f"  {what}, {kind}: {memory:.1f} ms, streamed {disk:.1f} ms, {ratio:.2f} x", flush=True
        )


def measure(rank: int, cache: Path, pairs: int) -> None:
    count = SETS[rank].batch
    whole = batches_of(rank, cache, None)
    total = bytes_of(whole)
    streamed = batches_of(rank, cache, total // 8)
    both = [[b.batch(SEED, k, count, count) for k in range(30)] for b in (whole, streamed)]
    same = all(
        torch.equal(a, b) for x, y in zip(*both, strict=True) for a, b in zip(x, y, strict=True)
    )
    print(f"rank {rank}: {total / 1e6:.0f} MB, budget {total / 8e6:.1f} MB; same bits: {same}")
    compare("batch", 10 * pairs, lambda b, k: b.batch(SEED, k, count, count), whole, streamed)
    compare("step", pairs, step_of(rank), whole, streamed)
    for what, budget in (("all in memory", 0), ("streamed", total // 8)):
        words = [sys.executable, __file__, "--grow", str(rank), str(cache), str(budget)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        print(f"  resident memory, {what}: {int(done.stdout) / 1e6:.0f} MB more", flush=True)


def grow(rank: int, cache: Path, budget: int) -> int:
    """Bytes that reading all samples and 20 batches add, after a first round of everything."""
    count = SETS[rank].batch
    batches_of(rank, cache, 1).batch(SEED, 0, count, count)
    before = resident()
    batches = batches_of(rank, cache, budget or None)
    for step in range(20):
        batches.batch(SEED, step, count, count)
    return resident() - before


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--grow", nargs=3, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.grow:
        print(grow(int(given.grow[0]), Path(given.grow[1]), int(given.grow[2])))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BUARL_CACHE"] = folder
        for rank in SETS:
            measure(rank, Path(folder), given.pairs)


if __name__ == "__main__":
    main()
