"""Who takes part in a training: one process, unless `devices` joins several.

`fit` has one loop for both. It asks the group for what several processes have to agree on, and a
group of one answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import nn

from buarl.methods.base import Method, Stage
from buarl.methods.recipe import StagePlan
from buarl.whole_batch import WholeBatch


class Group(WholeBatch):
    """One process alone, and what a group of several has to answer.

    >>> ALONE.first, ALONE.any(False), ALONE.mean({"loss": 0.5})
    (True, False, {'loss': 0.5})
    """

    number: int = 0
    """Number of this process, from 0, and of its part of every batch."""
    device: str | None = None
    """Device of this process; None leaves it to `fit`."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files, prints and validates."""
        return self.number == 0

    def check(self, method: Method, stages: Sequence[StagePlan], **asked: object) -> None:
        """Refuse what this group cannot train, before the first step.

        Args:
            method: What is trained.
            stages: The numbers of every stage.
            asked: What `fit` was asked for that changes how a step runs: `record`, `compiler`.
        Raises:
            ValueError: the method, its batches or an option do not fit.
        """

    def joined(self, method: Method) -> AbstractContextManager:
        """While inside, the networks of the method are those of the whole group."""
        return nullcontext()

    def step(self) -> AbstractContextManager:
        """While inside, sums over a batch are those of the whole batch, see `whole_batch`."""
        return nullcontext()

    def wrapped(self, stage: Stage) -> Stage:
        """The stage with training steps whose gradients are those of the whole batch."""
        return stage

    def any(self, stop: bool) -> bool:
        """Whether any process wants to stop; all of them get the same answer."""
        return stop

    def mean(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The mean of every number over the processes."""
        return dict(numbers)

    def wait(self) -> None:
        """Go on when all processes have come here."""

    def check_alike(self, module: nn.Module) -> None:
        """Make sure that all processes hold the same weights.

        Raises:
            ValueError: they have drifted apart.
        """


ALONE = Group()
