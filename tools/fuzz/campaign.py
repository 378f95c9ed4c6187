"""A campaign: inputs one after the other in a child process, and the figures of each kind.

Every input is a function of seed, kind and number alone, so that one line repeats it. A child that
dies, or does not come back, costs one input: the next child goes on with the one after it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.sharedctypes
import os
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

from . import calls, cases, runs, texts, volumes
from .judge import FAULTS, RIGHT, SECONDS, Input, judge

KINDS: dict[str, Callable[[Path, Random], Input]] = {
    "h5": cases.h5,
    "list": texts.lists,
    "dataset": texts.dataset,
    "run": runs.run,
    "checkpoint": runs.checkpoint,
    "nifti": volumes.nifti,
    "nrrd": volumes.nrrd,
    "metrics": texts.metrics,
    "info": texts.info,
    "ledger": texts.ledger,
    "call": calls.call,
}
SHARES = {"call": 6, "h5": 3, "nifti": 3, "nrrd": 2, "checkpoint": 2, "run": 2}
VERDICTS = (*RIGHT, *FAULTS)
WALL = 60.0  # seconds on the clock until a child counts as hanging
GIB = 2**30
BYTES = (
    3 * GIB
)  # beyond what the child needs by itself: buarl.data.limits allows a small file 1 GiB


def one(kind: str, number: int, seed: int, place: Path) -> tuple[str, str, str]:
    """Make an input and judge it: verdict, what was done, and what came of it."""
    folder = place / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = KINDS[kind](folder, Random(f"{seed}:{kind}:{number}"))
        made.folder = made.folder or folder
        verdict, said = judge(made, SECONDS)
    return verdict, made.what, said


def order(kinds: list[str]) -> list[str]:
    """The kinds as often as each is taken in one round."""
    return [kind for kind in kinds for _ in range(SHARES.get(kind, 1))]


class Campaign:
    """Run `kinds` until a time or a number is reached; the figures are in `counts`."""

    def __init__(self, kinds: list[str], seed: int, report: Callable[[str], None] = print) -> None:
        self.kinds, self.seed, self.report = kinds, seed, report
        self.turns = order(kinds)
        self.counts = multiprocessing.sharedctypes.RawArray("q", len(KINDS) * len(VERDICTS))
        self.at = multiprocessing.sharedctypes.RawArray("q", 1)  # number of the input in work
        self.faults: list[str] = []

    def run(self, seconds: float, limit: int | None = None) -> None:
        end, begin = time.monotonic() + seconds, 0
        with tempfile.TemporaryDirectory() as place:
            while time.monotonic() < end and (limit is None or begin < limit):
                begin = self._child(begin, end, limit, Path(place))

    def _child(self, begin: int, end: float, limit: int | None, place: Path) -> int:
        """One child; the number with which the next one goes on."""
        ours, theirs = multiprocessing.Pipe(duplex=False)
        self.at[0] = begin
        child = multiprocessing.get_context("fork").Process(
            target=self._work, args=(begin, end, limit, place, theirs)
        )
        child.start()
        theirs.close()
        seen, moved = begin, time.monotonic()
        done = False
        while not done:
            try:
                while ours.poll(0.5):
                    message = ours.recv()
                    done = done or message is None
                    if message is not None:
                        self._fault(*message)
            except EOFError:
                break
            if self.at[0] != seen:
                seen, moved = self.at[0], time.monotonic()
            if time.monotonic() - moved > WALL:
                child.kill()
                break
        child.join()
        if done:
            return 2**62 if limit is None else self.at[0]
        verdict = "slow" if child.exitcode == -9 else "crash"
        kind = self.turns[self.at[0] % len(self.turns)]
        self._count(kind, verdict)
        self._fault(kind, self.at[0], verdict, "?", f"the process ended with {child.exitcode}")
        return self.at[0] + 1

    def _work(self, begin: int, end: float, limit: int | None, place: Path, pipe: object) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
        number = begin
        while time.monotonic() < end and (limit is None or number < limit):
            self.at[0] = number
            kind = self.turns[number % len(self.turns)]
            verdict, what, said = one(kind, number, self.seed, place)
            self._count(kind, verdict)
            if verdict in FAULTS:
                pipe.send((kind, number, verdict, what, said))
            number += 1
        self.at[0] = number
        pipe.send(None)
        os._exit(0)

    def _count(self, kind: str, verdict: str) -> None:
        self.counts[list(KINDS).index(kind) * len(VERDICTS) + VERDICTS.index(verdict)] += 1

    def _fault(self, kind: str, number: int, verdict: str, what: str, said: str) -> None:
        again = f".venv/bin/python -m tools.fuzz --seed {self.seed} --only {kind}:{number}"
        self.faults.append(f"{verdict}: {kind}: {what}\n    {said}\n    again: {again}")
        self.report(self.faults[-1])

    def table(self) -> str:
        """The figures of each kind, as Markdown."""
        lines = [["kind", "inputs", *VERDICTS], ["-" * 10] + ["-" * 8] * (1 + len(VERDICTS))]
        rows = {}
        for k, kind in enumerate(KINDS):
            row = self.counts[k * len(VERDICTS) : (k + 1) * len(VERDICTS)]
            if kind in self.kinds:
                rows[kind] = [sum(row), *row]
        rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
        lines += [[kind, *map(str, row)] for kind, row in rows.items()]
        return "\n".join("| " + " | ".join(f"{cell:>8}" for cell in line) + " |" for line in lines)
