"""Whole tables as work to do: which runs, in which order, what each shares, and what is left.

A plan is a file, `plan.json`, in a folder that fills with runs: `NAME/` is a run folder,
`NAME.json` its entry of the ledger, `logs/` and `failed/` say what went wrong, and `summary.md` is
the table so far. All states are read from that folder, so any process may stop and start again at
any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from buarl.data.text import read_text
from buarl.results.ledger import read_entry
from buarl.results.rows import rows_of, run_name
from buarl.training.checkpoint import write_json
from buarl.training.config import Config, Experiment, config_for
from buarl.training.identity import changed_words
from buarl.training.lock import trained_by
from buarl.training.run import first_stage, read_run

State = Literal["done", "running", "trained", "cut off", "failed", "missing"]
PLAN, FAILED, LOGS, SUMMARY, PROGRESS = (
    "plan.json",
    "failed",
    "logs",
    "summary.md",
    ".progress.json",
)


@dataclass(frozen=True)
class Plan:
    """Everything that decides what is run, as it stands in `plan.json`.

    what: Tables and groups of rows, see `rows_of`.
    preset, readings, labeled: As in `rows_of`.
    seeds: Every row is run with each.
    split: What is evaluated after training, "val" or "test".
    validate: Steps between validations; None makes ten, 0 none, and then there is no protocol
        "paper" and no leak meter.
    source: Another data set for all rows, for example "phantom"; None is the paper's.
    set: Numbers that all rows set for themselves.
    only: Rows to run, by their titles without the reading; none runs all.
    root: Folder of the data, None for a phantom.
    device, threads: Of every process.

    >>> plan = Plan(("6",), preset="toy", seeds=(0,), source="phantom")
    >>> [row.title for row in plan.rows()][:2]
    ['weigh down, voxel', 'weigh down, region']
    """

    what: tuple[str, ...]
    preset: str = "mini"
    readings: tuple[str, ...] = ("voxel", "region")
    labeled: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    split: str = "val"
    validate: int | None = None
    source: str | None = None
    set: Mapping[str, Any] | None = None
    only: tuple[str, ...] = ()
    root: str | None = None
    device: str = "auto"
    threads: int = 1

    def rows(self) -> list:
        """The rows of all that is planned.

        Raises:
            ValueError: an unknown table, reading or row.
        """
        found = []
        for what in self.what:
            own = dict(self.set or {})
            base = None
            if self.source is not None or own:
                plain = rows_of(what, preset=self.preset)[0].experiment
                base = Experiment(source=self.source or plain.source, preset=self.preset, set=own)
            found += rows_of(
                what, preset=self.preset, readings=self.readings, labeled=self.labeled, base=base
            )
        names = list(dict.fromkeys(row.name for row in found))
        if unknown := [name for name in self.only if name not in names]:
            raise ValueError(f"rows must be among {names}, got {unknown}")
        return [row for row in found if not self.only or row.name in self.only]

    def runs(self) -> dict[str, Experiment]:
        """Every run by its name; rows of several tables that are the same are one run."""
        rows = [row.experiment for row in self.rows()]
        runs = [replace(row, seed=seed) for seed in self.seeds for row in rows]
        return {run_name(run): run for run in runs}

    def as_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The plan back from JSON."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def chains(runs: Mapping[str, Experiment], root: str | None = None) -> list[list[str]]:
    """The runs in the order of work: a list for each process to take, one run after the other.

    Runs of two stages whose first stage is the same stand in one list: the first trains it, and
    the others begin from its end, which changes no bit of their weights.

    Args:
        runs: From `Plan.runs`.
        root: Folder of the data.

    >>> plan = Plan(("3",), preset="toy", seeds=(0,), source="phantom", readings=("voxel",))
    >>> [len(chain) for chain in chains(plan.runs())]  # BCP and CRL; URL and URL + CRL
    [2, 2]
    """
    found: dict[str, list[str]] = {}
    for name, row in runs.items():
        config = config_for(row)
        key = name
        if len(config.stages) > 1:
            run = {"experiment": row.as_dict(), "config": vars(config), "data": {"root": root}}
            key = json.dumps(first_stage(run), default=repr, sort_keys=True)
        found.setdefault(key, []).append(name)
    return list(found.values())


def state_of(out: Path, name: str, row: Experiment, plan: Plan) -> State:
    """How far a run is, as its folder says.

    Args:
        out: The folder of the plan.
        name: Of the run.
        row: What it must be.
        plan: What it must have been evaluated on.
    Raises:
        ValueError: a folder or an entry of this name that tells of another row.
    """
    entry, folder = out / f"{name}.json", out / name
    if entry.is_file():
        found = read_entry(entry)
        if found["experiment"] != json.loads(json.dumps(row.as_dict())):
            raise ValueError(f"{entry}: tells of another row; move it away")
        if said := changed_words(found):
            raise ValueError(f"{entry}: {said}; move it away")
        if found["split"] == plan.split and (plan.validate == 0 or "paper" in found):
            return "done"
    if folder.is_dir() and trained_by(folder) is not None:
        return "running"
    if (out / FAILED / f"{name}.log").is_file():
        return "failed"
    if not (folder / "run.json").is_file():
        return "cut off" if folder.is_dir() else "missing"
    return "trained" if read_run(folder)["finished"] else "cut off"


def states_of(out: Path, plan: Plan) -> dict[str, State]:
    """How far every run of a plan is."""
    return {name: state_of(Path(out), name, row, plan) for name, row in plan.runs().items()}


def write_plan(out: Path, plan: Plan) -> Path:
    """Keep a plan in its folder, made if absent, and return the file."""
    Path(out).mkdir(parents=True, exist_ok=True)
    path = Path(out) / PLAN
    write_json(path, plan.as_dict())
    return path


def read_plan(out: Path) -> Plan:
    """The plan of a folder.

    Raises:
        ValueError: none there, or a damaged one; the message names the file.
    """
    path = Path(out) / PLAN
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {out} is not the folder of a plan")
    try:
        return Plan.from_dict(json.loads(read_text(path)))
    except (TypeError, AttributeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, it is no plan ({error})") from error


def seconds_left(out: Path, plan: Plan, states: Mapping[str, State], jobs: int = 1) -> float | None:
    """How long the trainings that are left take, from the speed of those that are done or run.

    Args:
        out: The folder of the plan. plan: The plan. states: From `states_of`.
        jobs: How many run at once.
    Returns:
        Seconds; None while no training has said how fast it is. A stage that another run lends
        counts once. Evaluations are not counted.
    """
    runs, rates = plan.runs(), {}
    configs = {name: config_for(row) for name, row in runs.items()}
    positions = {name: _position(Path(out), name, states[name], configs[name]) for name in runs}
    for name, row in runs.items():
        for stage, (steps, seconds) in enumerate(positions[name]):
            if steps and seconds:
                rates.setdefault((row.method, stage), []).append(seconds / steps)
    if not rates:
        return None
    usual = sum(map(sum, rates.values())) / sum(map(len, rates.values()))
    total = 0.0
    for chain in chains(runs, plan.root):
        for place, name in enumerate(chain):
            for stage, steps in enumerate(configs[name].steps):
                if states[name] == "done" or (
                    place and stage == 0 and len(configs[name].steps) > 1
                ):
                    continue
                known = rates.get((runs[name].method, stage), [usual])
                rest = max(steps - positions[name][stage][0], 0)
                total += rest * sum(known) / len(known)
    return total / max(jobs, 1)


def _position(out: Path, name: str, state: State, config: Config) -> list[tuple[int, float]]:
    """Steps and seconds of every stage so far."""
    places = [(0, 0.0)] * len(config.steps)
    try:
        if state == "done":
            seconds = list(read_entry(out / f"{name}.json")["seconds"].values())
            return list(zip(config.steps, seconds, strict=True))
        said = json.loads(read_text(out / name / PROGRESS))
        for stage, (steps, seconds) in enumerate(said["stages"][: len(places)]):
            places[stage] = int(steps), float(seconds)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no word of it yet
    return places


def duration(seconds: float | None) -> str:
    """A length of time in words.

    >>> duration(0), duration(40), duration(8000), duration(None)
    ('no time', '1 min', '2 h 13 min', 'an unknown time')
    """
    if seconds is None:
        return "an unknown time"
    if seconds == 0:
        return "no time"
    minutes = max(round(seconds / 60), 1)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def shown(states: Sequence[State]) -> str:
    """How many runs are in which state.

    >>> shown(["done", "missing", "done"])
    '2 done, 1 missing'
    """
    order = ("done", "running", "trained", "cut off", "failed", "missing")
    return ", ".join(f"{list(states).count(s)} {s}" for s in order if s in states) or "nothing"
