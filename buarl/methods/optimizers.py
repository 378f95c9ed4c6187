"""Optimizers as data, so that a method and a row can name one before there are any weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn

from buarl.methods.options import Weight, check_options


class Optimizer(ABC):
    """An optimizer that is still to be built; `lr` is its learning rate before any schedule."""

    lr: float

    @abstractmethod
    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer of the module's parameters."""


@dataclass(frozen=True)
class Sgd(Optimizer):
    """Stochastic gradient descent as every method of the paper uses it (docs/protocol.md 5).

    >>> Sgd(lr=0.02).build(nn.Linear(1, 1)).param_groups[0]["momentum"]
    0.9
    """

    lr: Weight = 0.01
    momentum: Weight = 0.9
    weight_decay: Weight = 1e-4

    def __post_init__(self) -> None:
        check_options(self, "Sgd")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer of the module's parameters."""
        return torch.optim.SGD(
            module.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay
        )


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: SASSNet's discriminator; the toy preset, too short for SGD to get anywhere.

    >>> Adam().build(nn.Linear(1, 1)).param_groups[0]["lr"]
    0.004
    """

    lr: Weight = 0.004
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        check_options(self, "Adam")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer of the module's parameters."""
        return torch.optim.Adam(module.parameters(), self.lr, self.betas)
