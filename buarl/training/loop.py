"""The only training loop: `fit` trains every method, those of the package and yours."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from buarl.arguments import counted
from buarl.capsule import HISTORY
from buarl.data.batches import Batches, SemiBatch, no_unlabeled
from buarl.data.source import Source
from buarl.fast.memory import hold_memory
from buarl.fast.recorder import make_recordable, recorded
from buarl.fast.resident import ResidentBatches
from buarl.methods.base import Method, Stage, Step, StepOutput
from buarl.training.bar import bar
from buarl.training.checkpoint import write_text
from buarl.training.config import Config
from buarl.training.engine import Engine, choose_engine
from buarl.training.group import ALONE, Group
from buarl.training.health import (
    YOUNG,
    check_batches,
    check_history,
    check_prediction,
    check_samples,
)
from buarl.training.state import LOG_EVERY, FitResult, TrainingState, csv_text

CHECKPOINT = "last.pt"
Callback = Callable[[str, Step, Method], None]
"""Called after every step. Two methods of it are called as well, if it has them:
`begin(done)` before the first step, with the steps already done by the name of the stage, and
`flush()` before every checkpoint, so that what it keeps is on the disk before what covers it."""
Logs = dict[str, Tensor | float]


class StopTraining(Exception):
    """Raised by a callback to end the training after this step; with a folder, that is saved."""


def fit(
    method: Method,
    source: Source,
    config: Config,
    *,
    out: Path | None = None,
    run: str | None = None,
    resume: bool = False,
    begin_from: Path | None = None,
    device: str = "auto",
    compiler: str | None = None,
    record: bool = False,
    progress: bool = False,
    callback: Callback | None = None,
    group: Group = ALONE,
) -> FitResult:
    """Train a method; the last weights stay in `method`, and its student is what to evaluate.

    A run is a function of config.seed: batches, dropout, noise and boxes are drawn anew at every
    step from (seed, stage, step), so a resumed run equals an uninterrupted one bit for bit.

    Args:
        method: Fresh, with its networks.
        source: Where the training samples come from; which of its patients are labeled,
            `config.labeled_draw` decides where it is set.
        config: Every number of the run.
        out: Existing folder for `last.pt`, the end of each earlier stage, `<stage>.pt`, and the
            curves, `history.csv`, which are written with every checkpoint.
        run: What tells this run from others; stands in its checkpoints and is compared on resume.
        resume: Go on from `out/last.pt`.
        begin_from: Start after the stage that this checkpoint ended, unless resumed.
        device: "auto" or a torch device.
        compiler: See `choose_engine`.
        record: Repeat steps as a CUDA graph, see `buarl.fast.recorder`.
        progress: Show a bar.
        callback: Called after every step with the stage's name, the step and the method; see
            `Callback` and `StopTraining`. Where several processes share the training, each may
            have its own; the first one's is also what validates.
        group: The processes that share the training, see `buarl.training.devices`; the first one
            alone writes into `out`.
    Raises:
        ValueError: stages or batches that do not fit method and data, a missing folder or
            checkpoint, a method or a device whose steps cannot be recorded. All before the first
            step.
        FloatingPointError: the loss became NaN or infinite; the message says where.
        StopTraining: the callback raised it.
    """
    stages = method.stages()
    if config.labeled_draw is not None:
        source = source.drawn(config.labeled_draw)
    out = _checked(method, source, config, out)
    group.check(method, config.stages, record=record, compiler=compiler)
    engine = choose_engine(group.device or device, config.precision, compiler=compiler)
    learn = recorded(_learn, method, engine.device) if record else _learn
    if engine.device.type == "cpu":
        hold_memory()
    batches = _training_batches(source, config, engine.device)
    with torch.random.fork_rng(), group.joined(method):
        engine.place(method).train()
        engine.compile(method.children())
        state = TrainingState(method, stages, make_recordable if record else None, run, group)
        if resume or begin_from is not None:
            path = _folder(out) / CHECKPOINT if resume else Path(begin_from)
            state.load(path, engine.device, config.steps, of_this_run=resume)
        training = _Training(method, stages, config, engine, batches, state, learn, group)
        training.run(out, progress, callback)
    return state.result


@dataclass
class _Training:
    """A training in progress."""

    method: Method
    stages: Sequence[Stage]
    config: Config
    engine: Engine
    batches: Batches
    state: TrainingState
    learn: Callable[..., Logs]
    group: Group = ALONE
    image: Tensor | None = None  # of the last step

    def run(self, out: Path | None, progress: bool, callback: Callback | None) -> None:
        """All steps that are left, stage after stage."""
        state, result = self.state, self.state.result
        first, done = state.position
        if hasattr(callback, "begin"):
            steps = [*self.config.steps[:first], done]
            callback.begin({s.name: n for s, n in zip(self.stages, steps, strict=False)})
        for number in range(first, len(self.stages)):
            stage, steps = self.stages[number], self.config.stages[number].steps
            if done == 0:
                state.enter(number)
            shared = self.group.wrapped(stage)
            steps_left = bar(range(done, steps), stage.name, steps, initial=done, shown=progress)
            started = time.perf_counter()
            before = result.seconds.get(stage.name, 0.0)
            for index in steps_left:
                step = self.method.at(index, steps)
                state.pending.append({**self.step(number, shared, step), **step.numbers})
                state.position = (number, index + 1)
                result.seconds[stage.name] = before + time.perf_counter() - started

                checkpoint = (index + 1) % self.config.checkpoint_every == 0
                if (index + 1) % LOG_EVERY == 0 or index + 1 == steps or checkpoint:
                    steps_left.set_postfix(
                        loss=f"{state.flush(stage, index + 1):.3f}", refresh=False
                    )
                    check_history(stage.name, result.history)
                if index + 1 >= YOUNG and (checkpoint or index + 1 == steps):
                    self.check_predictions(stage, index + 1)
                reason = self.call(callback, stage, step)
                if self.group.any(reason is not None):
                    self.save(out, CHECKPOINT, callback)
                    raise reason or StopTraining
                if checkpoint:  # after a flush: no log lost, no NaN kept
                    self.save(out, CHECKPOINT, callback)
            state.position, done = (number + 1, 0), 0
            last = number == len(self.stages) - 1
            self.save(out, CHECKPOINT if last else f"{stage.name}.pt", callback)

    def call(self, callback: Callback | None, stage: Stage, step: Step) -> StopTraining | None:
        """Call what wants to be called after a step; whether and why it wants to stop."""
        if callback is not None:
            try:
                callback(stage.name, step, self.method)
            except StopTraining as reason:
                return reason
            self.method.train()  # a callback may have evaluated
        return None

    def save(self, out: Path | None, name: str, callback: Callback | None) -> None:
        """Write a checkpoint where there is a folder, after the curves and what the callback keeps.

        So whatever a checkpoint covers is on the disk before it; the first process writes."""
        self.group.check_alike(self.method)
        if out is not None and self.group.first:
            if history := self.state.result.history:
                write_text(out / HISTORY, csv_text(history))
            getattr(callback, "flush", lambda: None)()
            self.state.save(out / name)

    def check_predictions(self, stage: Stage, done: int) -> None:
        """Warn where the student, or a teacher that follows it, has collapsed to one class."""
        networks = [("student", self.method.student)]
        if stage.after_step is not None and hasattr(self.method, "teacher"):
            networks.append(("teacher", self.method.teacher))
        check_prediction(stage.name, done, networks, self.image)

    def step(self, number: int, stage: Stage, step: Step) -> Logs:
        """One step: draw its batch, set its learning rates, and let the learners learn."""
        plan, group, seed = self.config.stages[number], self.group, (self.config.seed, number)
        draws = [*seed, step.index] if group.first else [*seed, step.index, group.number]
        torch.manual_seed(int(np.random.SeedSequence(draws).generate_state(1)[0]))
        sizes = plan.labeled_batch, plan.unlabeled_batch
        part = {"number": group.number, "parts": group.parts}
        batch = self.batches.batch(seed, step.index, *sizes, **part)
        batch = SemiBatch(
            self.engine.place_image(batch.image),
            batch.label.to(self.engine.device, non_blocking=True),
        )
        self.image = batch.image
        self.state.set_learning_rates(stage.learners, plan, step.index)
        with group.step():
            return self.learn(stage, step, batch, self.state.optimizers, self.engine)


def _learn(
    stage: Stage,
    step: Step,
    batch: SemiBatch,
    optimizers: dict[str, torch.optim.Optimizer],
    engine: Engine,
) -> Logs:
    """Every learner of a stage predicts, goes back and moves, one after the other."""
    logs: Logs = {}
    for learner in stage.learners:
        optimizer = optimizers[learner.name]
        optimizer.zero_grad(set_to_none=True)
        with engine.autocast():
            output = learner.training_step(batch, step)
        if not isinstance(output, StepOutput):
            raise ValueError(
                f"the training step of learner {learner.name!r} must return a StepOutput(loss, "
                f"logs), got {type(output).__name__}"
            )
        output.loss.backward()
        optimizer.step()
        logs |= {f"{learner.name}_loss": output.loss.detach(), **output.logs}
    if stage.after_step is not None:
        stage.after_step(step)
    return logs


def _checked(method: Method, source: Source, config: Config, out: Path | None) -> Path | None:
    """Everything that is known before the first step; the folder as a path."""
    stages = method.stages()
    if len(stages) != len(config.stages):
        names = [stage.name for stage in stages]
        raise ValueError(
            f"config must plan the stages {names}, got {counted(len(config.stages), 'plan')}"
        )
    method.check_plan(config.stages)
    unlabeled = max(plan.unlabeled_batch for plan in config.stages)
    if unlabeled and not source.split_labeled(config.labeled)[1]:
        raise no_unlabeled(unlabeled)
    if out is not None and not Path(out).is_dir():
        raise ValueError(f"out must be an existing folder, got {str(out)!r}")
    return None if out is None else Path(out)


def _training_batches(source: Source, config: Config, device: torch.device) -> Batches:
    """The training samples, on the device if it is a CUDA GPU and they fit into the budget."""
    batches = Batches(
        source,
        config.labeled,
        config.image_size,
        unlabeled=any(plan.unlabeled_batch for plan in config.stages),
        shrink=config.shrink,
        standardise=config.standardise,
    )
    check_samples(batches.labeled, batches.unlabeled)
    check_batches(config.stages, len(batches.labeled), len(batches.unlabeled))
    resident = device.type == "cuda" and not batches.streamed
    return ResidentBatches(batches, device) if resident else batches


def _folder(out: Path | None) -> Path:
    if out is None:
        raise ValueError("resume needs out=FOLDER, the folder of the interrupted run, got None")
    return Path(out)
