"""Learning rates and ramps as functions of the step, for any length (docs/protocol.md 4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass


def ramp(step: int, length: float, levels: int = 200) -> float:
    """The sigmoid-shaped ramp exp(-5 (1 - t)^2), from 0.0067 at 0 to 1 at `length` steps.

    Args:
        step: 0-based. length: Steps until it reaches 1; 0 means always 1.
        levels: t moves in that many equal jumps. The references count blocks of 150 steps: 200
            levels over 30,000 steps (ACDC), 40 over 6,000 (LA).
    """
    if length == 0:
        return 1.0
    level = min(math.floor(step * levels / length), levels)
    return math.exp(-5 * (1 - level / levels) ** 2)


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step."""

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate."""
        return 1.0


@dataclass(frozen=True)
class Poly:
    """(1 - step / steps) ** power (SSL4MIS)."""

    power: float = 0.9

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate."""
        return (1 - step / steps) ** self.power


@dataclass(frozen=True)
class StepDecay:
    """A tenth after every `share` of the run (UA-MT: 2,500 of 6,000; BCP on LA: of 15,000)."""

    share: float

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate."""
        return 0.1 ** math.floor(step / (self.share * steps) + 1e-9)


Schedule = Constant | Poly | StepDecay
