"""Commands around finished runs: `buarl evaluate | demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from buarl.arguments import counted
from buarl.commands.words import Places, Run, Runs, program

if TYPE_CHECKING:
    from buarl.evaluation.score import Scored


HOW = ("empty", "unit", "keep_largest", "teacher", "send_back", "precision")
"""Options that change how a checkpoint is scored."""


@dataclass
class Evaluate:
    """Score one or more runs on whole volumes: their last checkpoint, unless asked otherwise."""

    run_folder: Run
    """A finished run."""
    more: Runs = ()
    """More runs; those that differ in their seed alone are also averaged."""
    split: Literal["val", "test"] = "val"
    """Which volumes."""
    protocol: Literal["honest", "paper"] = "honest"
    """honest: last checkpoint. paper: best on validation, of a run with `train --validate`."""
    root: Path | None = None
    """Folder of the data, if it has moved."""
    code: Places = ()
    """Code of your own that the run was trained with. A run folder alone never imports any."""
    empty: Literal["diagonal", "nan", "zero_as_published", "lineage"] = "diagonal"
    """Distances of a missed structure: image diagonal, not counted, or 0 as published (lineage)."""
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
    """auto, cpu, cuda, cuda:1, ..., mps."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the predictions: bf16 is faster where the hardware computes it, and some labels differ."""

    def __post_init__(self) -> None:
        self._done = 0  # runs

    def run(self) -> None:
        """Write metrics_<split>.csv into each run folder and print the table."""
        from buarl.evaluation.metrics import metric_definition
        from buarl.results.evaluated import table_of_runs

        self._check()
        scored: dict[str, Scored] = {}
        for folder in self._folders():
            done = self._score(folder)
            changes = done.experiment.changes
            scored[f"{folder} ({changes})" if changes else str(folder)] = done
            self._done += 1
        runs = {title: (done.experiment, done.rows) for title, done in scored.items()}
        print(table_of_runs(runs, self._ceilings(list(scored.values()))))
        print(metric_definition(None, self.empty, self.unit))
        for done in scored.values():
            print(f"{done.note}\nper case: {done.path}")

    def _check(self) -> None:
        """The protocol of the lineage has one way to score, so that its scores can be compared."""
        usual = Evaluate(self.run_folder)
        other = [name for name in HOW if getattr(self, name) != getattr(usual, name)]
        if self.protocol == "paper" and other:
            raise ValueError(f"--{other[0].replace('_', '-')} belongs to protocol honest alone")

    def _folders(self) -> list[Path]:
        """Every run folder, looked at before the first is scored for minutes."""
        from buarl.training.run import load_run

        folders = [self.run_folder, *self.more]
        places = [folder.resolve() for folder in folders]
        for folder, place in zip(folders, places, strict=True):
            if places.count(place) > 1:
                raise ValueError(f"evaluate takes every run once, got {folder} twice")
            if self.more:
                load_run(folder, self.root, self.code)
        return folders

    def _score(self, folder: Path) -> Scored:
        from buarl.evaluation.protocols import score_selected
        from buarl.evaluation.score import score_run

        where = {"split": self.split, "device": self.device, "code": self.code}
        if self.protocol == "paper":
            return score_selected(folder, self.root, **where)
        how = {name: getattr(self, name) for name in HOW}
        return score_run(folder, self.root, **where, **how, workers=self.workers)

    def _ceilings(self, scored: list[Scored]) -> dict[str, dict[str, float]]:
        """What labels score that were sent through the training size of slices, once for each."""
        from buarl.evaluation.evaluate import ceiling
        from buarl.evaluation.scores import summary

        found = {}
        places = {(done.source.name, done.source.root) for done in scored if done.source.rank == 2}
        for done in scored:
            size = "x".join(map(str, done.config.image_size))
            title = f"ceiling: label to {size} and back"
            title += f", {done.source.name} in {done.source.root}" if len(places) > 1 else ""
            if done.source.rank == 2 and title not in found:
                found[title] = summary(
                    ceiling(done.source, self.split, done.config, unit=self.unit)
                )
        return found

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        written = f"the scores of {counted(self._done, 'run')} are written" if self._done else ""
        return f"interrupted; {written or 'nothing was written'}; start again with: {again}"


@dataclass
class Demo:
    """Four short trainings on the phantom, a table and three figures."""

    figures: Path = Path("runs/demo")
    """Folder for the pictures and the table."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def run(self) -> None:
        """Train, print, draw."""
        from buarl.lessons.demo import run_demo

        print(f"{run_demo(self.figures, progress=True)}\n{next_after_demo()}")

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        return f"interrupted; the demo keeps no unfinished training; start again with: {again}"


def next_after_demo() -> str:
    """What to do after the demo: the lessons, where they are at hand, and a run of one's own."""
    lines = [f"{program()} train --help   your own run, also on real data"]
    if Path("Makefile").is_file() and Path("notebooks/00_start_here.ipynb").is_file():
        lines.insert(0, "make lab   the lessons, from notebooks/00_start_here.ipynb on")
    return "next: " + "\n      ".join(lines)
