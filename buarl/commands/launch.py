"""The launcher for one machine: so many processes at a time, each on its own threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from buarl.commands.work import SOME_FAILED
from buarl.results.plan import FAILED, LOGS, Plan, chains, states_of
from buarl.results.progress import duration, seconds_left, shown
from buarl.training.checkpoint import write_text

LOOK = 0.5  # seconds between two looks at the processes
TELL = 30.0  # seconds between two lines on progress, at least


def launch_local(
    out: Path, plan: Plan, tasks: Sequence[int], jobs: int, say: Callable[[str], None]
) -> bool:
    """Run lists of a plan in processes of their own and wait for them.

    Args:
        out: The folder of the plan. plan: The plan.
        tasks: Numbers of the lists, see `chains`.
        jobs: How many processes at a time.
        say: Called with a line whenever runs have finished, or now and then.
    Returns:
        Whether all processes ended by themselves; False after an interruption, which every
        process has answered by saving.
    """
    waiting, running = list(tasks), {}
    (out / LOGS).mkdir(parents=True, exist_ok=True)
    told, before = 0.0, ""
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                running[task] = _start(out, plan, task)
            time.sleep(LOOK)
            for task in [task for task, process in running.items() if process.poll() is not None]:
                _note_death(out, plan, task, running.pop(task).returncode)
            states = states_of(out, plan)
            now = shown(list(states.values()))
            if now != before or time.monotonic() - told > TELL:
                left = seconds_left(out, plan, states, min(jobs, len(running) + len(waiting)) or 1)
                say(f"{now}; left: {duration(left)}" if running or waiting else now)
                told, before = time.monotonic(), now
        return True
    except KeyboardInterrupt:
        _stop(running.values(), say)
        return False
    except BaseException:  # no process trains on after the one that counts them is gone
        _stop(running.values(), say)
        raise


def _stop(running: Collection[subprocess.Popen], say: Callable[[str], None]) -> None:
    """Let processes save and end."""
    for process in running:
        process.terminate()
    if running:
        say("stops after this step and saves; wait a moment")
    for process in running:
        process.wait()


def _start(out: Path, plan: Plan, task: int) -> subprocess.Popen:
    """A process that no signal of the terminal reaches: it gets one from here, and only one."""
    count = str(plan.threads)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), count)
    words = [str(out), str(task), json.dumps(plan.as_dict())]
    command = [sys.executable, "-m", "buarl.commands.work", *words]
    with log_of(out, task).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **threads},
            start_new_session=True,
        )


def log_of(out: Path, task: int) -> Path:
    """Where a process writes what it says."""
    return out / LOGS / f"task_{task}.log"


def _note_death(out: Path, plan: Plan, task: int, code: int) -> None:
    """A process that was killed or could not begin leaves no word: leave one for its run."""
    if code in (0, SOME_FAILED):
        return
    runs = plan.runs()
    states = states_of(out, plan)
    for name in chains(runs, plan.root)[task]:
        if states[name] not in ("done", "failed"):
            text = f"the process ended with code {code}; what it said: {log_of(out, task)}\n"
            (out / FAILED).mkdir(exist_ok=True)
            write_text(out / FAILED / f"{name}.log", text)
            return
