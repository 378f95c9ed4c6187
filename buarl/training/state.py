"""Where a training is, its optimizers and its history: all that a checkpoint holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from buarl.methods.base import Learner, Method, Stage
from buarl.methods.recipe import StagePlan
from buarl.training.checkpoint import NOT_FINITE, load_state, save_state
from buarl.training.group import ALONE, Group

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
        run: What tells this run from others, see `fingerprint`; written into every checkpoint.
        group: The processes that share the training; logs are means over them.
    """

    def __init__(
        self,
        method: Method,
        stages: Sequence[Stage],
        prepare: Callable[[torch.optim.Optimizer], None] | None = None,
        run: str | None = None,
        group: Group = ALONE,
    ) -> None:
        self.method, self.stages, self.prepare, self.run = method, stages, prepare, run
        self.group = group
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
        keys = dict.fromkeys(key for logs in self.pending for key in logs)
        if taken := {"stage", "step", "lr"} & keys.keys():
            raise ValueError(f"a method must not log {sorted(taken)[0]!r}, the history has its own")
        means = {
            key: float(np.mean([float(logs[key]) for logs in self.pending if key in logs]))
            for key in keys
        }
        means = self.group.mean(means)
        self.pending = []
        first = stage.learners[0].name
        lr = float(self.optimizers[first].param_groups[0]["lr"])
        self.result.history.append({"stage": stage.name, "step": done, "lr": lr, **means})
        loss = means[f"{first}_loss"]
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss must stay finite, got {loss} in stage {stage.name!r} within the "
                f"{LOG_EVERY} steps before step {done}: {NOT_FINITE}"
            )
        return loss

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        save_state(
            path,
            {
                "position": list(self.position),
                "run": self.run,
                "method": self.method.state_dict(),
                "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
                "history": self.result.history,
                "seconds": self.result.seconds,
                # logs since the last row: a stop between two rows must not move them
                "pending": [{k: float(v) for k, v in logs.items()} for logs in self.pending],
            },
        )

    def load(
        self, path: Path, device: torch.device, steps: Sequence[int], *, of_this_run: bool = True
    ) -> None:
        """Go back to a checkpoint.

        Args:
            path: The file. device: Where the tensors go. steps: How many steps each stage has.
            of_this_run: Refuse the checkpoint of another run.
        Raises:
            ValueError: no such file, not a checkpoint, one whose place is not in these stages, or
                one of another run or other networks.
        """
        state = load_state(path, device)
        if of_this_run:
            require_run(path, state, self.run)
        self.position = position_in(path, state, steps)
        load_weights(self.method, path, state)
        self.optimizers = self.new_optimizers(min(self.position[0], len(self.stages) - 1))
        for name, optimizer in self.optimizers.items():
            if name in state["optimizers"]:
                fresh = optimizer.state_dict()
                moved = {**fresh["state"], **state["optimizers"][name]["state"]}
                optimizer.load_state_dict({**fresh, "state": moved})
        self.result.history, self.result.seconds = state["history"], state["seconds"]
        self.pending = list(state.get("pending", []))  # absent in older checkpoints


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV: a column for every key of any row, and an empty cell where a row lacks it.

    >>> csv_text([{"step": 10, "loss": 0.5}, {"step": 20, "lr": 0.01}]).splitlines()
    ['step,loss,lr', '10,0.5,', '20,,0.01']
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def position_in(path: Path, state: Mapping[str, Any], steps: Sequence[int]) -> tuple[int, int]:
    """Where a checkpoint stands: the number of its stage, and how many of its steps are done.

    Args:
        path: Its file, for the message. state: Its content.
        steps: How many steps each stage has; (number of stages, 0) is the end.
    Raises:
        ValueError: no place, or one outside these stages.
    """
    position = state.get("position")
    whole = isinstance(position, list | tuple) and len(position) == 2
    if whole and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in position):
        stage, done = position
        if (stage < len(steps) and done <= steps[stage]) or (stage, done) == (len(steps), 0):
            return stage, done
    raise ValueError(
        f"{path}: its position must be a stage and a step of stages with {list(steps)} steps, "
        f"got {position}; this is not a checkpoint of this run"
    )


def require_run(path: Path, state: Mapping[str, Any], run: str | None) -> None:
    """Stop unless a checkpoint belongs to a run; those of earlier versions do not say, and pass.

    Args:
        path: Its file, for the message. state: Its content. run: See `fingerprint`.
    Raises:
        ValueError: it says that it belongs to another.
    """
    if None not in (found := state.get("run"), run) and found != run:
        raise ValueError(
            f"{path}: a checkpoint of another run, its row, numbers or data are not those of "
            "run.json beside it; bring back the file that belongs here, or train again"
        )


def load_weights(method: Method, path: Path, state: Mapping[str, Any]) -> None:
    """Put the weights of a checkpoint into a method.

    Args:
        method: What receives them. path: The file, for the message. state: Its content.
    Raises:
        ValueError: no weights in it, or those of other networks.
    """
    try:
        method.load_state_dict(state["method"])
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: its weights must be those of {type(method).__name__} ({said})"
        ) from error
