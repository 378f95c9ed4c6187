"""The whole training step, measured where users run it: inside `fit`, in turn with a plain one."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import memory_given_back
from benchmarks.plain import FilesEveryStep, PlainBcp
from benchmarks.scene import SEED, new_bcp, twin_of, without_dropout
from buarl.data.batches import Batches, SemiBatch
from buarl.data.h5 import Sample
from buarl.data.source import Source
from buarl.dice import DICE_BCP_ACDC, DICE_BCP_LA
from buarl.methods.base import Method, Step
from buarl.methods.recipe import StagePlan
from buarl.training.config import Config
from buarl.training.engine import Engine
from buarl.training.loop import fit

SETTINGS = {  # BCP on ACDC and on LA
    2: {"dice": DICE_BCP_ACDC},
    3: {
        "dice": DICE_BCP_LA,
        "mixed_label": True,
        "unlabeled_outside_first": False,
        "keep_optimizer": False,
        "ema_buffers": False,
    },
}


class MadeVolumes(Source):
    """Noise around a box, so that a 3-D step can be measured without any data."""

    name, rank, class_names, licence = "made", 3, ("background", "box"), "synthetic"

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        self.shape, self.count = shape, count

    def training_names(self) -> list[str]:
        """Numbers."""
        return [str(i) for i in range(self.count)]

    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """A box in the middle, brighter than the noise."""
        label = np.zeros(self.shape, np.uint8)
        label[tuple(slice(n // 3, 2 * n // 3) for n in self.shape)] = 1
        noise = np.random.default_rng(int(name)).normal(0, 0.5, self.shape)
        return Sample(name, (label + noise).astype(np.float32), label if labeled else None)

    def listed(self, split: str) -> list[str]:
        """The same for every split."""
        return self.training_names()

    def volume_path(self, case: str) -> Path:
        """There is no file."""
        return Path(case)

    def volume(self, case: str) -> Sample:
        """As in training."""
        return self.training_sample(case)


@dataclass
class WholeStep:
    """One BCP step of stage 2 in both forms.

    engine: The device and the precision.
    source: Where the images come from.
    image_size: Training size or patch.
    width: Channels of the first level of the network.
    size: Labeled samples per step, and as many unlabeled ones.
    record: Ours as a CUDA graph.
    block: Steps between two looks at the clock; on a GPU several, as the host runs ahead.
    """

    engine: Engine
    source: Source
    image_size: tuple[int, ...]
    width: int
    size: int
    record: bool = False
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    first_stage: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.block = 1 if self.engine.device.type == "cpu" else 10
        rank, batches = self.source.rank, Batches(self.source, None, self.image_size)
        self.from_files = not isinstance(self.source, MadeVolumes)
        self.batches = FilesEveryStep(batches, self.source) if self.from_files else batches
        self.new = lambda: new_bcp(rank, self.source.num_classes, self.width, **SETTINGS[rank])
        self.twin = self.new_twin()

    @property
    def name(self) -> str:
        """What it is called in the table."""
        size = "x".join(map(str, self.image_size))
        name = f"whole BCP step, {self.size} + {self.size} of {size}, {self.engine.precision}"
        return name + ", compiled" * bool(self.engine.compiler) + ", recorded" * self.record

    def new_twin(self) -> PlainBcp:
        """A plain counterpart with the first weights."""
        return twin_of(self.new(), self.engine.device)

    def batch(self, step: int) -> SemiBatch:
        """The plain counterpart's batch."""
        batch = self.batches.batch((SEED, 1), step, self.size, self.size)
        return batch.to(self.engine.device)

    def plain_once(self) -> float:
        """A plain step; its loss."""
        return self.twin.step(self.batch(0))

    def fitted(
        self, steps: int, callback: Callable | None = None, method: Method | None = None
    ) -> float:
        """`fit` with so many steps in either stage; the mean of the last ten losses."""
        plans = (StagePlan(steps, self.size, 0), StagePlan(steps, self.size, self.size))
        config = Config(
            "bench", self.image_size, plans, None, SEED, precision=self.engine.precision
        )
        device = str(self.engine.device)
        result = fit(
            method or self.new(),
            self.source,
            config,
            device=device,
            compiler=self.engine.compiler,
            record=self.record,
            callback=callback,
        )
        return result.history[-1]["student_loss"]

    def measure(self, repeats: int) -> None:
        """Fill the three lists with seconds per step; the first block of either stage warms up."""
        mark = 0.0

        def clock(stage: str, step: Step, method: Method) -> None:
            nonlocal mark
            if (step.index + 1) % self.block:
                return
            ours = self._now() - mark
            started = self._now()
            if stage == "selftrain":
                with memory_given_back():
                    self.twin.step(self.batch(step.index))
            mark = self._now()
            if step.index >= self.block:
                (self.ours if stage == "selftrain" else self.first_stage).append(ours / self.block)
                if stage == "selftrain":
                    self.plain.append(mark - started)

        self.fitted((repeats + 1) * self.block, clock)

    def difference(self) -> float:
        """Relative difference of the loss of stage 2's first step, both without dropout; recorded
        steps are compared to those as written, over six steps and with dropout."""
        if self.record:
            ours, written = self.fitted(6), replace(self, record=False).fitted(6)
            return abs(ours - written) / abs(written)
        weights: dict[str, torch.Tensor] = {}

        def remember(stage: str, step: Step, method: Method) -> None:
            if stage == "pretrain":
                weights.update(deepcopy(method.student.state_dict()))

        method, twin = self.new(), self.new_twin()
        with without_dropout(method, twin.student, twin.teacher):
            ours = self.fitted(1, remember, method)
            for network in (twin.student, twin.teacher):
                network.load_state_dict(weights)
            seed = np.random.SeedSequence([SEED, 1, 0]).generate_state(1)  # as `fit` seeds a step
            torch.manual_seed(int(seed[0]))
            plain = twin.step(self.batch(0))
        return abs(ours - plain) / abs(plain)

    def _now(self) -> float:
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize(self.engine.device)
        return time.perf_counter()
