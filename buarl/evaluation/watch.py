"""All callbacks of a run in one: what every run writes down, and what was asked for besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from buarl.data.source import Source
from buarl.evaluation.monitor import Monitor
from buarl.evaluation.protocols import Selection
from buarl.evaluation.tensorboard import TensorBoard
from buarl.methods.base import Method, Step
from buarl.training.config import Config


class Together:
    """Several callbacks for `fit` as one, called in their order.

    Args:
        callbacks: See `buarl.training.loop.Callback`.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self.callbacks = list(callbacks)

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after every step."""
        for callback in self.callbacks:
            callback(stage, step, method)

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step."""
        self._all("begin", done)

    def flush(self) -> None:
        """Called by `fit` before every checkpoint."""
        self._all("flush")

    def finish(self) -> None:
        """To be called after the training."""
        self._all("finish")

    def _all(self, name: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, name, lambda *_: None)(*arguments)


def watch_run(
    source: Source,
    config: Config,
    folder: Path,
    *,
    validate: int | None = 0,
    log: Literal["tensorboard"] | None = None,
) -> Together:
    """Make the callback that a run should be trained with, so that its folder is a whole capsule.

        watch = watch_run(source, config_for(row), folder)
        run_experiment(row, source, folder, callback=watch)
        watch.finish()

    Args:
        source: The data set.
        config: Numbers of the run.
        folder: The run folder, which need not exist yet.
        validate: Steps between validations, see `Selection`; None makes ten of them in the last
            stage, 0 none.
        log: "tensorboard" writes the curves for TensorBoard as well.
    Raises:
        ValueError: TensorBoard is asked for and not installed, or a negative `validate`.
    """
    source = source.drawn(config.labeled_draw)  # the patients that are labeled in this run
    callbacks: list[Any] = [Monitor(source, config, folder)]
    if validate != 0:
        callbacks.append(Selection(source, config, folder, every=validate))
    if log is not None:
        callbacks.append(TensorBoard(folder))  # last: it copies what the others wrote
    return Together(callbacks)
