"""Commands that need more than the library: `python -m buarl bench | demo | evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Bench:
    """Measure every part of a training step against its plain counterpart."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of ours; auto is bf16 where the hardware computes it. The counterparts are fp32."""
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
        import sys

        from buarl_lab.bench import Plan, run_bench
        from buarl_lab.bench_report import report, save_json, save_plot

        where = {key: getattr(self, key) for key in ("device", "precision", "source", "root")}
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


@dataclass
class Demo:
    """Four short trainings on the phantom, a table and three figures."""

    figures: Path = Path("figures")
    """Folder for the pictures."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Train, print, draw."""
        from buarl_lab.demo import run_demo

        print(run_demo(self.figures, progress=True))


@dataclass
class Evaluate:
    """Score the last checkpoint of a run on whole volumes."""

    run_folder: Annotated[Path, tyro.conf.Positional]
    """A finished run."""
    split: Literal["val", "test"] = "val"
    """Which volumes."""
    root: Path | None = None
    """Folder of the data, if it has moved."""
    empty: Literal["diagonal", "nan", "lineage"] = "diagonal"
    """Distances of a missed structure: image diagonal, not counted, or 0 as in printed tables."""
    unit: Literal["voxels", "mm"] = "voxels"
    """Of the distances; mm needs files that say their spacing."""
    keep_largest: bool = False
    """Keep only the largest component per class of each predicted volume."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""
    workers: int | None = None
    """Threads that score while the next volume is predicted; by default as many as torch's."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ...; predictions are made in float32."""

    def run(self) -> None:
        """Write metrics_<split>.csv into the run folder and print the table."""
        from buarl.config import config_for
        from buarl.evaluate import ceiling, summary
        from buarl.score import score_run
        from buarl_lab.table import text_table

        done = score_run(
            self.run_folder,
            self.root,
            split=self.split,
            empty=self.empty,
            unit=self.unit,
            keep_largest=self.keep_largest,
            workers=self.workers,
            device=self.device,
        )
        scores = {str(self.run_folder): summary(done.rows)}
        config = config_for(done.experiment)
        if done.source.rank == 2:
            size = "x".join(map(str, config.image_size))
            limit = summary(ceiling(done.source, self.split, config, unit=self.unit))
            scores[f"ceiling: label to {size} and back"] = limit
        print(text_table(scores))
        print(f"{done.note}\nper case: {done.path}")
