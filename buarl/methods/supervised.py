"""Supervised training on the labeled images alone: the floor, and with all labels the ceiling."""

from __future__ import annotations

from torch import nn

from buarl.data.batches import SemiBatch
from buarl.losses import D2, Dice, Reduction, region_loss
from buarl.methods.base import (
    Method,
    Optimizer,
    Player,
    Sgd,
    Stage,
    Step,
    StepOutput,
    detached_probs,
)
from buarl.regions import Rule, whole


class Supervised(Method):
    """Dice + cross-entropy on labeled images; the unlabeled ones are not looked at.

    Args:
        network: The student.
        labeled_rule, labeled_reduction: Regions of the labeled loss and their normaliser.
        dice: Which Dice. optimizer: Of the student.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        labeled_rule: Rule = whole(),
        labeled_reduction: Reduction = "voxel",
        dice: Dice = D2,
        optimizer: Optimizer = Sgd(),
    ) -> None:
        super().__init__()
        self.student = network
        self.labeled_rule, self.labeled_reduction = labeled_rule, labeled_reduction
        self.dice, self.optimizer = dice, optimizer

    def stages(self) -> tuple[Stage, ...]:
        """One stage, one player."""
        student = Player("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,)),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        logits = self.student(batch.labeled_image)  # (B_l, C, *spatial)
        regions = self.labeled_rule(detached_probs(logits))  # Eq. 3-5
        loss = region_loss(
            logits, batch.label, regions, reduction=self.labeled_reduction, dice=self.dice
        )
        return StepOutput(loss, {"labeled": loss.detach()})
