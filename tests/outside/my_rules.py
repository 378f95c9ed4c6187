"""A rule outside the package: any frozen dataclass with a call and `as_dict`."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor

from buarl.outside import code_name
from buarl.regions import Region


@dataclass(frozen=True)
class Doubtful:
    """Voxels whose largest probability is below a limit weigh more than the others."""

    limit: float = 0.5
    weight: float = 2.0

    def __call__(self, probs: Tensor) -> list[Region]:
        """Cut probabilities (B, C, *spatial) into the doubtful voxels and all others."""
        doubtful = probs.detach().amax(1) < self.limit
        return [Region(doubtful, self.weight), Region(~doubtful, 1.0)]

    def as_dict(self) -> dict:
        """Name and arguments, for JSON."""
        return {"name": code_name(type(self)), **asdict(self)}


def not_a_rule(limit: float = 0.5) -> float:
    """Makes something else."""
    return limit
