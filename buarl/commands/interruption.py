"""An interrupted command ends in order, says how to go on, and has a code of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

from buarl.methods.base import Method, Step
from buarl.training.loop import Callback, StopTraining

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A command was told to stop; `code` is what it ends with, 128 + the signal's number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Terminated(KeyboardInterrupt):
    """SIGTERM came: what Ctrl-C does, by another sender."""


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Meanwhile SIGTERM raises `Terminated`, once, so that whatever was begun is cleaned up.

    Some send it twice, to the process and to its group; Ctrl-C still cuts the cleaning short.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def code_of(interruption: KeyboardInterrupt) -> int:
    """What a process that was interrupted ends with, 128 + the number of the signal."""
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


class StopOnSignal:
    """A callback for `fit` that ends the training after the step in which a signal came.

    A second signal ends it at once, without saving.

    Args:
        inner: Another callback, called first.
    """

    def __init__(self, inner: Callback | None = None) -> None:
        self.inner, self.asked = inner, 0  # the number of the signal that came

    @property
    def code(self) -> int:
        """What the process should end with."""
        return 128 + (self.asked or signal.SIGINT)

    def __enter__(self) -> StopOnSignal:
        here = threading.current_thread() is threading.main_thread()  # no other may set handlers
        self._before = {each: signal.signal(each, self._ask) for each in SIGNALS} if here else {}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = bool(self.asked), number
        if again:
            raise KeyboardInterrupt
        text = "\nbuarl: stops after this step and saves; once more stops at once\n"
        with suppress(AttributeError, OSError, ValueError):  # no terminal, or one that is gone
            os.write(sys.__stderr__.fileno(), text.encode())  # print may be within a line

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after every step."""
        if self.inner is not None:
            self.inner(stage, step, method)
        if self.asked:
            raise StopTraining

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step."""
        getattr(self.inner, "begin", lambda _: None)(done)

    def flush(self) -> None:
        """Called by `fit` before every checkpoint."""
        getattr(self.inner, "flush", lambda: None)()
