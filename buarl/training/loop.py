"""The only training loop: `fit` steps every method of the package."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from buarl.data.batches import Batches, SemiBatch
from buarl.data.source import Source
from buarl.fast.memory import hold_memory
from buarl.fast.recorder import Recorder, move_numbers
from buarl.fast.resident import ResidentBatches
from buarl.methods.base import Method, Player, Stage, Step
from buarl.training.checkpoint import load_state, save_state
from buarl.training.config import Config
from buarl.training.engine import Engine, choose_engine

LOG_EVERY = 10
CHECKPOINT = "last.pt"
Callback = Callable[[str, Step, Method], None]


@dataclass
class FitResult:
    """What training leaves behind.

    history: One dict per LOG_EVERY steps: stage, step, lr, means of the logs. seconds: Per stage.

    A block of steps also ends at a checkpoint and at the end of a stage.

    network: What to evaluate, the student after the last step.
    """

    network: torch.nn.Module
    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def fit(
    method: Method,
    source: Source,
    config: Config,
    *,
    out: Path | None = None,
    resume: bool = False,
    begin_from: Path | None = None,
    device: str = "auto",
    compiler: str | None = None,
    record: bool = False,
    progress: bool = False,
    callback: Callback | None = None,
) -> FitResult:
    """Train a method; the last weights stay in `method` (and its student is what to evaluate).

    A run is a function of config.seed: batches, dropout, noise and boxes are drawn anew at every
    step from (seed, stage, step), so a resumed run equals an uninterrupted one bit for bit.

    Args:
        method: Fresh, with its networks. source: Training samples. config: Every number.
        out: Existing folder for `last.pt` and the end of each earlier stage, `<stage>.pt`.
        resume: Go on from `out/last.pt`. begin_from: Start after the stage this checkpoint ended,
            unless resumed.
        device: "auto" or a torch device. compiler: See `choose_engine`.
        record: Repeat steps as a CUDA graph, see `Recorder`. progress: Show a bar.
        callback: Called after every step with stage name, Step and method.
    Raises:
        ValueError: stages that do not fit the config, a missing checkpoint, a method or a device
            whose steps cannot be recorded.
        FloatingPointError: the loss became NaN or infinite; the message says where.
    """
    stages = method.stages()
    if len(stages) != len(config.stages):
        names = [stage.name for stage in stages]
        raise ValueError(f"config must plan the stages {names}, got {len(config.stages)} plans")
    engine = choose_engine(device, config.precision, compiler=compiler)
    recorder = Recorder(engine.device) if record else None
    if record and method.constants(Step(0, 1)) is None:
        raise ValueError(f"a step of {type(method).__name__} cannot be recorded: train without")
    if engine.device.type == "cpu":
        hold_memory()
    wants_unlabeled = any(plan.unlabeled_batch for plan in config.stages)
    batches = Batches(
        source,
        config.labeled,
        config.image_size,
        unlabeled=wants_unlabeled,
        shrink=config.shrink,
        standardise=config.standardise,
    )
    if engine.device.type != "cpu":
        batches = ResidentBatches(batches, engine.device)
    with torch.random.fork_rng():
        run = _Run(method, stages, config, engine, batches, out, recorder)
        if resume or begin_from is not None:
            run.load(_folder(out) / CHECKPOINT if resume else begin_from)
        return run.train(progress, callback)


class _Run:
    """A run in progress: where it is, its optimizers, its history."""

    def __init__(
        self,
        method: Method,
        stages: Sequence[Stage],
        config: Config,
        engine: Engine,
        batches: Batches,
        out: Path | None,
        recorder: Recorder | None,
    ) -> None:
        self.method, self.stages, self.config, self.engine = method, stages, config, engine
        self.batches, self.out, self.recorder = batches, out, recorder
        self.position = (0, 0)  # stage, next step
        self.result = FitResult(method.student)
        engine.place(method).train()
        engine.compile(method.children())
        self.optimizers = self._new_optimizers(0)
        self.pending: list[dict[str, Tensor | float]] = []

    def train(self, progress: bool, callback: Callback | None) -> FitResult:
        first, done = self.position
        for index in range(first, len(self.stages)):
            stage, steps = self.stages[index], self.config.stages[index].steps
            if done == 0:
                self._enter(index)
            bar = tqdm(range(done, steps), stage.name, steps, initial=done, disable=not progress)
            started = time.perf_counter()
            before = self.result.seconds.get(stage.name, 0.0)
            for number in bar:
                self._step(index, Step(number, steps))
                self.position = (index, number + 1)
                self.result.seconds[stage.name] = before + time.perf_counter() - started
                checkpoint = (number + 1) % self.config.checkpoint_every == 0
                if (number + 1) % LOG_EVERY == 0 or number == steps - 1 or checkpoint:
                    bar.set_postfix(loss=f"{self._flush(stage, number):.3f}")
                if callback is not None:
                    callback(stage.name, Step(number, steps), self.method)
                    self.method.train()  # a callback may have evaluated
                if self.out is not None and checkpoint:  # after a flush: no log lost, no NaN kept
                    self.save(self.out / CHECKPOINT)
            self.position, done = (index + 1, 0), 0
            if self.out is not None:
                last = index == len(self.stages) - 1
                self.save(self.out / (CHECKPOINT if last else f"{stage.name}.pt"))
        return self.result

    def _enter(self, index: int) -> None:
        stage = self.stages[index]
        if stage.start is not None:
            stage.start()
        if not (stage.keep_optimizer and index):
            self.optimizers = self._new_optimizers(index)

    def _new_optimizers(self, index: int) -> dict[str, torch.optim.Optimizer]:
        if index >= len(self.stages):
            return {}
        optimizers = {p.name: p.optimizer.build(p.module) for p in self.stages[index].players}
        if self.recorder is not None:
            for optimizer in optimizers.values():
                move_numbers(optimizer)
        return optimizers

    def _step(self, index: int, step: Step) -> None:
        stage, plan = self.stages[index], self.config.stages[index]
        seed = (self.config.seed, index)
        torch.manual_seed(int(np.random.SeedSequence([*seed, step.index]).generate_state(1)[0]))
        batch = self.batches.batch(seed, step.index, plan.labeled_batch, plan.unlabeled_batch)
        batch = SemiBatch(
            self.engine.place_image(batch.labeled_image),
            batch.label.to(self.engine.device, non_blocking=True),
            self.engine.place_image(batch.unlabeled_image),
        )
        for player in stage.players:
            schedule = player.schedule or plan.schedule
            self._set_rate(player, schedule(step.index, plan.steps))
        play = partial(self._play, stage, step)
        if self.recorder is not None:
            constants = (index, self.method.constants(step))
            play = partial(self.recorder, play, constants=constants)
        self.pending.append(play(batch))

    def _play(self, stage: Stage, step: Step, batch: SemiBatch) -> dict[str, Tensor | float]:
        logs: dict[str, Tensor | float] = {}
        for player in stage.players:
            optimizer = self.optimizers[player.name]
            optimizer.zero_grad(set_to_none=True)
            with self.engine.autocast():
                output = player.training_step(batch, step)
            output.loss.backward()
            optimizer.step()
            logs |= {f"{player.name}_loss": output.loss.detach(), **output.logs}
        if stage.after_step is not None:
            stage.after_step(step)
        return logs

    def _set_rate(self, player: Player, factor: float) -> None:
        lr = player.optimizer.lr * factor
        for group in self.optimizers[player.name].param_groups:
            if torch.is_tensor(group["lr"]):  # a recording reads it from where it lies
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def _flush(self, stage: Stage, number: int) -> float:
        """Move pending logs into the history; the one place that waits for the device."""
        keys = self.pending[0]
        means = {key: float(np.mean([float(logs[key]) for logs in self.pending])) for key in keys}
        self.pending = []
        lr = float(self.optimizers[stage.players[0].name].param_groups[0]["lr"])
        row = {"stage": stage.name, "step": number + 1, "lr": lr}
        self.result.history.append({**row, **means})
        loss = means[f"{stage.players[0].name}_loss"]
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss must stay finite, got {loss} in stage {stage.name!r} within the "
                f"{LOG_EVERY} steps before step {number + 1}"
            )
        return loss

    def save(self, path: Path) -> None:
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

    def load(self, path: Path) -> None:
        state = load_state(path, self.engine.device)
        self.position = tuple(state["position"])
        self.method.load_state_dict(state["method"])
        index = self.position[0]
        self.optimizers = self._new_optimizers(min(index, len(self.stages) - 1))
        for name, optimizer in self.optimizers.items():
            if name in state["optimizers"]:
                moved = state["optimizers"][name]["state"]
                optimizer.load_state_dict({**optimizer.state_dict(), "state": moved})
        self.result.history, self.result.seconds = state["history"], state["seconds"]


def _folder(out: Path | None) -> Path:
    if out is None:
        raise ValueError("resume needs out=FOLDER, the folder of the interrupted run, got None")
    return Path(out)
