"""One training on several devices or machines: how many there are, and who can join them.

Every process has one device and an equal part of every batch, and together they do what one process
does with the whole batch. `buarl train --devices 4` starts the processes; so do `srun` and
`torchrun`. A notebook cannot.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from buarl.arguments import check_choice, check_count
from buarl.outside import Code, code_name
from buarl.training.group import ALONE, Group

BatchNorm = Literal["synchronized", "per_device"]
LAUNCHED = "BUARL_LAUNCHED"  # set for the processes that `buarl train --devices N` starts
_joined: dict[Devices, Group] = {}


class PeerLost(Exception):
    """Another process of this training has ended, so this one cannot go on."""


class NotStarted(ValueError):
    """Several devices were asked for where no processes can be started for them."""

    def _render_traceback_(self) -> list[str]:
        """A notebook shows the sentence alone."""
        return [str(self)]


@dataclass(frozen=True)
class Devices:
    """How many devices train one run.

    Args:
        devices: Of every machine.
        nodes: How many machines.
        device: "auto", "cpu" (then a device is a process) or "cuda".
        batch_norm: Over what batch normalization takes its statistics while training.
            "synchronized": the whole batch, as one process does. "per_device": the part of each
            device, which spares some exchanges; running statistics are averaged after every step.
    Raises:
        TypeError, ValueError: an argument out of its range.

    >>> Devices(devices=4, nodes=2).count
    8
    """

    devices: int = 1
    nodes: int = 1
    device: str = "auto"
    batch_norm: BatchNorm = "synchronized"

    def __post_init__(self) -> None:
        check_count("devices", self.devices, 1, 1024)
        check_count("nodes", self.nodes, 1, 4096)
        check_choice("batch_norm", self.batch_norm, get_args(BatchNorm))
        if self.count > 1 and self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(
                f"device must be auto, cpu or cuda where several are used, got {self.device!r}"
            )

    @property
    def count(self) -> int:
        """All devices, and as many processes."""
        return self.devices * self.nodes

    def join(self) -> Group:
        """The group of this training, in a process that was started for it.

        Raises:
            NotStarted: this process was started alone.
            ValueError: the extra is not installed, or there are not so many devices.
        """
        if self.count == 1:
            return ALONE
        if not started():
            raise NotStarted(f"{self.count} devices need a process each, and this one is alone")
        if self not in _joined:
            from buarl.training.several import Several  # needs the extra

            _joined[self] = Several(self)
        return _joined[self]

    def command(self, out: Path, pretrained: Path | None = None, code: Code = ()) -> str:
        """What to type into a terminal, where a notebook cannot start what it needs.

        Args:
            out: The run folder, which has its run.json.
            pretrained: Another run whose first stage is taken over.
            code: What the run uses from outside the package.

        >>> Devices(4).command(Path("runs/mine")).split(": ")[-1]
        'python -m buarl train --resume runs/mine --devices 4'
        """
        named = {
            "resume": out,
            "devices": self.devices,
            "nodes": self.nodes if self.nodes > 1 else None,
            "batch-norm": self.batch_norm if self.batch_norm != "synchronized" else None,
            "device": self.device if self.device != "auto" else None,
            "pretrained": pretrained,
        }
        words = [f"--{name} {shlex.quote(str(value))}" for name, value in named.items() if value]
        words += [f"--code {each if isinstance(each, str) else code_name(each)}" for each in code]
        return (
            f"{out}: begun. Every device needs a process of its own, which a notebook or a script "
            "that runs alone cannot become; type in a terminal: python -m buarl train "
            f"{' '.join(words)}"
        )


def started() -> bool:
    """Whether this process was started as one of several, by us, `torchrun` or `srun`."""
    by_slurm = "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"
    return "LOCAL_RANK" in os.environ or by_slurm
