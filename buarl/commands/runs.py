"""Commands around finished runs: `buarl evaluate | demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from buarl.commands.words import Places


@dataclass
class Evaluate:
    """Score the last checkpoint of a run on whole volumes."""

    run_folder: Annotated[Path, tyro.conf.Positional]
    """A finished run."""
    split: Literal["val", "test"] = "val"
    """Which volumes."""
    root: Path | None = None
    """Folder of the data, if it has moved."""
    code: Places = ()
    """Code of your own that the run was trained with. A run folder alone never imports any."""
    empty: Literal["diagonal", "nan", "zero_as_published", "lineage"] = "diagonal"
    """Distances of a missed structure: image diagonal, not counted, or 0 as published results have
    it ("lineage" is the old name of that)."""
    unit: Literal["voxels", "mm"] = "voxels"
    """Of the distances; mm needs files that say their spacing."""
    keep_largest: bool = False
    """Keep only the largest component per class of each predicted volume."""
    teacher: bool = False
    """Score the teacher of the method instead of its student."""
    send_back: Literal["labels", "probs"] = "labels"
    """What comes back from training size: labels, or probabilities before the largest is taken."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""
    workers: int | None = None
    """Threads that score while the next volume is predicted; by default as many as torch's."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the predictions: bf16 is faster where the hardware computes it, and some labels differ."""

    def run(self) -> None:
        """Write metrics_<split>.csv into the run folder and print the table."""
        from buarl.evaluation.evaluate import ceiling
        from buarl.evaluation.score import score_run
        from buarl.evaluation.scores import summary
        from buarl.results.table import text_table

        done = score_run(
            self.run_folder,
            self.root,
            split=self.split,
            empty=self.empty,
            unit=self.unit,
            keep_largest=self.keep_largest,
            teacher=self.teacher,
            send_back=self.send_back,
            workers=self.workers,
            device=self.device,
            precision=self.precision,
            code=self.code,
        )
        changes = done.experiment.changes
        title = f"{self.run_folder} ({changes})" if changes else str(self.run_folder)
        scores = {title: summary(done.rows)}
        if done.source.rank == 2:
            size = "x".join(map(str, done.config.image_size))
            limit = summary(ceiling(done.source, self.split, done.config, unit=self.unit))
            scores[f"ceiling: label to {size} and back"] = limit
        print(text_table(scores))
        print(f"{done.note}\nper case: {done.path}")


@dataclass
class Demo:
    """Four short trainings on the phantom, a table and three figures."""

    figures: Path = Path("runs/demo")
    """Folder for the pictures."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Train, print, draw."""
        from buarl.lessons.demo import run_demo

        print(run_demo(self.figures, progress=True))
