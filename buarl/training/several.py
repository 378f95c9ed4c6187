"""Several processes that share one training, joined by Lightning Fabric.

Sums over a batch are those of all parts (`buarl.whole_batch`), gradients are averaged by the
wrapper around the student, and the teacher, which is not wrapped, follows the same student in every
process. The first process writes, prints and validates.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, distributed, nn

from buarl.data.batches import SemiBatch
from buarl.methods.base import Learner, Method, Stage, Step, StepOutput
from buarl.methods.recipe import StagePlan
from buarl.training.batch_norm import over_the_whole_batch
from buarl.training.devices import LAUNCHED, Devices, PeerLost
from buarl.training.group import Group
from buarl.whole_batch import batch_in_parts

LONG = timedelta(days=1)  # the first process may validate while the others wait
LOST = ("connection", "gloo", "nccl", "socket", "broken pipe", "peer")  # words of such errors


class Several(Group):
    """Processes joined by Lightning Fabric, one for each device.

    Args:
        devices: How many. This process must have been started as one of them.
    Raises:
        ValueError: another number was started, the extra is not installed, or there are not so
            many devices.
    """

    def __init__(self, devices: Devices) -> None:
        self.fabric = _fabric(devices)
        self.parts, self.number = devices.count, self.fabric.global_rank
        self.device, self.batch_norm = str(self.fabric.device), devices.batch_norm
        if self.fabric.world_size != self.parts:
            raise ValueError(
                f"{self.parts} processes must be started for {devices.devices} devices on "
                f"{devices.nodes} nodes, got {self.fabric.world_size}"
            )
        # What processes agree on between steps lies on the host: no device waits for it.
        self.host = distributed.new_group(backend="gloo", timeout=LONG)

    def check(self, method: Method, stages: Sequence[StagePlan], **asked: object) -> None:
        """See `Group.check`."""
        if method.one_device_only:
            raise ValueError(
                f"{type(method).__name__} trains on one device only: {method.one_device_only}"
            )
        for option in (name for name, value in asked.items() if value):
            raise ValueError(f"{option} is for one device only, got {self.parts} devices")
        for name in ("labeled_batch", "unlabeled_batch"):
            for size in (getattr(plan, name) for plan in stages):
                if size % self.parts:
                    raise ValueError(
                        f"{name} must be a multiple of the {self.parts} devices, got {size}; "
                        f"--set {name}={-(-size // self.parts) * self.parts} is one"
                    )
        try:
            method.check_plan([self._part(plan) for plan in stages])
        except ValueError as error:
            raise ValueError(f"on each of {self.parts} devices {error}") from error

    def _part(self, plan: StagePlan) -> StagePlan:
        sizes = plan.labeled_batch // self.parts, plan.unlabeled_batch // self.parts
        return replace(plan, labeled_batch=sizes[0], unlabeled_batch=sizes[1])

    @contextmanager
    def joined(self, method: Method) -> Iterator[None]:
        """See `Group.joined`; an error because another process is gone becomes `PeerLost`."""
        self.method = method
        with ExitStack() as stack:
            if self.batch_norm == "synchronized":
                stack.enter_context(over_the_whole_batch(method, self.number))
            stack.enter_context(warnings.catch_warnings())
            # Which parameters a step reaches is up to the method; torch comments on both cases.
            for said in (".*find_unused_parameters.*", ".*Grad strides do not match.*"):
                warnings.filterwarnings("ignore", message=said)
            stack.enter_context(_peers_may_go())
            yield

    def step(self) -> AbstractContextManager:
        """See `Group.step`."""
        return batch_in_parts(self)

    def total(self, part: Tensor) -> Tensor:
        """See `WholeBatch.total`; the gradient that comes back is summed over the parts too."""
        return _Total.apply(part)

    def least(self, part: Tensor) -> Tensor:
        """See `WholeBatch.least`."""
        return _reduced(part, distributed.ReduceOp.MIN)

    def drawn_once(self, drawn: Tensor) -> Tensor:
        """See `WholeBatch.drawn_once`."""
        drawn = drawn.contiguous()
        distributed.broadcast(drawn, src=0)
        return drawn

    def wrapped(self, stage: Stage) -> Stage:
        """See `Group.wrapped`; every process begins with the weights of the first."""
        learners = tuple(
            replace(each, training_step=self.fabric.setup_module(_StepOf(each), False))
            for each in stage.learners
        )
        after_step = stage.after_step
        if self.batch_norm == "per_device":
            after_step = partial(self._average_statistics, stage.after_step)
        return replace(stage, learners=learners, after_step=after_step)

    def _average_statistics(self, after_step: Any, step: Step) -> None:
        floats = [each for each in self.method.buffers() if each.is_floating_point()]
        if floats:
            flat = torch.cat([each.flatten().double() for each in floats])
            parts = (self.total(flat) / self.parts).split([each.numel() for each in floats])
            for each, part in zip(floats, parts, strict=True):
                each.copy_(part.view_as(each))
        if after_step is not None:
            after_step(step)

    def any(self, stop: bool) -> bool:
        """See `Group.any`."""
        asked = torch.tensor(int(stop))
        distributed.all_reduce(asked, distributed.ReduceOp.MAX, group=self.host)
        return bool(asked)

    def mean(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """See `Group.mean`."""
        values = torch.tensor(list(numbers.values()), dtype=torch.float64)
        distributed.all_reduce(values, group=self.host)
        return dict(zip(numbers, (values / self.parts).tolist(), strict=True))

    def wait(self) -> None:
        """See `Group.wait`."""
        with _peers_may_go():
            self.any(False)

    def check_alike(self, module: nn.Module) -> None:
        """See `Group.check_alike`; compares a sum of the bits of all weights and buffers."""
        whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        state = [each.detach() for each in (*module.parameters(), *module.buffers())]
        bits = [each.contiguous().view(whole[each.element_size()]).long().sum() for each in state]
        total = int(torch.stack(bits).sum())
        bounds = torch.tensor([total, -total])
        distributed.all_reduce(bounds, distributed.ReduceOp.MIN, group=self.host)
        if int(bounds.sum()):
            raise ValueError(
                "the processes of this training hold different weights; a step of the method must "
                "do the same in each of them, whichever images it sees"
            )


class _StepOf(nn.Module):
    """A learner's module whose forward pass is its training step: what the wrapper goes around.

    So gradients are averaged whatever parts of the module a step calls, and how often.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.module, self.training_step = learner.module, learner.training_step

    def forward(self, batch: SemiBatch, step: Step) -> StepOutput:
        return self.training_step(batch, step)


class _Total(torch.autograd.Function):
    """The sum over all parts. Each of them needs the gradient of all that is made of it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return _reduced(part, distributed.ReduceOp.SUM)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _reduced(gradient, distributed.ReduceOp.SUM)


def _reduced(part: Tensor, how: Any) -> Tensor:
    part = part.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(part, how)
    return part


@contextmanager
def _peers_may_go() -> Iterator[None]:
    """Turn what torch says of a connection that was closed into `PeerLost`."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).lower()
        if isinstance(error, distributed.DistError) or any(word in said for word in LOST):
            raise PeerLost("another process of this training has ended") from error
        raise


def _fabric(devices: Devices) -> Any:
    """Fabric with its processes joined, silent about it."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments import LightningEnvironment
        from lightning.fabric.strategies import DDPStrategy
    except ImportError as error:
        raise ValueError(
            "several devices need Lightning Fabric: pip install --require-hashes --no-deps "
            "-r requirements-devices.txt, or the extra buarl[devices]"
        ) from error
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    kind = devices.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda" and (there := torch.cuda.device_count()) < devices.devices:
        raise ValueError(f"devices must be at most the {there} GPUs here, got {devices.devices}")
    own = LightningEnvironment() if LAUNCHED in os.environ else None
    options: dict[str, bool] = {"find_unused_parameters": True}  # a network may have such parts
    # Statistics are alike in all processes already; torch 2.13 has a new name for it.
    known = signature(nn.parallel.DistributedDataParallel).parameters
    options["forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"] = (
        False
    )
    strategy = DDPStrategy(cluster_environment=own, **options)
    fabric = Fabric(
        accelerator=kind, strategy=strategy, devices=devices.devices, num_nodes=devices.nodes
    )
    with _peers_may_go():
        fabric.launch()
    return fabric
