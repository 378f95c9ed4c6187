"""Steps recorded as a CUDA graph and repeated: one launch where a step as written has thousands.

What is recorded is a step of any method, which need not know of it: all that the host puts into a
step by value are `step.numbers`, and a recording is repeated for as long as they are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from buarl.data.batches import SemiBatch

Logs = dict[str, Tensor | float]


def recorded(learn: Callable[..., Logs], method: Any, device: torch.device) -> Callable[..., Logs]:
    """A function that takes steps as `learn` does, and repeats them from a recording.

    Args:
        learn: Takes a step: learn(stage, step, batch, ...) returns its logs.
        method: Whose steps they are, a `buarl.methods.Method`.
        device: A CUDA device.
    Raises:
        ValueError: another device; a method whose numbers change at every step, so that nothing
            could be repeated; later, at the first recording, a method whose step waits for the
            device.
    """
    name = type(method).__name__
    recorder = Recorder(device, name)
    middle = 500_000  # of a run so long that a ramp has time to stand still
    numbers = [method.at(middle + i, 2 * middle).numbers for i in range(3)]
    if all(one != next_one for one, next_one in pairwise(numbers)):
        raise ValueError(
            f"a step of {name} cannot be recorded, train without: at every step it has other "
            f"{', '.join(numbers[0])}"
        )

    def learn_recorded(stage: Any, step: Any, batch: SemiBatch, *others: Any) -> Logs:
        key = (stage.name, tuple(step.numbers.items()))
        return recorder(lambda placed: learn(stage, step, placed, *others), batch, key)

    return learn_recorded


class Recorder:
    """Runs steps, and repeats a recording of them for as long as their key is the same.

    The first step with a new key runs as written, which also warms up what the recording must not
    wait for. A recording draws random numbers as the step would: from the seed of its turn.

    Args:
        device: A CUDA device.
        name: Whose steps they are, for messages.
    Raises:
        ValueError: another device.
    """

    def __init__(self, device: torch.device, name: str) -> None:
        if device.type != "cuda":
            raise ValueError(f"only a CUDA GPU can record a step, got device {str(device)!r}")
        self.name = name
        self._key: Hashable = None
        self._replay: Callable[[], object] | None = None

    def __call__(
        self, compute: Callable[[SemiBatch], Logs], batch: SemiBatch, key: Hashable
    ) -> Logs:
        """The logs of one step.

        Args:
            compute: The step, in work for the device alone; it moves the weights.
            batch: The batch of this step, on the device; its shapes never change.
            key: All that the host puts into the step by value.
        Raises:
            ValueError: the step waits for the device and cannot be recorded.
        """
        if key != self._key:
            self._key, self._replay = key, None
            return compute(batch)
        if self._replay is None:
            self._batch = SemiBatch(*(tensor.clone() for tensor in batch))
            self._replay, self._logs = self._recorded(partial(compute, self._batch))
        for place, tensor in zip(self._batch, batch, strict=True):
            place.copy_(tensor)
        self._replay()
        return {k: v.clone() if torch.is_tensor(v) else v for k, v in self._logs.items()}

    def _recorded(self, compute: Callable[[], Logs]) -> tuple[Callable[[], object], Logs]:
        """`_record`, with what CUDA says of a step that waits put into words."""
        try:
            return self._record(compute)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ValueError(
                f"a step of {self.name} cannot be recorded, train without: CUDA refused it, as it "
                f"does when a step waits for the device ({str(error).splitlines()[0]})"
            ) from error

    def _record(self, compute: Callable[[], Logs]) -> tuple[Callable[[], object], Logs]:
        """What repeats the work, and the places of its logs; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logs = compute()
        return graph.replay, logs


def make_recordable(optimizer: torch.optim.Optimizer) -> None:
    """Learning rates become tensors beside the weights: a recording would keep a plain number.

    Momentum starts at zero and not at the first gradient, which is the same: torch's fused kernel
    cannot take weights that have some beside weights that have none yet.
    """
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
        group["fused"] = True
        if "capturable" in group:  # Adam's counter of steps
            group["capturable"] = True
        if group.get("momentum"):
            for weight in group["params"]:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
