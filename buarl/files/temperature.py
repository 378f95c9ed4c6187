"""Confidence that means something: logits divided by the temperature that a run has found.

What the number is and how it is found stands in `buarl.evaluation.calibration`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from buarl.arguments import short
from buarl.capsule import CALIBRATION, read_capsule
from buarl.evaluation.calibration import HIGHEST, LOWEST

Temperature = float | Literal["run"]
"""A number in 0.05 to 20, or "run": the one that the run fitted last; released weights keep it."""


class Tempered(nn.Module):
    """A network whose logits are divided by a temperature.

    Args:
        network: Images (B, 1, *spatial) to logits (B, C, *spatial).
        temperature: T, 0.05 to 20; above 1 the probabilities come closer to each other.
    Raises:
        ValueError: a temperature out of range.

    >>> import torch
    >>> Tempered(nn.Identity(), 2.0)(torch.tensor([4.0, 0.0]))
    tensor([2., 0.])
    """

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        if not LOWEST <= temperature <= HIGHEST:
            raise ValueError(
                f"temperature must lie in {LOWEST:g} to {HIGHEST:g}, got {short(temperature)}"
            )
        self.network, self.temperature = network, temperature

    def forward(self, image: Tensor) -> Tensor:
        """Logits / T."""
        return self.network(image) / self.temperature


def temperature_of_run(folder: Path) -> float:
    """The temperature that a run fitted last, on images of half its validation volumes.

    Args:
        folder: A finished run.
    Raises:
        ValueError: it kept none, or its files are damaged.
    """
    if (found := fitted_temperature(folder)) is None:
        raise ValueError(
            f"{folder}: kept no temperature, as it was trained without `watch_run` or has no "
            "validation volumes; give a number instead of run"
        )
    return found


def fitted_temperature(folder: Path) -> float | None:
    """As `temperature_of_run`; None where the run kept none."""
    if not (Path(folder) / CALIBRATION).is_file():
        return None
    rows = read_capsule(folder).calibration
    return rows[-1]["temperature"] if rows else None  # each moment as trained first, then fitted
