"""Whole tables as work to do: which runs, in which order, what each shares, and what is left.

A plan is a file, `plan.json`, in a folder that fills with runs: `NAME/` is a run folder,
`NAME.json` its entry of the ledger, `logs/` and `failed/` say what went wrong, and `summary.md` is
the table so far. All states are read from that folder, so any process may stop and start again at
any time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from buarl.data.text import read_text
from buarl.results.ledger import read_entry
from buarl.results.rows import rows_of, run_name
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment, config_for
from buarl.training.identity import changed_words
from buarl.training.lock import trained_by
from buarl.training.run import first_stage, read_run

State = Literal["done", "running", "trained", "cut off", "failed", "missing"]
PLAN, FAILED, LOGS, SUMMARY, PROGRESS = (
    *("plan.json", "failed", "logs", "summary.md", ".progress.json"),
)


KINDS = {
    **dict.fromkeys(("what", "readings", "seeds", "only"), list),
    **dict.fromkeys(("preset", "split", "device"), str),
    **dict.fromkeys(("labeled", "validate"), int | None),
    **dict.fromkeys(("source", "root"), str | None),
    **{"set": dict | None, "threads": int},
}
"""What `plan.json` holds."""


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
            found += rows_of(
                what,
                preset=self.preset,
                readings=self.readings,
                labeled=self.labeled,
                base=self.base(what),
            )
        names = list(dict.fromkeys(row.name for row in found))
        if unknown := [name for name in self.only if name not in names]:
            raise ValueError(f"rows must be among {names}, got {unknown}")
        return [row for row in found if not self.only or row.name in self.only]

    def base(self, what: str) -> Experiment | None:
        """Data and numbers of the plan's own that all rows of a table take over; None without."""
        own = dict(self.set or {})
        if self.source is None and not own:
            return None
        plain = rows_of(what, preset=self.preset)[0].experiment
        return Experiment(source=self.source or plain.source, preset=self.preset, set=own)

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
        """The plan back from JSON.

        Raises:
            TypeError: a key or a value that no plan has.
        """
        for key, value in data.items():
            if key in KINDS and not isinstance(value, KINDS[key]):
                raise TypeError(f"{key} is {value!r:.60}")
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
        try:
            found = read_entry(entry)
        except ValueError as error:
            raise ValueError(f"{error}; move it away, and the run is trained again") from error
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
    try:
        return "trained" if read_run(folder)["finished"] else "cut off"
    except ValueError:
        if (folder / "run.json").is_file():
            raise
        return "missing"  # another process has just removed a folder that held nothing


def states_of(out: Path, plan: Plan) -> dict[str, State]:
    """How far every run of a plan is."""
    return {name: state_of(Path(out), name, row, plan) for name, row in plan.runs().items()}


def check_kept(out: Path, plan: Plan) -> None:
    """Refuse a folder that fills with runs of other numbers, data or splits.

    Args:
        out: The folder of the plan.
        plan: What is to be run there. Other tables, rows, readings, seeds and labels are welcome.
    Raises:
        ValueError: what the kept plan has otherwise.
    """
    if not (Path(out) / PLAN).is_file():
        return
    kept = read_plan(out)
    for key in ("preset", "source", "set", "split"):
        then, now = getattr(kept, key) or None, getattr(plan, key) or None
        if then != now:
            raise ValueError(
                f"{out}: is filled by a plan with {key} {then}, now it is {now}; take another --out"
            )
    if (kept.validate == 0) != (plan.validate == 0):
        then, now = ("without" if each.validate == 0 else "with" for each in (kept, plan))
        raise ValueError(
            f"{out}: is filled by a plan {then} validations, now it is {now}; take another --out"
        )


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
