"""`python -m buarl demo | train | evaluate | predict | convert | fetch | doctor | bench`."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from buarl.config import Experiment
from buarl.engine import hold_memory
from buarl.regions import Rule, crl, drop, url, whole
from buarl_io.commands import (
    ConvertAcdc,
    ConvertFolder,
    ConvertLa,
    Doctor,
    Fetch,
    Predict,
    SourceName,
)
from buarl_lab.commands import Bench, Demo, Evaluate

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
    record: bool = False
    """GPU only: repeat steps as a CUDA graph; supervised, mean_teacher, urpc, mc_net, bcp."""
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
        from buarl.run import read_run, run_experiment

        if (self.out is None) == (self.resume is None):
            raise ValueError("train needs either --out NEWFOLDER or --resume RUN")
        folder = self.out or self.resume
        if self.resume is not None:
            run = read_run(self.resume)
            experiment = Experiment.from_dict(run["experiment"])
            root = self.root or Path(run["data"]["root"])
        else:
            experiment, root = self.experiment(), self.root
        source = open_source(experiment.source, root)
        result = run_experiment(
            experiment,
            source,
            folder,
            resume=self.resume is not None,
            pretrained=self.pretrained,
            device=self.device,
            compiler="inductor" if self.compile else None,
            record=self.record,
            progress=True,
        )
        minutes = sum(result.seconds.values()) / 60
        print(f"trained in {minutes:.1f} min; next: python -m buarl evaluate {folder} --split val")


@dataclass
class Convert:
    """Raw data into the h5 layout: the releases of ACDC and LA, or a folder of your own."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[ConvertAcdc, tyro.conf.subcommand("acdc")]
        | Annotated[ConvertLa, tyro.conf.subcommand("la")]
        | Annotated[ConvertFolder, tyro.conf.subcommand("folder")]
    ]

    def run(self) -> None:
        """Convert."""
        self.what.run()


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
)


def main(argv: list[str] | None = None) -> int:
    """Run a command; a broken rule is one line on stderr and exit code 2."""
    command = tyro.cli(Command, prog="python -m buarl", args=argv)
    hold_memory()
    if threads := getattr(command, "threads", 0):  # of every command that computes
        torch.set_num_threads(threads)
    try:
        command.run()
    except (ValueError, FileExistsError, FloatingPointError) as error:
        print(f"buarl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "buarl: interrupted; `train --resume RUN` goes on from the last checkpoint",
            file=sys.stderr,
        )
        return 130
    return 0


def _plain(text: str) -> object:
    """A number, True, False or None if it reads as one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
