"""Mean Teacher, and the paper's Ours(MT) (paper section 3.4; protocol 4.4, 7.12).

One step: the student sees labeled and unlabeled images in one forward, the teacher the unlabeled
ones with noise. The labeled term is Dice + cross-entropy (Eq. 7). The unlabeled term, ramped up,
is the squared difference of the two predictions (the published Mean Teacher) or Dice +
cross-entropy against the teacher's hard pseudo-labels (Eq. 8). Then the teacher follows (Eq. 10).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.ema import ema_decay_at, update_teacher
from buarl.losses import D2, Dice, Reduction, consistency_loss, region_loss
from buarl.methods.base import (
    Method,
    Optimizer,
    Player,
    Sgd,
    Stage,
    Step,
    StepOutput,
    detached_probs,
    frozen_copy,
)
from buarl.regions import Rule, whole
from buarl.schedules import ramp


class MeanTeacher(Method):
    """A student, and a teacher that is its moving average.

    Args:
        network: The student; the teacher starts as its copy.
        labeled_rule, unlabeled_rule: Regions of the labeled and of the unlabeled term.
        labeled_reduction, unlabeled_reduction: Their normalisers, see `region_loss`.
        unsupervised: "mse", the published Mean Teacher (a rule weighs its voxels), or
            "pseudo_label", Eq. 8. Paper note: Mean Teacher has no pseudo-labels; Ours(MT) is read
            as this switch, and `whole` under "pseudo_label" is its control.
        entropy_from: Whose entropy cuts the unlabeled images, "teacher" or "student".
        consistency_weight: Final weight of the unlabeled term. ramp_levels: See `ramp`.
        consistency_start: Share of the run before which the weight is 0 (SSL4MIS 2-D: 1/30).
        ema_limit: Upper bound of the EMA decay. noise: Std of the teacher's input noise.
        teacher_mode: "train" (dropout and batch statistics, the reference) or "eval".
        dice: Which Dice. optimizer: Of the student.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        labeled_rule: Rule = whole(),
        unlabeled_rule: Rule = whole(),
        labeled_reduction: Reduction = "voxel",
        unlabeled_reduction: Reduction = "voxel",
        unsupervised: Literal["mse", "pseudo_label"] = "mse",
        entropy_from: Literal["teacher", "student"] = "teacher",
        consistency_weight: float = 0.1,
        consistency_start: float = 1 / 30,
        ramp_levels: int = 200,
        ema_limit: float = 0.99,
        noise: float = 0.1,
        teacher_mode: Literal["train", "eval"] = "train",
        dice: Dice = D2,
        optimizer: Optimizer = Sgd(),
    ) -> None:
        super().__init__()
        self.student, self.teacher = network, frozen_copy(network)
        self.labeled_rule, self.unlabeled_rule = labeled_rule, unlabeled_rule
        self.labeled_reduction, self.unlabeled_reduction = labeled_reduction, unlabeled_reduction
        self.unsupervised, self.entropy_from = unsupervised, entropy_from
        self.consistency_weight, self.consistency_start = consistency_weight, consistency_start
        self.ramp_levels, self.ema_limit, self.noise = ramp_levels, ema_limit, noise
        self.teacher_mode, self.dice, self.optimizer = teacher_mode, dice, optimizer

    def stages(self) -> tuple[Stage, ...]:
        """One stage, one player; the teacher is no player."""
        student = Player("student", self.student, self.training_step, self.optimizer)
        return (Stage("train", (student,), after_step=self.update_teacher),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step, in the paper's order."""
        count = len(batch.labeled_image)
        if not len(batch.unlabeled_image):
            raise ValueError("Mean Teacher needs unlabeled images, got 0: use `supervised`")
        logits = self.student(torch.cat([batch.labeled_image, batch.unlabeled_image]))  # Eq. 1
        labeled_logits, unlabeled_logits = (
            logits[:count],
            logits[count:],
        )  # (B_l, C, *), (B_u, C, *)
        teacher_probs = self.teacher_probs(batch.unlabeled_image)  # (B_u, C, *spatial)  Eq. 2

        labeled_regions = self.labeled_rule(detached_probs(labeled_logits))  # URL: Eq. 3-5
        labeled_loss = region_loss(  # Eq. 7
            labeled_logits,
            batch.label,
            labeled_regions,
            reduction=self.labeled_reduction,
            dice=self.dice,
        )
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
        pseudo_label = teacher_probs.argmax(1)  # (B_u, *spatial)
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

    def weight(self, step: Step) -> float:
        """Weight of the unlabeled term at a step."""
        if step.index < self.consistency_start * step.steps:
            return 0.0
        return self.consistency_weight * ramp(step.index, step.steps, self.ramp_levels)

    def update_teacher(self, step: Step) -> None:
        """Eq. 10, after the optimizer's step; parameters only."""
        update_teacher(self.teacher, self.student, ema_decay_at(step.index, self.ema_limit))
