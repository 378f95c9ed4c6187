"""What is asked of one input, and the verdict on it.

An input is spoiled on purpose. It must end, within the time and the memory allowed, in

- "refused": an error of buarl, one line, that names the file or the argument;
- "equal": the result of the input before it was spoiled;
- "listed": another result, in fields where the format has no redundancy: a voxel of a raw file may
  be any number, so nobody can know that it was another one. Each kind says which fields these are,
  and which rules even they must keep (finite, in range, of the right shape).

Everything else is a fault: "foreign" (an error that no line of buarl raised), "unclear" (a message
without the name, or of several lines), "wrong" (another result where it should be equal or
refused, or one that breaks a rule), "escaped" (another file was opened, as by an import, or by
a process, or a connection), "slow", "memory", and "crash" (the process is gone).
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import buarl

RIGHT = ("refused", "equal", "listed")
FAULTS = ("foreign", "unclear", "wrong", "escaped", "slow", "memory", "crash")
SECONDS = 2.0  # of the processor, for one input
OURS = (ValueError, TypeError, FloatingPointError, OSError)
PACKAGE = Path(buarl.__file__).parent
CODE = tuple(map(str, (PACKAGE, Path(__file__).parent, Path(torch.__file__).parents[1])))
CODE += (sys.prefix, sys.base_prefix, "/usr/lib", "/proc/self")  # the package, Python, libraries
LAYOUT = (" expects", " looks like")  # the tree of a data set follows, one file a line
LONGEST = 1500  # signs of a message
WATCHED = ("open", "pickle.find_class", "subprocess.Popen", "os.system", "socket.connect")


@dataclass
class Input:
    """One spoiled input.

    what: What was done to it, for people.
    run: Reads or calls it, and returns the fields of the result.
    right: The fields before it was spoiled.
    names: A refusal must name one of these: the file, or an argument.
    free: Fields that may differ; None means all.
    rule: What is wrong with a result, or None.
    folder: Files in it may be opened; None where no file takes part.
    """

    what: str
    run: Callable[[], Mapping[str, Any]]
    right: Mapping[str, Any]
    names: Sequence[str]
    free: frozenset[str] | None = frozenset()
    rule: Callable[[Mapping[str, Any]], str | None] = lambda result: None
    folder: Path | None = None
    notes: list[str] = field(default_factory=list)


class OverTime(BaseException):
    """Not an Exception: no handler of the package may take it for a damaged file."""


class Watch:
    """Hears of every file that Python opens, modules included, while it is armed."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.armed, self.seen = False, []
        sys.addaudithook(self)  # cannot be removed, so there is one for all inputs

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self.armed or event not in WATCHED:
            return
        if event == "open":
            path = arguments[0]
            if isinstance(path, int) or self._may_open(str(path)):
                return
        self.seen.append(f"{event} {arguments[0]}")

    def _may_open(self, path: str) -> bool:
        if self.folder is not None and path.startswith(str(self.folder)):
            return True
        return path.startswith(CODE)


WATCH = Watch()


@contextmanager
def limited(seconds: float, folder: Path | None) -> Iterator[None]:
    """Stop after so much time of the processor; meanwhile the watch is armed."""

    def stop(number: int, frame: object) -> None:
        raise OverTime

    before = signal.signal(signal.SIGPROF, stop)
    WATCH.folder, WATCH.seen, WATCH.armed = folder, [], True
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        WATCH.armed = False
        signal.signal(signal.SIGPROF, before)


def judge(one: Input, seconds: float = SECONDS) -> tuple[str, str]:
    """The verdict and, in words, what led to it."""
    try:
        with limited(seconds, one.folder):
            result = one.run()
    except OverTime:
        return "slow", f"more than {seconds} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        verdict, said = _of_error(one, error)
    else:
        verdict, said = _of_result(one, result)
    return ("escaped", f"{WATCH.seen[:3]}") if WATCH.seen else (verdict, said)


def _of_error(one: Input, error: BaseException) -> tuple[str, str]:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "not enough memory" in said:
        return "memory", said
    if not isinstance(error, OURS) or not raised_here(error):
        return "foreign", f"{said[:400]} {place(error)}"
    first, *more = said.splitlines() or [""]
    if (more and not first.endswith(LAYOUT)) or len(said) > LONGEST:
        return "unclear", said[:400]
    if not any(name in said for name in one.names):
        return "unclear", f"{said[:400]} (names none of {list(one.names)[:8]})"
    return "refused", said


def _of_result(one: Input, result: Mapping[str, Any]) -> tuple[str, str]:
    try:
        broken = one.rule(result)
    except Exception as error:  # what was accepted cannot even be looked at
        broken = f"accepted, then {type(error).__name__}: {error} {place(error)}"[:500]
    if broken:
        return "wrong", broken
    other = [k for k in {**one.right, **result} if not same(one.right.get(k), result.get(k))]
    if not other:
        return "equal", ""
    if one.free is None or set(other) <= one.free:
        return "listed", ", ".join(other)
    odd = next(key for key in other if key not in one.free)
    return "wrong", f"{odd} differs: {_short(one.right.get(odd))} became {_short(result.get(odd))}"


def raised_here(error: BaseException) -> bool:
    """Whether a line of buarl itself raised the error."""
    return Path(place(error).rpartition(":")[0]).is_relative_to(PACKAGE)


def place(error: BaseException) -> str:
    """File and line that raised the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ":"


def same(a: Any, b: Any) -> bool:
    """Equal in type, shape and every bit; NaN equals NaN."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if (a.dtype, a.shape, a.layout) != (b.dtype, b.shape, b.layout):
            return False
        return bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        kind = a.dtype.kind in "fc"
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=kind)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:  # two arrays inside
        return False


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:120]
