"""`python -m benchmarks`: times on this machine, as a table and, on request, as JSON."""

from __future__ import annotations

import buarl.fast.threads  # noqa: F401  before torch is loaded

# isort: split
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from benchmarks.bench import run_bench
from benchmarks.plan import Plan
from benchmarks.report import report, save_json, save_plot
from buarl.commands.interruption import code_of, terminated_as_interrupted
from buarl.commands.words import python_module, quoted_word
from buarl.fast.memory import hold_memory
from buarl.training.engine import Precision


@dataclass
class Bench:
    """Measure every part of a training step against its plain counterpart."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Precision = "auto"
    """Of ours, see train. The counterparts are fp32."""
    source: Literal["phantom", "acdc", "la"] = "phantom"
    """Where slices come from; la: scans of the 3-D step, slices of the phantom."""
    root: Path | None = None
    """Folder of the data; the phantom needs none."""
    size: int = 256
    """Pixels of a slice per axis, a multiple of 16."""
    batch: int = 12
    """Labeled slices per step, and as many unlabeled ones; even."""
    width: int = 16
    """Channels of the networks' first level."""
    patch: tuple[int, int, int] | None = None
    """Of the 3-D step; by default 112 112 80, the paper's, on a GPU and 64 64 48 on a CPU."""
    repeats: int = 7
    """Pairs of measurements per part."""
    compile: bool = False
    """Whole steps also with torch.compile; minutes of compiling."""
    json: Path | None = None
    """File for all raw times."""
    plot: Path | None = None
    """Picture of how the parts grow with image size, batch and classes."""
    quick: bool = False
    """Tiny sizes and two repeats: that everything runs, in seconds."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Measure and print the table."""
        where = {key: getattr(self, key) for key in ("device", "precision", "source", "root")}
        where["compiler"] = "inductor" if self.compile else None
        if self.quick:
            plan = Plan.quick(**where)
        else:
            sizes = {k: getattr(self, k) for k in ("size", "batch", "width", "patch", "repeats")}
            plan = Plan(**where, **sizes)
        result = run_bench(plan, say=lambda text: print(f"{text} ...", file=sys.stderr))
        if self.json is not None:
            save_json(result, self.json)
        if self.plot is not None:
            save_plot(result, self.plot)
        print(report(result))


def main(argv: list[str] | None = None) -> int:
    """Run it; a broken rule is one line on stderr and exit code 2."""
    command = tyro.cli(Bench, prog=python_module("benchmarks"), args=argv)
    hold_memory()
    if command.threads:
        torch.set_num_threads(command.threads)
    try:
        with terminated_as_interrupted():
            command.run()
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        words = sys.argv[1:] if argv is None else argv
        again = " ".join([python_module("benchmarks"), *map(quoted_word, words)])
        print(
            "benchmarks: interrupted; times are written at the end, so none were; shorter: "
            f"--quick, --repeats 3; start again with: {again}",
            file=sys.stderr,
        )
        return code_of(stop)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
