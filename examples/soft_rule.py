"""A rule of your own: a frozen dataclass whose fields are its arguments, and `cut`.

    buarl train --method mean_teacher --unsupervised pseudo_label \\
        --unlabeled-rule examples/soft_rule.py:SoftCertainty \\
        --unlabeled-rule-option temperature=0.5 --out runs/soft
    buarl evaluate runs/soft --code examples/soft_rule.py:SoftCertainty
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from buarl.entropy import entropy_of_probs
from buarl.regions import Region, Rule


@dataclass(frozen=True)
class SoftCertainty(Rule):
    """One region with every voxel, each of the weight exp(-H / temperature).

    Args:
        temperature: Nats of entropy H that take a voxel's weight down to 1/e.

    >>> rule = SoftCertainty(temperature=0.5)
    >>> (region,) = rule(torch.tensor([[[1.0, 0.5], [0.0, 0.5]]]))  # a sure voxel, a torn one
    >>> region.weight  # a map of weights: 1, and exp(-2 ln 2)
    tensor([[1.0000, 0.2500]])
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must lie above 0, got {self.temperature}")

    def cut(self, probs: Tensor) -> list[Region]:
        """One region; probs are (B, C, *spatial), its mask and its map (B, *spatial)."""
        weight = (-entropy_of_probs(probs) / self.temperature).exp()
        return [Region(torch.ones_like(weight, dtype=torch.bool), weight)]
