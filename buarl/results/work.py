"""The work of a plan: train a run or go on with it, evaluate it under both protocols, enter it."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from buarl.data.source import Source, open_source
from buarl.evaluation.protocols import BEST, score_selected
from buarl.evaluation.score import score_run
from buarl.evaluation.watch import watch_run
from buarl.methods.base import Method, Step
from buarl.results.ledger import add_to_ledger
from buarl.results.measured import read_results
from buarl.results.plan import (
    FAILED,
    PROGRESS,
    SUMMARY,
    Plan,
    chains,
    read_plan,
    state_of,
    states_of,
)
from buarl.results.progress import shown
from buarl.results.tables import lines_of, table_text
from buarl.training.checkpoint import write_text
from buarl.training.config import Experiment, config_for
from buarl.training.loop import CHECKPOINT, Callback, StopTraining
from buarl.training.run import read_run, run_experiment

Wrap = Callable[[Callback], Callback]
EVERY = 5.0  # seconds between two words on progress


class Progress:
    """A callback for `fit` that says in the run folder how far it is.

    Args:
        folder: The run folder.
        inner: Another callback, called first; None for none.
    """

    def __init__(self, folder: Path, inner: Callback | None = None) -> None:
        self.path, self.inner = Path(folder) / PROGRESS, inner
        self.stages: dict[str, tuple[int, float]] = {}  # steps and seconds since the start
        self.before: dict[str, int] = {}
        self.last = time.monotonic()
        self.said = 0.0

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after every step."""
        if self.inner is not None:
            self.inner(stage, step, method)
        now = time.monotonic()
        steps, seconds = self.stages.get(stage, (0, 0.0))
        self.stages[stage] = steps + 1, seconds + now - self.last
        self.last = now
        if now - self.said > EVERY:
            self.said = now
            rows = []
            for each in method.stages():
                done, seconds = self.stages.get(each.name, (0, 0.0))
                before = self.before.get(each.name, 0)  # as fast as what came since
                rows.append([before + done, seconds * (before + done) / done if done else 0.0])
            self.path.write_text(json.dumps({"stages": rows}), encoding="utf-8")

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step."""
        self.before, self.last = dict(done), time.monotonic()
        getattr(self.inner, "begin", lambda _: None)(done)

    def flush(self) -> None:
        """Called by `fit` before every checkpoint."""
        getattr(self.inner, "flush", lambda: None)()


def work_on(
    out: Path,
    task: int,
    wrap: Wrap | None = None,
    say: Callable = lambda text: None,
    plan: Plan | None = None,
) -> int:
    """Do one list of runs of a plan, see `chains`; what is done already is skipped.

    A run that fails leaves its traceback in `failed/NAME.log`, and the next one is begun.

    Args:
        out: The folder of the plan.
        task: Number of the list, from 0.
        wrap: Puts another callback around the training's, such as one that stops on a signal.
        say: Called with a line of text for every run.
        plan: By which the lists are numbered; None is that of the folder, which may have grown.
    Returns:
        How many runs failed.
    Raises:
        ValueError: no plan there, or no such list.
        StopTraining: the callback raised it; the run is saved and goes on next time.
    """
    out, plan = Path(out), plan or read_plan(out)
    runs = plan.runs()
    work = chains(runs, plan.root)
    if not 0 <= task < len(work):
        raise ValueError(f"task must lie in 0 to {len(work) - 1}, got {task}")
    failed = 0
    for name in work[task]:
        if state_of(out, name, runs[name], plan) in ("done", "running"):
            continue
        mark = out / FAILED / f"{name}.log"
        mark.unlink(missing_ok=True)  # of an earlier attempt
        say(f"{name}: begins")
        try:
            source = open_source(runs[name].source, plan.root)
            train_and_score(out, name, runs[name], plan, source, work[task], wrap)
        except StopTraining:
            raise
        except Exception as error:  # one cell of a table must not cost the others
            mark.parent.mkdir(parents=True, exist_ok=True)
            write_text(mark, traceback.format_exc())
            failed += 1
            say(f"{name}: failed, {error}")
        else:
            say(f"{name}: done")
        try:
            write_summary(out, plan)
        except (OSError, ValueError) as error:  # the next run writes it anew
            say(f"no summary for now: {error}")
    return failed


def train_and_score(
    out: Path,
    name: str,
    row: Experiment,
    plan: Plan,
    source: Source,
    chain: Sequence[str],
    wrap: Wrap | None = None,
) -> None:
    """One run from wherever it stands to its entry in the ledger.

    Args:
        out: The folder of the plan. name: Of the run. row: What it is. plan: How.
        source: Its data.
        chain: The runs that may lend it their first stage.
        wrap: As in `work_on`.
    """
    folder, config = out / name, config_for(row)
    if folder.is_dir() and _holds_nothing(folder):
        shutil.rmtree(folder)
    begun = (folder / "run.json").is_file()
    lender = None if begun or len(config.stages) < 2 else _lender(out, name, chain)
    watch = watch_run(source, config, folder, validate=plan.validate)
    callback: Callback = Progress(folder, watch)
    run_experiment(
        row,
        source,
        folder,
        resume=begun,
        pretrained=lender,
        device=plan.device,
        callback=wrap(callback) if wrap else callback,
    )
    watch.finish()
    score_run(folder, source.root, split=plan.split, device=plan.device)
    if plan.validate != 0:
        score_selected(folder, source.root, split=plan.split, device=plan.device)
    add_to_ledger(out, name, folder, split=plan.split)


def _holds_nothing(folder: Path) -> bool:
    """Whether a killed run left a folder with nothing to go on from."""
    if not (folder / "run.json").is_file():
        return not list(folder.glob("*.pt"))
    lent = "pretrained" in read_run(folder)
    return lent and not (folder / CHECKPOINT).is_file()  # begins at its stage 2 anyway


def _lender(out: Path, name: str, chain: Sequence[str]) -> Path | None:
    """A run of the same first stage that has finished it: it left `<stage>.pt`."""
    for other in chain:
        files = {path.name for path in (out / other).glob("*.pt")} - {CHECKPOINT, BEST}
        if other != name and files and (out / other / "run.json").is_file():
            return out / other
    return None


def write_summary(out: Path, plan: Plan) -> Path:
    """The tables of a plan as far as they are, with what failed, as `summary.md`.

    Args:
        out: The folder of the plan. plan: The plan.
    """
    out = Path(out)
    with FileLock(out / f".{SUMMARY}.lock"):
        states = states_of(out, plan)
        results = read_results(out, split=plan.split)
        names = set(states)
        entries = [entry for entry in results.entries if entry["name"] in names]
        spoiled = {k: row for k, row in results.left_out.items() if "not finished" not in k}
        results = results._replace(entries=entries, left_out=spoiled)
        parts = [f"# {shown(list(states.values()))} of {len(states)} runs"]
        for what in plan.what:
            rows = [row for row in plan.rows() if row.table == what]
            lines = lines_of(rows, results)
            more: dict[str, Any] = {"preset": plan.preset, "split": plan.split, "form": "markdown"}
            parts.append(table_text(what, lines, results, **more))
        if broken := failures(out, states):
            parts.append("### Failed\n\n" + "\n".join(f"- {line}" for line in broken))
        write_text(out / SUMMARY, "\n\n".join(parts) + "\n")
    return out / SUMMARY


def failures(out: Path, states: Mapping[str, str]) -> list[str]:
    """A line for each run that failed: its name, the last line of its log, and where that lies."""
    found = []
    for name, state in states.items():
        if state == "failed":
            log = Path(out) / FAILED / f"{name}.log"
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            found.append(f"{name}: {lines[-1] if lines else 'no word'} ({log})")
    return found
