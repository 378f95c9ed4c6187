"""What a method is: networks, players, stages, and one training step. It steps no optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch


class Step(NamedTuple):
    """Where in a stage we are: index 0-based, steps in all."""

    index: int
    steps: int


class StepOutput(NamedTuple):
    """loss: scalar to descend. logs: named scalars to record."""

    loss: Tensor
    logs: dict[str, Tensor | float]


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent as every method of the paper uses it (protocol section 5)."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters."""
        return torch.optim.SGD(
            module.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay
        )


@dataclass(frozen=True)
class Adam:
    """Adam, for the toy preset, where SGD would need more steps than a lesson has."""

    lr: float = 0.004
    betas: tuple[float, float] = (0.9, 0.999)

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters."""
        return torch.optim.Adam(module.parameters(), self.lr, self.betas)


Optimizer = Sgd | Adam


@dataclass(frozen=True)
class Player:
    """What is trained: a module, its step and its optimizer. GAN-like methods have two."""

    name: str
    module: nn.Module
    training_step: Callable[[SemiBatch, Step], StepOutput]
    optimizer: Optimizer = Sgd()


@dataclass(frozen=True)
class Stage:
    """A part of the training. start runs before its first step, after_step after every step."""

    name: str
    players: tuple[Player, ...]
    start: Callable[[], None] | None = None
    after_step: Callable[[Step], None] | None = None
    keep_optimizer: bool = False  # go on with the previous stage's momentum


class Method(nn.Module, ABC):
    """A training method around a student network.

    The student is what is evaluated, in eval mode. State (all networks) is the module's state dict.
    """

    student: nn.Module

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order."""


def frozen_copy(network: nn.Module) -> nn.Module:
    """A teacher: the same weights, no gradients."""
    return deepcopy(network).requires_grad_(False)


def detached_probs(logits: Tensor) -> Tensor:
    """Softmax without a gradient, float32, (B, C, *spatial)."""
    return logits.detach().float().softmax(1)
