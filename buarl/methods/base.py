"""What a method is: networks, players, stages, and one training step. It steps no optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.losses import D2, Dice, Reduction, region_loss
from buarl.methods.recipes import PAPER, Recipe
from buarl.regions import Region, Rule, whole
from buarl.schedules import Schedule, ramp

Constants = tuple[float, ...] | None


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
    """Stochastic gradient descent as every method of the paper uses it (docs/protocol.md 5)."""

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
    """Adam: SASSNet's discriminator; the toy preset, too short for SGD to get anywhere."""

    lr: float = 0.004
    betas: tuple[float, float] = (0.9, 0.999)

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a module's parameters."""
        return torch.optim.Adam(module.parameters(), self.lr, self.betas)


Optimizer = Sgd | Adam


@dataclass(frozen=True)
class Player:
    """What is trained: a module, its step and its optimizer. GAN-like methods have two.

    schedule: Of its learning rate; None is the one planned for the stage.
    """

    name: str
    module: nn.Module
    training_step: Callable[[SemiBatch, Step], StepOutput]
    optimizer: Optimizer = Sgd()
    schedule: Schedule | None = None


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

    The student is what is evaluated, in eval mode: image -> logits. State (all networks) is the
    module's state dict. A method calls the rules it was given and never asks which they are.

    Args:
        student: The network that learns.
        labeled_rule, unlabeled_rule: Regions of the labeled and of the unlabeled term.
        labeled_reduction, unlabeled_reduction: Their normalisers, see `region_loss`.
        dice: Which Dice. ce_share: Share of cross-entropy in the labeled term, see `region_loss`.
        optimizer: Of the student.
    """

    name: str  # in rows and on the command line
    untouched: tuple[str, ...] = ()  # prefixes of student parameters that a step may not reach

    def __init__(
        self,
        student: nn.Module,
        *,
        labeled_rule: Rule = whole(),
        unlabeled_rule: Rule = whole(),
        labeled_reduction: Reduction = "voxel",
        unlabeled_reduction: Reduction = "voxel",
        dice: Dice = D2,
        ce_share: float = 0.5,
        optimizer: Optimizer = Sgd(),
    ) -> None:
        super().__init__()
        self.student = student
        self.labeled_rule, self.unlabeled_rule = labeled_rule, unlabeled_rule
        self.labeled_reduction, self.unlabeled_reduction = labeled_reduction, unlabeled_reduction
        self.dice, self.ce_share, self.optimizer = dice, ce_share, optimizer

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """The published schedule and settings for images of a rank, 2 (ACDC) or 3 (LA)."""
        return PAPER[{2: "acdc", 3: "la"}[rank], cls.name]

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order."""

    def constants(self, step: Step) -> Constants:
        """All numbers that the host computes from the place of a step, for a recording of it.

        None: a step waits for the device, or has a new number every time; it is not recorded.
        """
        return None

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every keyword argument of the method, with its default."""
        return {
            name: argument.default
            for base in reversed(cls.__mro__)
            if issubclass(base, Method)
            for name, argument in signature(base.__init__).parameters.items()
            if argument.kind is argument.KEYWORD_ONLY
        }

    def labeled_loss(
        self, logits: Tensor, label: Tensor, regions: Sequence[Region] | None = None
    ) -> Tensor:
        """Eq. 7: Dice + cross-entropy on labeled voxels.

        Args:
            logits: (B, C, *spatial). label: (B, *spatial). regions: Those of the labeled rule on
                these logits, unless others are given.
        """
        if regions is None:
            regions = self.labeled_rule(detached_probs(logits))  # URL: Eq. 3-5
        return region_loss(
            logits,
            label,
            regions,
            reduction=self.labeled_reduction,
            dice=self.dice,
            ce_share=self.ce_share,
        )


class RampedMethod(Method):
    """A method of one stage whose unlabeled term is ramped up (docs/protocol.md 4.3).

    Args:
        student: The network that learns.
        consistency_weight: Final weight of the unlabeled term. ramp_levels: See `ramp`.
        ramp_share: Share of the run after which the weight is final.
        consistency_start: Share of the run before which the weight is 0.
        common: Rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        consistency_weight: float = 0.1,
        ramp_levels: int = 200,
        ramp_share: float = 1.0,
        consistency_start: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(student, **common)
        self.consistency_weight, self.consistency_start = consistency_weight, consistency_start
        self.ramp_levels, self.ramp_share = ramp_levels, ramp_share

    def stages(self) -> tuple[Stage, ...]:
        """One stage, one player."""
        student = Player("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,)),)

    @abstractmethod
    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""

    def weight(self, step: Step) -> float:
        """Weight of the unlabeled term at a step."""
        if step.index < self.consistency_start * step.steps:
            return 0.0
        length = self.ramp_share * step.steps
        return self.consistency_weight * ramp(step.index, length, self.ramp_levels)

    def constants(self, step: Step) -> Constants:
        """The weight; a method with more such numbers says so."""
        return (self.weight(step),)


def require_unlabeled(method: Method, batch: SemiBatch) -> None:
    """A clear error where unlabeled images are missing."""
    if not len(batch.unlabeled_image):
        name = type(method).__name__
        raise ValueError(f"{name} needs unlabeled images, got 0: use `supervised`")


def frozen_copy(network: nn.Module) -> nn.Module:
    """A teacher: the same weights, no gradients."""
    return deepcopy(network).requires_grad_(False)


def detached_probs(logits: Tensor) -> Tensor:
    """Softmax without a gradient, float32, (B, C, *spatial)."""
    return logits.detach().float().softmax(1)
