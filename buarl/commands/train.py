"""`buarl train`: one row of an experiment, from words to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from buarl.commands.interruption import Interrupted, StopOnSignal
from buarl.commands.rules import check_given, make_rule
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
from buarl.commands.words import Pairs, Places, pairs, program, quoted
from buarl.data.source import Source, open_source, rank_of
from buarl.outside import Code, is_outside, load_code
from buarl.regions import Rule
from buarl.training.config import Experiment
from buarl.training.engine import Precision
from buarl.training.loop import CHECKPOINT, StopTraining

PERCENTILES = {"labeled": 95, "unlabeled": 99}  # the paper's, where nobody says
LABELED = {2: 3, 3: 4}  # patients by rank, where nobody says; BCP wants 4 volumes a step


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
    """Normaliser of the labeled term: a mean per region, or a weight per voxel."""
    unlabeled_rule: UnlabeledRule = "whole"
    unlabeled_rule_option: Pairs = ()
    """Arguments of the unlabeled rule, whichever it is."""
    unlabeled_percentile: float | None = None
    """q of the unlabeled rule, 99 without it."""
    unlabeled_reduction: ReductionName = "voxel"
    """Normaliser of the unlabeled term."""
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
    """Any other switch of the method, e.g. --option decoders=3 max_entropy=lnC."""
    pretrained: Path | None = None
    """bcp: take stage 1 from this run of the same labeled rule, normaliser, data and seed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..., mps."""
    validate: int = 0
    """Dice on the validation volumes every so many steps, into validation.csv; 0: never."""
    log: Literal["tensorboard"] | None = None
    """Write the curves for TensorBoard too; they are always written as CSV."""
    precision: Precision | None = None
    """auto (the default) is fp32; bf16 is faster where the hardware computes it, and not shown to
    give the same results; bf16_logits_fp32 loses less by it."""
    record: Record = False
    compile: bool = False
    """Compile the networks first: minutes once; try a few steps whether it pays on your machine."""
    memory_budget: str | None = None
    """Memory that the training samples may take, such as 2GB; the rest is streamed from disk."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def experiment(self) -> Experiment:
        """The row these options describe."""
        options = pairs(self.option, "--option")
        if self.unsupervised is not None:
            options["unsupervised"] = self.unsupervised
        if self.entropy_from is not None:
            options["entropy_from"] = self.entropy_from
        if self.url_in_stage2:
            options["url_in_stage2"] = True
        labeled = LABELED[rank_of(self.source)] if self.labeled is None else self.labeled
        labeled_rule, unlabeled_rule = self._rule("labeled"), self._rule("unlabeled")
        self._check_given()
        return Experiment(
            method=self.method,
            labeled_rule=labeled_rule,
            unlabeled_rule=unlabeled_rule,
            labeled_reduction=self.labeled_reduction,
            unlabeled_reduction=self.unlabeled_reduction,
            options=options,
            source=self.source,
            labeled=labeled or None,
            preset=self.preset,
            seed=self.seed,
            set=pairs(self.set, "--set"),
            network=self.network,
            network_options=pairs(self.network_option, "--network-option"),
        )

    def places(self) -> tuple[str, ...]:
        """Where all code from outside lies that these options name."""
        named = (self.method, self.network, self.labeled_rule, self.unlabeled_rule)
        return (*self.code, *(name for name in named if name and is_outside(name)))

    def _rule(self, term: str) -> Rule:
        percentile = getattr(self, f"{term}_percentile")
        shared = {
            "percentile": PERCENTILES[term] if percentile is None else percentile,
            "alpha": 0.5 if self.alpha is None else self.alpha,
            "scope": self.scope or "batch",
        }
        own = pairs(getattr(self, f"{term}_rule_option"), f"--{term}-rule-option")
        return make_rule(getattr(self, f"{term}_rule"), f"{term}_rule", shared, own)

    def _check_given(self) -> None:
        """Refuse arguments of rules that no rule takes: they would be typed for nothing."""
        rules = {term: getattr(self, term) for term in ("labeled_rule", "unlabeled_rule")}
        for term in rules:
            option = term.replace("rule", "percentile")
            check_given(option, getattr(self, option), "percentile", {term: rules[term]})
        check_given("alpha", self.alpha, "alpha", rules)
        check_given("scope", self.scope, "scope", rules)

    def run(self) -> None:
        """Train, with a progress bar; a signal to stop saves first and says how to go on."""
        from buarl.training.run import run_experiment

        if (self.out is None) == (self.resume is None):
            raise ValueError("train needs either --out NEWFOLDER or --resume RUN")
        if self.resume is not None and (self.set or self.network_option):
            raise ValueError("--resume reads the row from the folder; --set belongs to a new run")
        places = tuple(dict.fromkeys(self.places()))
        code: Code = [load_code(place) for place in places]
        folder = self.out or self.resume
        experiment, source, precision = self._new() if self.out else self._begun(code)
        watch = self._watch(experiment, source, code)
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
                )
            except (StopTraining, KeyboardInterrupt) as reason:
                raise Interrupted(self._way_on(reason, folder, places), stop.code) from reason
            watch.finish()
            page = page_of(folder, self.root, places)
        minutes = sum(result.seconds.values()) / 60
        words = [quoted(folder), "--split val", *(f"--code {quoted(place)}" for place in places)]
        if self.root is not None and self.resume is not None:  # the folder knows another
            words.append(f"--root {quoted(self.root)}")
        print(f"trained in {minutes:.1f} min; next: {program()} evaluate {' '.join(words)}")
        if page is not None:
            print(page)

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
        from buarl.evaluation.watch import watch_run
        from buarl.training.config import config_for

        config, folder = config_for(experiment, code), self.out or self.resume
        return watch_run(source, config, folder, validate=self.validate, log=self.log)

    def interrupted(self, again: str) -> str:
        """What to say after an interruption outside the training itself."""
        folder = self.out or self.resume
        if self.out is None or (folder / "run.json").is_file():
            return self._way_on(KeyboardInterrupt(), folder, self.places())
        return f"interrupted before anything was begun; start again with: {again}"

    def _way_on(self, reason: BaseException, folder: Path, places: Sequence[str]) -> str:
        """What to say to whoever interrupted: where it stands, and the command that goes on."""
        if not folder.is_dir():
            return "interrupted before anything was begun"
        words = [f"--resume {quoted(folder)}", *(f"--code {quoted(place)}" for place in places)]
        saved = (folder / CHECKPOINT).is_file()
        options = {
            "root": self.root,
            "pretrained": None if saved else self.pretrained,
            "device": None if self.device == "auto" else self.device,
            "validate": self.validate or None,
            "memory-budget": self.memory_budget,
            "log": self.log,
            "threads": self.threads or None,
        }
        words += [f"--{name} {quoted(value)}" for name, value in options.items() if value]
        words += [f"--{name}" for name in ("record", "compile") if getattr(self, name)]
        state = "saved after the last step" if isinstance(reason, StopTraining) else "stopped"
        return f"interrupted, {state}; go on with: {program()} train {' '.join(words)}"


def labeled_by_default(source: Source) -> int:
    """How many patients are labeled where nobody says: 3, or 4 for volumes; some stay unlabeled.

    Args:
        source: The data. Where it has few patients, half of them.
    """
    with_label = source.samples_with_label()
    patients = len({source.patient(name) for name in with_label})
    others = len(source.training_names()) > len(with_label)
    most = patients if others else patients // 2
    wanted = LABELED[source.rank]
    return wanted if wanted < patients else max(min(wanted, most), 1)
