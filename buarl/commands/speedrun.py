"""`buarl speedrun`: how fast a row reaches a Dice, under the rules of results/speedrun.md."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from buarl.commands.interruption import StopOnSignal, Terminated
from buarl.commands.train import Train
from buarl.commands.train_options import (
    LabeledRule,
    Method,
    PresetName,
    Record,
    ReductionName,
    Set,
    UnlabeledRule,
)
from buarl.commands.train_row import SHARED
from buarl.commands.words import Pairs, Places
from buarl.data.source import open_source
from buarl.outside import load_code
from buarl.training.engine import Precision
from buarl.training.loop import FitResult, StopTraining


@dataclass
class Speedrun:
    """Train a row with every seed of a track, and print its line for the table of records."""

    out: Path
    """Folder of the runs; the same command goes on where it was interrupted."""
    track: Literal["acdc7", "la8", "acdc_fewest", "phantom"] = "phantom"
    """Dice 0.85 with 7 patients, 8 scans, or the fewest that you can; phantom: to try it."""
    labeled: int | None = None
    """Labeled patients, on the track acdc_fewest alone."""
    root: Path | None = None
    """Folder of the data; the phantom needs none."""
    method: Method = "bcp"
    preset: PresetName = "quick"
    set: Set = ()
    option: Pairs = ()
    """Any switch of the method."""
    labeled_rule: LabeledRule = "whole"
    labeled_rule_option: Pairs = ()
    """Arguments of the labeled rule, whichever it is."""
    labeled_percentile: float | None = None
    """q of the labeled rule, 95 without it."""
    labeled_reduction: ReductionName = "voxel"
    """Normalizer of the labeled term."""
    unlabeled_rule: UnlabeledRule = "whole"
    unlabeled_rule_option: Pairs = ()
    """Arguments of the unlabeled rule, whichever it is."""
    unlabeled_percentile: float | None = None
    """q of the unlabeled rule; without it 99, on LA 95."""
    unlabeled_reduction: ReductionName = "voxel"
    """Normalizer of the unlabeled term."""
    alpha: float | None = None
    """Weight of the other region, for url and crl; 0.5 without it."""
    scope: Literal["batch", "image"] | None = None
    """Percentile over the batch (default) or over each image."""
    network: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME|PACKAGE.MODULE:NAME")] = None
    """Another network; without weights from elsewhere."""
    network_option: Pairs = ()
    """More arguments of that network."""
    code: Places = ()
    """Other code of your own that the row needs."""
    teacher: bool = False
    """Score the teacher of the method; said before the first step."""
    send_back: Literal["labels", "probs"] = "labels"
    """What comes back from training size, labels or probs; said before the first step."""
    precision: Precision | None = None
    """Of the training, see `train`."""
    record: Record = False
    seeds: int | None = None
    """Fewer seeds than a record needs, to try."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def __post_init__(self) -> None:
        self._saved = False  # by an interruption, after the step at which it came

    def run(self) -> None:
        """Train, score, print one line of Markdown; a signal to stop a training saves first."""
        from buarl.results.speedrun import COLUMNS, TRACKS, Entry, run_speedrun

        track = TRACKS[self.track]
        words = {name: getattr(self, name) for name in (*SHARED, "code")}
        if (self.labeled is None) != (track.labeled is not None):
            has = f"has {track.labeled}" if track.labeled else "must be given them"
            raise ValueError(f"labeled: track {self.track} {has}, got {self.labeled}")
        asked = Train(source=track.source, labeled=track.labeled or self.labeled, **words)
        code = [load_code(place) for place in dict.fromkeys(asked.places())]
        line = run_speedrun(
            self.track,
            Entry(asked.experiment(), self.teacher, self.send_back, self.precision),
            open_source(track.source, self.root),
            self.out,
            seeds=self.seeds,
            device=self.device,
            record=self.record,
            progress=True,
            code=code,
            train=self._train,
        )
        print(f"| {' | '.join(line[column] for column in COLUMNS)} |")

    def _train(self, *row: Any, **how: Any) -> FitResult:
        """`run_experiment`, which a signal ends after a step; elsewhere one ends us at once."""
        from buarl.training.run import run_experiment

        with StopOnSignal() as stop:
            try:
                result = run_experiment(*row, callback=stop, **how)
                if stop.asked:  # after the last step, while the run was written
                    raise StopTraining
                return result
            except (StopTraining, KeyboardInterrupt) as reason:
                self._saved = isinstance(reason, StopTraining)
                terminated = stop.asked == signal.SIGTERM
                raise (Terminated if terminated else KeyboardInterrupt) from reason

    def interrupted(self, again: str) -> str:
        """What to say after an interruption."""
        if not self.out.is_dir():
            return f"interrupted before anything was begun; start again with: {again}"
        state = "saved after the last step" if self._saved else "stopped"
        return f"interrupted, {state}; go on with: {again}"
