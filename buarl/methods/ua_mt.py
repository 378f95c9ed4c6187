"""Uncertainty-aware Mean Teacher, UA-MT (Yu et al., MICCAI 2019; docs/protocol.md 4.4 and 5).

A Mean Teacher whose student follows the teacher only where the teacher is certain: the mean of
several noisy teacher passes has an entropy, and voxels above a threshold, which rises over the
run, teach nothing. Reference: github.com/yulequan/UA-MT, in the version that compares unlabeled
images only; in 2-D SSL4MIS.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.losses import region_mean
from buarl.methods.base import Constants, Step, StepOutput, detached_probs, require_unlabeled
from buarl.methods.mean_teacher import MeanTeacher
from buarl.regions import within
from buarl.schedules import ramp


class UaMt(MeanTeacher):
    """Mean Teacher with a mask of certain voxels.

    URL and CRL: the labeled rule cuts the student's labeled images. The unlabeled rule cuts by the
    entropy of the mean teacher prediction, whose entropy also makes the mask (entropy_from
    "student": of the student's), with its percentile over all unlabeled voxels; then only what lies
    inside the mask counts. The mask is an absolute cut, a rule a relative one: CRL matters in the
    voxels above its percentile that the mask has kept, and where there are none it changes nothing.

    Args:
        network: The student; the teacher starts as its copy.
        passes: T, noisy teacher passes behind the mask, run two at a time as in the reference (this
            matters: the teacher normalises by batch). One more pass makes the student's target.
        max_entropy: The final threshold: "ln2" (the reference, for any number of classes) or
            "lnC", the largest entropy of C classes.
        divisor: Of the squared error summed over classes: 2 (the reference, for any number of
            classes) or "C", which makes it the mean of Mean Teacher.
        consistency_start: 0, from the first step.
        common: Teacher, noise, EMA: see `MeanTeacher`, whose pseudo-labels do not apply here; the
            ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        passes: int = 8,
        max_entropy: Literal["ln2", "lnC"] = "ln2",
        divisor: Literal[2, "C"] = 2,
        consistency_start: float = 0.0,
        **common: Any,
    ) -> None:
        if "unsupervised" in common:
            raise TypeError("UaMt compares predictions under its mask and takes no `unsupervised`")
        super().__init__(network, consistency_start=consistency_start, **common)
        if passes < 1:
            raise ValueError(f"passes must be at least 1, got {passes}")
        if max_entropy not in ("ln2", "lnC"):
            raise ValueError(f'max_entropy must be "ln2" or "lnC", got {max_entropy!r}')
        if divisor not in (2, "C"):
            raise ValueError(f'divisor must be 2 or "C", got {divisor!r}')
        self.passes, self.max_entropy, self.divisor = passes, max_entropy, divisor

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; logs also the share of certain voxels."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        logits = self.student(torch.cat([batch.labeled_image, batch.unlabeled_image]))  # Eq. 1
        labeled_logits, unlabeled_logits = logits[:count], logits[count:]  # (B_l or B_u, C, *)
        teacher_probs = self.teacher_probs(batch.unlabeled_image)  # (B_u, C, *spatial)  Eq. 2
        mean_probs = self.mean_probs(batch.unlabeled_image)  # (B_u, C, *spatial)
        certain = smoothed_entropy(mean_probs) < self.threshold(step, logits.shape[1])  # (B_u, *)

        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # Eq. 7
        unlabeled_loss = self.unlabeled_loss(unlabeled_logits, teacher_probs, mean_probs, certain)
        weight = self.weight(step)
        logs = {"labeled": labeled_loss.detach(), "unlabeled": unlabeled_loss.detach()}
        logs |= {"weight": weight, "certain": certain.float().mean()}
        return StepOutput(labeled_loss + weight * unlabeled_loss, logs)

    def unlabeled_loss(
        self, unlabeled_logits: Tensor, teacher_probs: Tensor, mean_probs: Tensor, certain: Tensor
    ) -> Tensor:
        """Squared difference of student and teacher over the certain voxels, bool (B_u, *)."""
        from_teacher = self.entropy_from == "teacher"
        regions = self.unlabeled_rule(
            mean_probs if from_teacher else detached_probs(unlabeled_logits)
        )
        student_probs = unlabeled_logits.float().softmax(1)  # (B_u, C, *spatial)
        classes = 2 if self.divisor == 2 else student_probs.shape[1]
        error = (student_probs - teacher_probs).square().sum(1) / classes  # (B_u, *spatial)
        return region_mean(error, within(regions, certain), reduction=self.unlabeled_reduction)

    @torch.no_grad()
    def mean_probs(self, image: Tensor) -> Tensor:
        """Mean of the teacher's noisy predictions, (B, C, *spatial)."""
        total = torch.zeros((), device=image.device)
        for first in range(0, self.passes, 2):
            copies = min(2, self.passes - first)
            probs = self.teacher_probs(torch.cat([image] * copies))  # (copies * B, C, *spatial)
            total = total + probs.unflatten(0, (copies, len(image))).sum(0)
        return total / self.passes

    def threshold(self, step: Step, num_classes: int) -> float:
        """Entropy below which a voxel is certain, nats: three quarters of the final one at first.

        The reference ramps it over the whole run and at every step, unlike the weight, which moves
        in levels.
        """
        final = math.log(2 if self.max_entropy == "ln2" else num_classes)
        return (0.75 + 0.25 * ramp(step.index, step.steps, levels=step.steps)) * final

    def constants(self, step: Step) -> Constants:
        """The threshold is another one at every step."""
        return None


def smoothed_entropy(mean_probs: Tensor) -> Tensor:
    """Entropy of a mean of predictions with the reference's 1e-6 inside the logarithm.

    Args:
        mean_probs: float (B, C, *spatial), sums to 1 over axis 1.
    Returns:
        (B, *spatial), nats, -1e-6 to about ln C.
    """
    return -(mean_probs * (mean_probs + 1e-6).log()).sum(1)
