"""Commands around runs: `buarl train | evaluate | demo`."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from buarl.commands.files import SourceName
from buarl.regions import Rule, crl, drop, url, whole
from buarl.training.config import Experiment, config_for
from buarl.training.engine import Precision

RuleName = Literal["whole", "url", "crl", "drop"]
ReductionName = Literal["region", "voxel"]
MethodName = Literal[
    *("supervised", "mean_teacher", "ua_mt", "sassnet", "dtc", "urpc", "mc_net", "ss_net", "bcp")
]


@dataclass
class Train:
    """Train one experiment into a run folder."""

    out: Path | None = None
    """New folder for the run (not with --resume)."""
    resume: Path | None = None
    """Go on with this interrupted run; its row is read from the folder."""
    source: SourceName = "phantom"
    """Data set."""
    root: Path | None = None
    """Folder of the data; the phantom needs none."""
    method: MethodName = "bcp"
    """Training method."""
    preset: Literal["toy", "mini", "paper"] = "toy"
    """toy: a minute or two. mini: 128x128 or half-resolution volumes. paper: the full schedule."""
    labeled: int = 3
    """Labeled patients, the first of the list; 0 labels all."""
    seed: int = 1337
    """Decides weights, batches, dropout, boxes."""
    labeled_rule: RuleName = "whole"
    """Regions of the labeled term."""
    labeled_percentile: float = 95
    """q of the labeled rule."""
    labeled_reduction: ReductionName = "voxel"
    """Normaliser of the labeled term: a mean per region, or a weight per voxel."""
    unlabeled_rule: RuleName = "whole"
    """Regions of the unlabeled term."""
    unlabeled_percentile: float = 99
    """q of the unlabeled rule."""
    unlabeled_reduction: ReductionName = "voxel"
    """Normaliser of the unlabeled term."""
    alpha: float = 0.5
    """Weight of the other region, for url and crl."""
    scope: Literal["batch", "image"] = "batch"
    """Percentile over the batch or over each image."""
    unsupervised: Literal["mse", "pseudo_label"] | None = None
    """mean_teacher: its own squared error (default), or Eq. 8 on pseudo-labels."""
    entropy_from: Literal["teacher", "student"] | None = None
    """Whose entropy cuts unlabeled images (default teacher)."""
    url_in_stage2: bool = False
    """bcp: use the labeled rule in stage 2 as well."""
    option: dict[str, str] = field(default_factory=dict)
    """Any other switch of the method, e.g. --option decoders 3 max_entropy lnC."""
    pretrained: Path | None = None
    """bcp: take stage 1 from this run of the same labeled rule, normaliser, data and seed."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    validate: int = 0
    """Dice on the validation volumes every so many steps, into validation.csv; 0: never."""
    precision: Precision | None = None
    """bf16_backward: gradients of convolutions in bf16, predictions in fp32; auto (the default, for
    the toy fp32): that where the hardware computes bf16, else fp32."""
    record: bool = False
    """GPU only: repeat steps as a CUDA graph; all methods but ua_mt and ss_net."""
    compile: bool = False
    """Compile the networks first: minutes once; try a few steps whether it pays on your machine."""
    threads: int = 0
    """CPU threads, 0 leaves torch's choice."""

    def experiment(self) -> Experiment:
        """The row these options describe."""
        options: dict[str, object] = {k: _plain(v) for k, v in self.option.items()}
        if self.unsupervised is not None:
            options["unsupervised"] = self.unsupervised
        if self.entropy_from is not None:
            options["entropy_from"] = self.entropy_from
        if self.url_in_stage2:
            options["url_in_stage2"] = True
        return Experiment(
            method=self.method,
            labeled_rule=self._rule(self.labeled_rule, self.labeled_percentile),
            unlabeled_rule=self._rule(self.unlabeled_rule, self.unlabeled_percentile),
            labeled_reduction=self.labeled_reduction,
            unlabeled_reduction=self.unlabeled_reduction,
            options=options,
            source=self.source,
            labeled=self.labeled or None,
            preset=self.preset,
            seed=self.seed,
        )

    def _rule(self, name: RuleName, percentile: float) -> Rule:
        if name == "whole":
            return whole()
        if name == "drop":
            return drop(percentile, self.scope)
        return {"url": url, "crl": crl}[name](percentile, self.alpha, self.scope)

    def run(self) -> None:
        """Train, with a progress bar."""
        from buarl.data.source import open_source
        from buarl.evaluation.validation import DiceCurve
        from buarl.training.run import read_run, run_experiment

        if (self.out is None) == (self.resume is None):
            raise ValueError("train needs either --out NEWFOLDER or --resume RUN")
        folder = self.out or self.resume
        if self.resume is not None:
            run = read_run(self.resume)
            experiment = Experiment.from_dict(run["experiment"])
            root = self.root or Path(run["data"]["root"])
        else:
            experiment, root = self.experiment(), self.root
        precision = run["config"]["precision"] if self.resume is not None else self.precision
        source = open_source(experiment.source, root)
        curve = None
        if self.validate:
            path = folder / "validation.csv"
            curve = DiceCurve(source, config_for(experiment), path, every=self.validate)
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
            callback=curve,
        )
        if curve is not None:
            curve.finish()
        minutes = sum(result.seconds.values()) / 60
        print(f"trained in {minutes:.1f} min; next: python -m buarl evaluate {folder} --split val")


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
    """auto, cpu, cuda, cuda:1, ..."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the predictions: bf16 is faster where the hardware computes it, and some labels differ."""

    def run(self) -> None:
        """Write metrics_<split>.csv into the run folder and print the table."""
        from buarl.evaluation.evaluate import ceiling, summary
        from buarl.evaluation.score import score_run
        from buarl.results.table import text_table

        done = score_run(
            self.run_folder,
            self.root,
            split=self.split,
            empty=self.empty,
            unit=self.unit,
            keep_largest=self.keep_largest,
            workers=self.workers,
            device=self.device,
            precision=self.precision,
        )
        scores = {str(self.run_folder): summary(done.rows)}
        config = config_for(done.experiment)
        if done.source.rank == 2:
            size = "x".join(map(str, config.image_size))
            limit = summary(ceiling(done.source, self.split, config, unit=self.unit))
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


def _plain(text: str) -> object:
    """A number, True, False or None if it reads as one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
