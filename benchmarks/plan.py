"""What is to be measured, and one measured part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buarl.training.engine import Precision


@dataclass(frozen=True)
class Plan:
    """What to measure.

    device, precision: See `choose_engine`.
    source, root: Slices; with "la" the 3-D step takes its scans and the slices are the phantom's.
    size: Height and width of the slices.
    batch: Labeled slices of a step, and as many unlabeled ones.
    width: Channels of the first level of the networks.
    patch, batch_3d: The same of the 3-D step; None is the paper's on a GPU, less on a CPU.
    repeats: Pairs per part.
    record: Whole steps also recorded; None: on a GPU.
    compiler: Whole steps also compiled, by this backend of torch.compile.
    growth_*: Points of the three curves.
    """

    device: str = "auto"
    precision: Precision = "auto"
    source: str = "phantom"
    root: Path | None = None
    size: int = 256
    batch: int = 12
    width: int = 16
    patch: tuple[int, int, int] | None = None
    batch_3d: int = 4
    repeats: int = 7
    record: bool | None = None
    compiler: str | None = None
    growth_size: Sequence[int] = (64, 96, 128, 192, 256)
    growth_batch: Sequence[int] = (2, 6, 12, 24)
    growth_classes: Sequence[int] = (2, 4, 8)

    @classmethod
    def quick(cls, **changes: Any) -> Plan:
        """Seconds instead of minutes: every line, no meaning."""
        tiny = {"size": 32, "batch": 4, "width": 2, "patch": (32, 32, 16), "batch_3d": 4}
        curves = {"growth_size": (16, 32), "growth_batch": (2, 4), "growth_classes": (2, 3)}
        return cls(**{**tiny, "repeats": 2, **curves, **changes})


@dataclass(frozen=True)
class Line:
    """One measured part; times in seconds, memory in MiB, difference as `compared` says."""

    name: str
    plain_name: str
    ours: list[float]
    plain: list[float]
    difference: float | None
    compared: str
    goal: str
    limit: str
    gflop: float | None = None
    ours_mib: float | None = None
    plain_mib: float | None = None
    units: int = 1
    first_stage: list[float] = field(default_factory=list)  # of a whole step
