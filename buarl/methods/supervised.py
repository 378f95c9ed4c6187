"""Supervised training on the labeled images alone: the floor, and with all labels the ceiling."""

from __future__ import annotations

from buarl.data.batches import SemiBatch
from buarl.methods.base import Constants, Method, Player, Stage, Step, StepOutput


class Supervised(Method):
    """Dice + cross-entropy on labeled images; the unlabeled ones, and their rule, play no part.

    Args: see `Method`.
    """

    def stages(self) -> tuple[Stage, ...]:
        """One stage, one player."""
        student = Player("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,)),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        logits = self.student(batch.labeled_image)  # (B_l, C, *spatial)
        loss = self.labeled_loss(logits, batch.label)  # Eq. 7
        return StepOutput(loss, {"labeled": loss.detach()})

    def constants(self, step: Step) -> Constants:
        """No number."""
        return ()
