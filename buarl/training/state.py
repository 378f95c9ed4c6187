"""Where a training is, its optimizers and its history: all that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from buarl.methods.base import Learner, Method, Stage
from buarl.methods.recipe import StagePlan
from buarl.training.checkpoint import load_state, save_state

LOG_EVERY = 10


@dataclass
class FitResult:
    """What training leaves behind.

    network: What to evaluate, the student after the last step.
    history: One dict per block of LOG_EVERY steps: stage, step, lr, and the means of what was
        logged. A block also ends at a checkpoint and at the end of a stage.
    seconds: How long each stage took.
    """

    network: torch.nn.Module
    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


class TrainingState:
    """The part of a training that changes from step to step.

    Args:
        method: What is trained.
        stages: Its stages.
        prepare: Called with every new optimizer.
    """

    def __init__(
        self,
        method: Method,
        stages: Sequence[Stage],
        prepare: Callable[[torch.optim.Optimizer], None] | None = None,
    ) -> None:
        self.method, self.stages, self.prepare = method, stages, prepare
        self.position = (0, 0)  # stage, next step
        self.result = FitResult(method.student)
        self.optimizers = self.new_optimizers(0)
        self.pending: list[dict[str, Tensor | float]] = []  # logs on their way into the history

    def enter(self, number: int) -> None:
        """Begin a stage: what it does first, and its optimizers."""
        stage = self.stages[number]
        if stage.start is not None:
            stage.start()
        if not (stage.keep_optimizer and number):
            self.optimizers = self.new_optimizers(number)

    def new_optimizers(self, number: int) -> dict[str, torch.optim.Optimizer]:
        """Fresh optimizers of a stage, by the name of the learner."""
        learners = self.stages[number].learners
        optimizers = {each.name: each.optimizer.build(each.module) for each in learners}
        if self.prepare is not None:
            for optimizer in optimizers.values():
                self.prepare(optimizer)
        return optimizers

    def set_learning_rates(self, learners: Sequence[Learner], plan: StagePlan, index: int) -> None:
        """The learning rate of a step, for every optimizer of a stage."""
        for learner in learners:
            schedule = learner.schedule or plan.schedule
            lr = learner.optimizer.lr * schedule(index, plan.steps)
            for group in self.optimizers[learner.name].param_groups:
                if torch.is_tensor(group["lr"]):  # as `prepare` may have made it
                    group["lr"].fill_(lr)
                else:
                    group["lr"] = lr

    def flush(self, stage: Stage, done: int) -> float:
        """Move pending logs into the history; the one place that waits for the device.

        Args:
            stage: The stage.
            done: How many of its steps are done.
        Returns:
            The mean loss of the first learner.
        Raises:
            FloatingPointError: that loss is not finite.
        """
        keys = self.pending[0]
        means = {key: float(np.mean([float(logs[key]) for logs in self.pending])) for key in keys}
        self.pending = []
        first = stage.learners[0].name
        lr = float(self.optimizers[first].param_groups[0]["lr"])
        self.result.history.append({"stage": stage.name, "step": done, "lr": lr, **means})
        loss = means[f"{first}_loss"]
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss must stay finite, got {loss} in stage {stage.name!r} within the "
                f"{LOG_EVERY} steps before step {done}"
            )
        return loss

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        save_state(
            path,
            {
                "position": list(self.position),
                "method": self.method.state_dict(),
                "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
                "history": self.result.history,
                "seconds": self.result.seconds,
            },
        )

    def load(self, path: Path, device: torch.device) -> None:
        """Go back to a checkpoint.

        Raises:
            ValueError: no such file, or not a checkpoint.
        """
        state = load_state(path, device)
        self.position = tuple(state["position"])
        self.method.load_state_dict(state["method"])
        self.optimizers = self.new_optimizers(min(self.position[0], len(self.stages) - 1))
        for name, optimizer in self.optimizers.items():
            if name in state["optimizers"]:
                fresh = optimizer.state_dict()
                moved = {**fresh["state"], **state["optimizers"][name]["state"]}
                optimizer.load_state_dict({**fresh, "state": moved})
        self.result.history, self.result.seconds = state["history"], state["seconds"]
