"""`buarl plan`: run what is missing of whole tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from buarl.arguments import counted
from buarl.commands.console import say
from buarl.commands.interruption import Interrupted
from buarl.commands.words import Pairs, Words, pairs, quoted


@dataclass
class Plan:
    """Run what is missing of whole tables: `plan table 3 --seeds 0 1 2 --root FOLDER --out DIR`.

    What is done is skipped, what was cut off goes on, a first stage that rows share is trained
    once. The same command again does the rest.
    """

    what: Annotated[
        Words, tyro.conf.Positional, tyro.conf.arg(metavar="table N [N ...]|controls|methods")
    ]
    """Tables 1 to 6, controls, methods; several are possible, and what they share is run once."""
    out: Path = Path("runs/plan")
    """Folder that fills with runs, their entries and summary.md."""
    preset: str = "mini"
    """How far the published schedule is shortened."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Every row is run with each."""
    root: Path | None = None
    """Folder of the data; a phantom needs none."""
    readings: Words = ("voxel", "region")
    """Normalizers of rows with rules: voxel, region, voxel-region, region-voxel."""
    labeled: int | None = None
    """Only rows with so many labeled patients; in Tables 3-6 instead of 7."""
    only: Words = ()
    """Only these rows, by name, for example BCP "URL + CRL"."""
    split: Literal["val", "test"] = "val"
    """What is evaluated when the training is over; nothing opens a test case before."""
    validate: int | None = None
    """Steps between validations, which select for the protocol paper; 0: none. Without it ten."""
    source: str | None = None
    """Other data than the paper's, for example phantom."""
    set: Pairs = ()
    """Numbers that all rows set for themselves, see train --set."""
    launcher: Literal["local", "slurm"] = "local"
    """local: processes on this machine. slurm: an array of jobs (pip install 'buarl[cluster]')."""
    jobs: int = 1
    """How many at once: processes, or jobs of the array."""
    threads: int = 1
    """CPU threads of each."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    slurm: Pairs = ()
    """More for Slurm, e.g. --slurm partition=gpu gres=gpu:1 time=600 (minutes) mem=16GB."""
    dry_run: bool = False
    """Only list the runs and how far they are."""

    def run(self) -> None:
        """List, launch, and print the tables."""
        from buarl.results.plan import chains, check_kept, states_of, write_plan
        from buarl.results.work import failures, write_summary

        plan, out = self._plan(), self.out.resolve()
        runs, states = plan.runs(), states_of(out, plan)
        work = chains(runs, plan.root)
        self._check(plan)
        check_kept(out, plan)
        if self.dry_run:
            self._list(work, states, out, plan)
            return
        write_plan(out, plan)
        again = {"failed", "missing", "cut off", "trained"}
        tasks = [i for i, chain in enumerate(work) if any(states[name] in again for name in chain)]
        if self.launcher == "slurm":
            from buarl.commands.slurm import launch_slurm

            launch_slurm(out, plan, tasks, self.jobs, pairs(self.slurm, "--slurm"), print)
            return
        from buarl.commands.launch import launch_local

        whole = launch_local(out, plan, tasks, self.jobs, say)
        path = write_summary(out, plan)
        if not whole:
            raise Interrupted("interrupted, all saved; the same command goes on", 130)
        states = states_of(out, plan)
        print(path.read_text(encoding="utf-8"))
        print(f"as a file: {path}")
        if broken := failures(out, states):
            raise ValueError(f"{counted(len(broken), 'run')} failed: {'; '.join(broken)}")

    def _plan(self):
        from buarl.results.plan import Plan as Planned

        what = tuple(word for word in self.what if word not in ("table", "tables"))
        if not what:
            raise ValueError("plan needs tables 1 to 6, controls or methods, got none")
        if self.slurm and self.launcher != "slurm":
            raise ValueError("--slurm belongs to --launcher slurm")
        if self.jobs < 1 or self.threads < 1:
            raise ValueError(
                f"jobs and threads must be at least 1, got {self.jobs} and {self.threads}"
            )
        if self.validate is not None and self.validate < 0:
            raise ValueError(f"validate must be at least 0, got {self.validate}")
        if not self.seeds or len(set_of(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, got {list(self.seeds)}")
        return Planned(
            what,
            preset=self.preset,
            readings=self.readings,
            labeled=self.labeled,
            seeds=self.seeds,
            split=self.split,
            validate=self.validate,
            source=self.source,
            set=pairs(self.set, "--set"),
            only=self.only,
            root=None if self.root is None else str(self.root.resolve()),
            device=self.device,
            threads=self.threads,
        )

    def _check(self, plan) -> None:
        """Open every data set before the first process is started."""
        from buarl.data.source import open_source
        from buarl.training.engine import choose_engine

        choose_engine(plan.device)
        for name, labeled in {(row.source, row.labeled): 0 for row in plan.runs().values()}:
            source = open_source(name, plan.root)
            source.cases(plan.split)
            source.split_labeled(labeled)

    def _list(self, work, states, out: Path, plan) -> None:
        from buarl.results.progress import duration, seconds_left, shown
        from buarl.results.rows import run_name
        from buarl.results.work import failures

        titles = {
            run_name(replace(row.experiment, seed=seed)): row.title
            for row in plan.rows()
            for seed in plan.seeds
        }
        for chain in work:
            for place, name in enumerate(chain):
                shared = ", shares stage 1" if place else ""
                print(f"{states[name]:8} {name}  {titles[name]}{shared}")
        left = duration(seconds_left(out, plan, states, self.jobs))
        print(
            f"{counted(len(states), 'run')} in {counted(len(work), 'list')}: "
            f"{shown(list(states.values()))}; left: {left}"
        )
        for line in failures(out, states):
            print(f"failed: {line}")
        print(f"next: the same command without --dry-run fills {quoted(self.out)}")


def set_of(numbers: tuple[int, ...]) -> frozenset[int]:
    """The different ones among some numbers (a field here is called `set`)."""
    return frozenset(numbers)
