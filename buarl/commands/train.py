"""`buarl train`: one row of an experiment, from words to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from buarl.arguments import counted
from buarl.commands.console import say
from buarl.commands.interruption import Interrupted, StopOnSignal
from buarl.commands.show import page_of
from buarl.commands.train_options import (
    LabeledRule,
    Method,
    PresetName,
    Record,
    ReductionName,
    Set,
    SourceName,
    UnlabeledRule,
)
from buarl.commands.train_row import given_row, labeled_by_default, row_of
from buarl.commands.way_on import after_interruption
from buarl.commands.words import Pairs, Places, program, quoted
from buarl.data.errors import DataError
from buarl.data.source import Source, open_source
from buarl.outside import Code, is_outside, load_code
from buarl.training.config import Experiment
from buarl.training.devices import BatchNorm, Devices, started
from buarl.training.engine import Precision
from buarl.training.loop import StopTraining


@dataclass
class Train:
    """Train one experiment into a run folder."""

    out: Path | None = None
    """New folder for the run (not with --resume)."""
    resume: Path | None = None
    """Go on with this interrupted run; its row is read from the folder."""
    source: SourceName = "phantom"
    root: Path | None = None
    """Folder of the data; the phantom needs none."""
    method: Method = "bcp"
    preset: PresetName = "toy"
    set: Set = ()
    network: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME|PACKAGE.MODULE:NAME")] = None
    """Another network than U-Net or V-Net: image (B, 1, *spatial) -> logits (B, C, *spatial)."""
    network_option: Pairs = ()
    """More arguments of that network."""
    code: Places = ()
    """Other code of your own that this run needs. A run folder alone never imports any."""
    labeled: int | None = None
    """Labeled patients, the first of the list; 0 labels all. Without it 3, or 4 for volumes."""
    seed: int = 1337
    """Decides weights, batches, dropout, boxes."""
    labeled_rule: LabeledRule = "whole"
    labeled_rule_option: Pairs = ()
    """Arguments of the labeled rule, whichever it is."""
    labeled_percentile: float | None = None
    """q of the labeled rule, 95 without it."""
    labeled_reduction: ReductionName = "voxel"
    """Normalizer of the labeled term: a mean per region, or a weight per voxel."""
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
    unsupervised: Literal["mse", "pseudo_label"] | None = None
    """mean_teacher: its own squared error (default), or Eq. 8 on pseudo-labels."""
    entropy_from: Literal["teacher", "student"] | None = None
    """Whose entropy cuts unlabeled images (default teacher)."""
    url_in_stage2: bool = False
    """bcp: use the labeled rule in stage 2 as well."""
    option: Pairs = ()
    """Any other switch of the method: strong_views=moderate of all, decoders=3 of mc_net, ..."""
    pretrained: Path | None = None
    """bcp: take stage 1 from this run of the same labeled rule, normalizer, data and seed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..., mps."""
    validate: int = 0
    """Dice of the validation volumes every so many steps, for curves and `leak`; 0: never."""
    log: Literal["tensorboard"] | None = None
    """Write the curves for TensorBoard too; they are always written as CSV."""
    precision: Precision | None = None
    """auto is fp32; bf16 may be faster and loses Dice, bf16_logits_fp32 less of it; see doctor."""
    record: Record = False
    compile: bool = False
    """Compile the networks first: minutes once; try a few steps whether it pays on your machine."""
    memory_budget: str | None = None
    """Memory for training samples, per process, such as 2GB; the rest is streamed from disk."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice; of every process where --devices makes several."""
    devices: int = 1
    """GPUs, or processes, of each machine that divide every batch; the result is that of one."""
    nodes: int = 1
    """Machines that share the run; see docs/scaling.md for what to type on each."""
    batch_norm: BatchNorm = "synchronized"
    """Of several devices: statistics of the whole batch, as one has them, or of each one's part."""

    def experiment(self) -> Experiment:
        """The row these options describe."""
        return row_of(self)

    def places(self) -> tuple[str, ...]:
        """Where all code from outside lies that these options name."""
        named = (self.method, self.network, self.labeled_rule, self.unlabeled_rule)
        return (*self.code, *(name for name in named if name and is_outside(name)))

    def run(self) -> None:
        """Train, with a progress bar; a signal to stop saves first and says how to go on."""
        from buarl.training.run import run_experiment

        self._check()
        places = tuple(dict.fromkeys(self.places()))
        code: Code = [load_code(place) for place in places]
        folder = self.out or self.resume
        devices = Devices(self.devices, self.nodes, self.device, self.batch_norm)
        first = devices.join().first
        experiment, source, precision = self._new() if self.out else self._begun(code)
        watch = self._watch(experiment, source, code) if first else None
        page = None
        with StopOnSignal(watch) as stop:
            try:
                result = run_experiment(
                    experiment,
                    source,
                    folder,
                    resume=self.resume is not None,
                    pretrained=self.pretrained,
                    device=self.device,
                    precision=precision,
                    compiler="inductor" if self.compile else None,
                    record=self.record,
                    progress=True,
                    callback=stop,
                    code=code,
                    devices=devices,
                )
            except (StopTraining, KeyboardInterrupt) as reason:
                raise Interrupted(after_interruption(self, reason, folder), stop.code) from reason
            if watch is not None:
                watch.finish()
                page = page_of(folder, self.root, places)
        if first:
            minutes = sum(result.seconds.values()) / 60
            print(f"trained in {minutes:.1f} min; {self._next(folder, source, places)}")
            if page is not None:
                print(page)

    def _check(self) -> None:
        if (self.out is None) == (self.resume is None):
            raise ValueError("train needs either --out NEWFOLDER or --resume RUN")
        if self.resume is not None and (given := given_row(self)):
            raise ValueError(
                f"--resume reads the row from the folder; --{given[0]} belongs to a new run"
            )
        if self.validate < 0:
            raise ValueError(f"validate must be at least 0, got {self.validate}")

    def _next(self, folder: Path, source: Source, places: Sequence[str]) -> str:
        """The command that scores the run, or one that predicts where no volume is kept for it."""
        code = [f"--code {quoted(place)}" for place in places]
        if not _has_volumes(source):
            words = ["predict", quoted(folder), "IMAGES", "OUT", *code]
            return f"no volume is kept to score; masks of new images: {program()} {' '.join(words)}"
        words = ["evaluate", quoted(folder), "--split val", *code]
        if self.root is not None and self.resume is not None:  # the folder knows another
            words.append(f"--root {quoted(self.root)}")
        return f"next: {program()} {' '.join(words)}"

    def processes(self) -> int:
        """How many processes have to be started here for this command, 0 where it runs itself."""
        needed = Devices(self.devices, self.nodes, self.device, self.batch_norm).count > 1
        return self.devices if needed and not started() else 0

    def _new(self) -> tuple[Experiment, Source, Precision | None]:
        source, experiment = self._opened(self.source, self.root), self.experiment()
        if self.labeled is None and (count := labeled_by_default(source)) != experiment.labeled:
            print(f"labeled: the first {count} of the few patients there are (--labeled N)")
            experiment = replace(experiment, labeled=count)
        return experiment, source, self.precision

    def _begun(self, code: Code) -> tuple[Experiment, Source, Precision]:
        from buarl.training.older_runs import without_removed_precision
        from buarl.training.run import read_run, row_of_run

        begun, experiment = read_run(self.resume), row_of_run(self.resume, code)
        root = self.root
        if root is None and not experiment.source.startswith("phantom"):  # made anew, as needed
            root = Path(begun["data"]["root"])
        precision = self.precision or begun["config"]["precision"]
        if precision not in get_args(Precision):
            without_removed_precision(self.resume, begun, precision)  # says how to go on
        return experiment, self._opened(experiment.source, root), precision

    def _opened(self, name: str, root: Path | None) -> Source:
        source = open_source(name, root)
        source.memory_budget = self.memory_budget
        return source

    def _watch(self, experiment: Experiment, source: Source, code: Code) -> Any:
        from buarl.evaluation.protocols import interval_of
        from buarl.evaluation.watch import watch_run
        from buarl.training.config import config_for

        config, folder = config_for(experiment, code), self.out or self.resume
        validate = self.validate
        if self.resume and not validate and (before := interval_of(folder)):
            say(f"validates every {counted(before, 'step')}, as before; --validate takes another")
            validate = before
        return watch_run(source, config, folder, validate=validate, log=self.log)

    def interrupted(self, again: str) -> str:
        """What to say after an interruption outside the training itself."""
        folder = self.out or self.resume
        if self.out is None or (folder / "run.json").is_file():
            return after_interruption(self, KeyboardInterrupt(), folder)
        return f"interrupted before anything was begun; start again with: {again}"


def _has_volumes(source: Source) -> bool:
    """Whether a data set keeps volumes for validation, so that a run can be scored."""
    try:
        return bool(source.listed("val"))  # whose file is missing, evaluate says
    except DataError:
        return False
