"""Learning rates and ramps as functions of the step, for runs of any length.

All of them are given as shares of a run, so a short run has the shape of the published one. Source
of each number: docs/protocol.md 4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from buarl.arguments import check_count, check_number


def ramp(step: int, length: float, levels: int = 200) -> float:
    """The sigmoid-shaped ramp exp(-5 (1 - t)^2) of a consistency weight.

    Args:
        step: 0-based.
        length: Steps until it reaches 1; 0 means always 1.
        levels: In how many equal jumps t rises from 0 to 1. The references count blocks of 150
            steps: 200 levels over 30,000 steps (ACDC), 40 over 6,000 (LA).
    Returns:
        0.0067 at step 0, 1 from step `length` on.
    Raises:
        ValueError: a step or a length below 0, or fewer than one level.

    >>> [round(ramp(step, 30_000), 4) for step in (0, 15_000, 30_000)]
    [0.0067, 0.2865, 1.0]
    """
    step = check_number("step", step, 0)
    length = check_number("ramp length", length, 0)
    levels = check_count("ramp levels", levels, 1)
    if step >= length:
        return 1.0
    level = min(math.floor(step * levels / length), levels)
    return math.exp(-5 * (1 - level / levels) ** 2)


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step.

    >>> Constant()(step=500, steps=1000)
    1.0
    """

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate at a step, 0-based, of `steps` in all."""
        _check_step(step, steps)
        return 1.0


@dataclass(frozen=True)
class Poly:
    """Polynomial decay (1 - step / steps)^power, as in SSL4MIS.

    Args:
        power: Above 0; 1 is a straight line.
    Raises:
        ValueError: a power not above 0; a step outside the run.

    >>> round(Poly()(step=500, steps=1000), 4)
    0.5359
    """

    power: float = 0.9

    def __post_init__(self) -> None:
        object.__setattr__(self, "power", check_number("power", self.power, 0))  # frozen
        if self.power == 0:
            raise ValueError("power must lie above 0, got 0; a rate that stays is Constant()")

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate at a step, 0-based, of `steps` in all."""
        step, steps = _check_step(step, steps)
        return (1 - step / steps) ** self.power


@dataclass(frozen=True)
class StepDecay:
    """A tenth of the rate after every share of the run.

    Args:
        share: Above 0: UA-MT drops after 2,500 of 6,000 steps, BCP on LA of 15,000.
    Raises:
        ValueError: a share not above 0; a step outside the run.

    >>> decay = StepDecay(share=0.4)
    >>> [round(decay(step, steps=10), 2) for step in (0, 3, 4, 8)]
    [1.0, 1.0, 0.1, 0.01]
    """

    share: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", check_number("share of the run", self.share, 0))
        if self.share == 0:
            raise ValueError("share of the run must be above 0, got 0")

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate at a step, 0-based, of `steps` in all."""
        step, steps = _check_step(step, steps)
        drops = min(step / (self.share * steps) + 1e-9, 1000)  # 0.1^1000 is 0 already
        return 0.1 ** math.floor(drops)


@dataclass(frozen=True)
class OneCycle:
    """Up in a straight line, then down along a cosine: a short run affords a large rate.

    The factor climbs from `first` to 1 over the first `warm_up` of the run and falls to `last` at
    its end. Every step stands for its middle, so the factor is never quite 0 nor quite 1.
    Source: Smith, Topin, arXiv 1708.07120, with a cosine for the second straight line.

    Args:
        warm_up: Share of the run that climbs, above 0 and below 1.
        first: Factor at the beginning, 0 to 1.
        last: Factor at the end, 0 to 1.
    Raises:
        ValueError: a number outside its range; a step outside the run.

    >>> [round(OneCycle()(step, steps=10), 3) for step in (0, 1, 2, 5, 9)]
    [0.287, 0.762, 0.99, 0.598, 0.012]
    """

    warm_up: float = 0.2
    first: float = 0.05
    last: float = 0.002

    def __post_init__(self) -> None:
        for name in ("warm_up", "first", "last"):
            value = check_number(f"{name} of a one-cycle schedule", getattr(self, name), 0, 1)
            object.__setattr__(self, name, value)  # frozen
        if self.warm_up in (0, 1):
            raise ValueError(f"warm_up must lie between 0 and 1, got {self.warm_up}")

    def __call__(self, step: int, steps: int) -> float:
        """Factor on the initial rate at a step, 0-based, of `steps` in all."""
        step, steps = _check_step(step, steps)
        place = min((step + 0.5) / steps, 1.0)
        if place < self.warm_up:
            return self.first + (1 - self.first) * place / self.warm_up
        fall = (place - self.warm_up) / (1 - self.warm_up)
        return self.last + (1 - self.last) * (1 + math.cos(math.pi * fall)) / 2


Schedule = Constant | Poly | StepDecay | OneCycle


def _check_step(step: int, steps: int) -> tuple[int, int]:
    steps = check_number("steps", steps, 1)
    return check_number("step", step, 0, steps), steps
