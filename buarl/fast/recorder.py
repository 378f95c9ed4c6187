"""Steps recorded as a CUDA graph and repeated: one launch where a step as written has thousands."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from buarl.data.batches import SemiBatch

Logs = dict[str, Tensor | float]


class Recorder:
    """Runs steps, and repeats a recording of them for as long as their constants hold.

    The first step with new constants runs as written, which also warms up what the recording must
    not wait for. A recording draws random numbers as the step would: from the seed of its turn.

    Args:
        device: A CUDA device.
    Raises:
        ValueError: another device.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise ValueError(f"only a CUDA GPU can record a step, got device {str(device)!r}")
        self._constants: Hashable = None
        self._replay: Callable[[], object] | None = None

    def __call__(
        self, compute: Callable[[SemiBatch], Logs], batch: SemiBatch, constants: Hashable
    ) -> Logs:
        """The logs of one step.

        Args:
            compute: The step, in work for the device alone; it moves the weights.
            batch: Of this step; always of the same shapes, on the device.
            constants: All that the host put into the step, by value.
        """
        if constants != self._constants:
            self._constants, self._replay = constants, None
            return compute(batch)
        if self._replay is None:
            self._batch = SemiBatch(*(tensor.clone() for tensor in batch))
            self._replay, self._logs = self._record(lambda: compute(self._batch))
        for place, tensor in zip(self._batch, batch, strict=True):
            place.copy_(tensor)
        self._replay()
        return {k: v.clone() if torch.is_tensor(v) else v for k, v in self._logs.items()}

    def _record(self, compute: Callable[[], Logs]) -> tuple[Callable[[], object], Logs]:
        """What repeats the work, and the places of its logs; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logs = compute()
        return graph.replay, logs


def move_numbers(optimizer: torch.optim.Optimizer) -> None:
    """Learning rates become tensors beside the weights: a recording would keep a plain number."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
        group["fused"] = True
        if "capturable" in group:  # Adam's counter of steps
            group["capturable"] = True
