"""The parts of a training: stages, what learns in them, and their steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.methods.optimizers import Optimizer, Sgd
from buarl.schedules import Schedule


class _NoNumbers(dict):
    """The numbers of a step that was made without a method."""

    def __missing__(self, name: str) -> float:
        raise ValueError(f"the step has no number {name!r}; make it with method.at(index, steps)")


class Step(NamedTuple):
    """Where in a stage we are, and the numbers that depend on it.

    index: Number of the step, from 0.
    steps: How many steps the stage has.
    numbers: What `Method.numbers` says of this step; `Method.at` makes a step that has them.

    >>> Step(index=9, steps=10, numbers={"weight": 0.1}).numbers["weight"]
    0.1
    """

    index: int
    steps: int
    numbers: Mapping[str, float] = _NoNumbers()


class StepOutput(NamedTuple):
    """What a training step returns.

    loss: The scalar to descend.
    logs: Scalars to record, by name, without a graph.

    >>> import torch
    >>> StepOutput(torch.tensor(0.7), {"labeled": torch.tensor(0.7)}).logs["labeled"].item() < 1
    True
    """

    loss: Tensor
    logs: dict[str, Tensor | float]


@dataclass(frozen=True)
class Learner:
    """A module that a stage trains. Most methods have one, the student; adversarial ones have two.

    name: What it is called in logs and checkpoints.
    module: Whose parameters the optimizer moves.
    training_step: The loss of one step.
    optimizer: How its parameters are moved.
    schedule: How its learning rate changes; None takes the schedule planned for the stage.

    >>> Learner("student", nn.Linear(1, 1), lambda batch, step: ...).optimizer.lr
    0.01
    """

    name: str
    module: nn.Module
    training_step: Callable[[SemiBatch, Step], StepOutput]
    optimizer: Optimizer = Sgd()
    schedule: Schedule | None = None


@dataclass(frozen=True)
class Stage:
    """A part of the training, e.g. the pre-training of BCP.

    name: What it is called in logs and checkpoints.
    learners: What is trained; each takes its step in this order.
    start: Called before the first step of the stage.
    after_step: Called after every step, when all learners have moved.
    keep_optimizer: Go on with the momentum of the stage before.

    >>> Stage("train", learners=()).keep_optimizer
    False
    """

    name: str
    learners: tuple[Learner, ...]
    start: Callable[[], None] | None = None
    after_step: Callable[[Step], None] | None = None
    keep_optimizer: bool = False
