"""Mean Teacher, and the paper's Ours(MT) (paper section 3.4; docs/protocol.md 4.4, 7.12).

One step: the student sees labeled and unlabeled images in one forward, the teacher the unlabeled
ones with noise. The labeled term is Dice + cross-entropy (Eq. 7). The unlabeled term, ramped up,
is the squared difference of the two predictions (the published Mean Teacher) or Dice +
cross-entropy against the teacher's hard pseudo-labels (Eq. 8). Then the teacher follows (Eq. 10).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.ema import ema_decay_at, update_teacher
from buarl.entropy import most_likely
from buarl.losses import consistency_loss, region_loss
from buarl.methods.base import (
    Constants,
    Player,
    RampedMethod,
    Stage,
    Step,
    StepOutput,
    detached_probs,
    frozen_copy,
    require_unlabeled,
)


class MeanTeacher(RampedMethod):
    """A student, and a teacher that is its moving average.

    Args:
        network: The student; the teacher starts as its copy.
        unsupervised: "mse", the published Mean Teacher (a rule weighs its voxels), or
            "pseudo_label", Eq. 8. Paper note: Mean Teacher has no pseudo-labels; Ours(MT) is read
            as this switch, and `whole` under "pseudo_label" is its control.
        entropy_from: Whose entropy cuts the unlabeled images, "teacher" or "student".
        ema_limit: Upper bound of the EMA decay. noise: Std of the teacher's input noise.
        teacher_mode: "train" (dropout and batch statistics, the reference) or "eval".
        consistency_start: SSL4MIS 2-D waits for a thirtieth of the run.
        common: The ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        unsupervised: Literal["mse", "pseudo_label"] = "mse",
        entropy_from: Literal["teacher", "student"] = "teacher",
        consistency_start: float = 1 / 30,
        ema_limit: float = 0.99,
        noise: float = 0.1,
        teacher_mode: Literal["train", "eval"] = "train",
        **common: Any,
    ) -> None:
        super().__init__(network, consistency_start=consistency_start, **common)
        self.teacher = frozen_copy(network)
        self.unsupervised, self.entropy_from = unsupervised, entropy_from
        self.ema_limit, self.noise = ema_limit, noise
        self.teacher_mode = teacher_mode

    def stages(self) -> tuple[Stage, ...]:
        """One stage, one player; the teacher is no player."""
        student = Player("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,), after_step=self.update_teacher),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step, in the paper's order."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        logits = self.student(torch.cat([batch.labeled_image, batch.unlabeled_image]))  # Eq. 1
        labeled_logits, unlabeled_logits = logits[:count], logits[count:]  # (B_l or B_u, C, *)
        teacher_probs = self.teacher_probs(batch.unlabeled_image)  # (B_u, C, *spatial)  Eq. 2

        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # Eq. 7
        unlabeled_loss = self.unlabeled_loss(unlabeled_logits, teacher_probs)  # Eq. 8
        weight = self.weight(step)
        loss = labeled_loss + weight * unlabeled_loss  # Eq. 9
        logs = {"labeled": labeled_loss.detach(), "unlabeled": unlabeled_loss.detach()}
        return StepOutput(loss, {**logs, "weight": weight})

    def unlabeled_loss(self, unlabeled_logits: Tensor, teacher_probs: Tensor) -> Tensor:
        """The student against the teacher on unlabeled images, on the regions of the rule."""
        from_teacher = self.entropy_from == "teacher"
        probs = teacher_probs if from_teacher else detached_probs(unlabeled_logits)
        regions = self.unlabeled_rule(probs)  # CRL: Eq. 3, 4, 6
        if self.unsupervised == "mse":
            student_probs = unlabeled_logits.float().softmax(1)
            return consistency_loss(
                student_probs, teacher_probs, regions, reduction=self.unlabeled_reduction
            )
        pseudo_label = most_likely(teacher_probs)  # (B_u, *spatial)
        return region_loss(
            unlabeled_logits,
            pseudo_label,
            regions,
            reduction=self.unlabeled_reduction,
            dice=self.dice,
        )

    @torch.no_grad()
    def teacher_probs(self, image: Tensor) -> Tensor:
        """The teacher's view of a noisy image, (B, C, *spatial)."""
        self.teacher.train(self.teacher_mode == "train")
        noise = (torch.randn_like(image) * self.noise).clamp(-2 * self.noise, 2 * self.noise)
        return detached_probs(self.teacher(image + noise))

    def update_teacher(self, step: Step) -> None:
        """Eq. 10, after the optimizer's step; parameters only."""
        update_teacher(self.teacher, self.student, ema_decay_at(step.index, self.ema_limit))

    def constants(self, step: Step) -> Constants:
        """The weight and the decay."""
        return self.weight(step), ema_decay_at(step.index, self.ema_limit)
