"""One bar over a training that is made once: what is trained, how far it is, how long it takes."""

from __future__ import annotations

from collections.abc import Mapping

from tqdm import tqdm

from buarl.methods import Method
from buarl.methods.base import Step
from buarl.training.config import Experiment, config_for
from buarl.training.loop import Callback


class OnceBar:
    """A callback for `fit` that shows one bar over all stages, and leaves nothing behind.

    The bar counts the steps and estimates the time that is left. TQDM_DISABLE=1 hides it, as every
    bar of tqdm.

    Args:
        experiment: The row that is trained; the bar names its method and its rules.
        inner: Another callback, called first.
    """

    def __init__(self, experiment: Experiment, inner: Callback | None = None) -> None:
        self.inner = inner
        self.bar = tqdm(
            total=sum(config_for(experiment).steps), desc=once(experiment), leave=False, unit="step"
        )

    def __enter__(self) -> OnceBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after every step."""
        if self.inner is not None:
            self.inner(stage, step, method)
        self.bar.update()

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step."""
        getattr(self.inner, "begin", lambda _: None)(done)

    def flush(self) -> None:
        """Called by `fit` before every checkpoint."""
        getattr(self.inner, "flush", lambda: None)()


def once(experiment: Experiment) -> str:
    """What a bar says of a training that is made once.

    >>> import buarl
    >>> once(buarl.Experiment("bcp", labeled_rule=buarl.url(), unlabeled_rule=buarl.crl()))
    'training bcp with url + crl, once: it is kept'
    >>> once(buarl.Experiment("supervised"))
    'training supervised, once: it is kept'
    """
    rules = [
        rule.as_dict()["name"] for rule in (experiment.labeled_rule, experiment.unlabeled_rule)
    ]
    named = " + ".join(name for name in rules if name != "whole")
    return f"training {experiment.method}{f' with {named}' if named else ''}, once: it is kept"
