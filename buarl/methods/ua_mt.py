"""Uncertainty-aware Mean Teacher, UA-MT.

A Mean Teacher whose student follows the teacher only where the teacher is certain. Several noisy
passes of the teacher are averaged, and the entropy of that mean is the uncertainty of a voxel.
Voxels above a threshold teach nothing. The threshold rises over the run, so that more and more of
the image counts. Labeled images teach Dice and cross-entropy.

Paper: Yu, Wang, Li, Fu, Heng, MICCAI 2019, arXiv 1907.07034.
Reference code: yulequan/UA-MT, in the version that compares unlabeled images only; in 2-D SSL4MIS
(docs/protocol.md 4.4 and 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_UA_MT_LA
from buarl.losses import region_mean
from buarl.methods.base import Step, StepOutput, detached_probs, require_unlabeled
from buarl.methods.noisy_teacher import NoisyTeacher
from buarl.methods.options import Count
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d
from buarl.regions import within
from buarl.schedules import ramp


@dataclass(kw_only=True, eq=False, repr=False)
class UaMt(NoisyTeacher):
    """Mean Teacher with a mask of certain voxels.

    URL and CRL: the labeled rule cuts the student's labeled images. The unlabeled rule cuts by the
    entropy of the mean teacher prediction, whose entropy also makes the mask (with `entropy_from`
    "student" by the student's), at its percentile over all unlabeled voxels; then only what lies
    inside the mask counts. The mask is an absolute cut, a rule a relative one: CRL matters in the
    voxels above its percentile that the mask has kept, and where there are none it changes nothing.

    >>> import buarl
    >>> method = UaMt(buarl.networks.UNet(4, width=2), passes=4)
    >>> round(method.threshold(method.at(0, steps=100), num_classes=4), 4)  # 0.7517 of ln 2
    0.521
    """

    name = "ua_mt"
    paper = Paper(
        "L. Yu, S. Wang, X. Li, C.-W. Fu, P.-A. Heng",
        "Uncertainty-aware Self-ensembling Model for Semi-supervised 3D Left Atrium Segmentation",
        "MICCAI 2019",
        2019,
        "https://arxiv.org/abs/1907.07034",
    )
    references = (
        Reference(
            "HiLab-git/SSL4MIS", "06df604", "code/train_uncertainty_aware_mean_teacher_2D.py", "2-D"
        ),
        Reference(
            "yulequan/UA-MT", "88ed29a", "code/train_LA_meanteacher_certainty_unlabel.py", "3-D"
        ),
    )
    recordable = False  # its threshold is another number at every step

    passes: Count = 8
    """T, the noisy teacher passes behind the mask.

    They run two at a time as in the reference, which matters: the teacher normalizes by batch. One
    more pass makes the student's target.
    """
    max_entropy: Literal["ln2", "lnC"] = "ln2"
    """The final threshold: ln 2 (the reference, for any number of classes), or the largest entropy
    of C classes."""
    divisor: Literal[2, "C"] = 2
    """What divides the squared error summed over classes: 2 (the reference, for any number of
    classes) or C, which makes it the mean of Mean Teacher."""

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; the share of certain voxels is logged as well."""
        require_unlabeled(self, batch)
        labeled_logits, unlabeled_logits = self.labeled_and_unlabeled_logits(batch)  # uses Eq. 1
        teacher_probs = self.teacher_probs(batch.unlabeled_image)  # (B_u, C, *spatial)  uses Eq. 2
        mean_probs = self.mean_probs(batch.unlabeled_image)  # (B_u, C, *spatial)
        threshold = step.numbers["threshold_share"] * self.final_threshold(mean_probs.shape[1])
        certain = smoothed_entropy(mean_probs) < threshold  # (B_u, *spatial)

        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # uses Eq. 7
        unlabeled_loss = self.unlabeled_loss(unlabeled_logits, teacher_probs, mean_probs, certain)
        return self.output(  # uses Eq. 9
            labeled_loss, unlabeled_loss, step, certain=certain.float().mean()
        )

    def unlabeled_loss(
        self, unlabeled_logits: Tensor, teacher_probs: Tensor, mean_probs: Tensor, certain: Tensor
    ) -> Tensor:
        """Squared difference of student and teacher over the certain voxels.

        Args:
            unlabeled_logits: The student's logits, float (B_u, C, *spatial).
            teacher_probs: The student's target, one pass of the teacher, (B_u, C, *spatial).
            mean_probs: The mean of several passes, float32 (B_u, C, *spatial).
            certain: Which voxels count, bool (B_u, *spatial).
        Returns:
            A scalar.
        """
        from_teacher = self.entropy_from == "teacher"
        probs = mean_probs if from_teacher else detached_probs(unlabeled_logits)
        regions = self.unlabeled_rule(probs)  # CRL: uses Eq. 3, 4, 6
        student_probs = at_least_float32(unlabeled_logits).softmax(1)  # (B_u, C, *spatial)
        classes = 2 if self.divisor == 2 else student_probs.shape[1]
        error = (student_probs - teacher_probs).square().sum(1) / classes  # (B_u, *spatial)
        return region_mean(error, within(regions, certain), reduction=self.unlabeled_reduction)

    @torch.no_grad()
    def mean_probs(self, image: Tensor) -> Tensor:
        """Mean of the teacher's noisy predictions.

        Args:
            image: Unlabeled images, (B, 1, *spatial).
        Returns:
            Probabilities, float32 (B, C, *spatial).
        """
        total = torch.zeros((), device=image.device)
        for first in range(0, self.passes, 2):
            copies = min(2, self.passes - first)
            probs = self.teacher_probs(torch.cat([image] * copies))  # (copies * B, C, *spatial)
            total = total + probs.unflatten(0, (copies, len(image))).sum(0)
        return total / self.passes

    def numbers(self, step: Step) -> dict[str, float]:
        """The numbers of a noisy teacher, and the share of the final threshold, from 0.75 to 1.

        The reference raises it over the whole run and at every step, unlike the weight, which moves
        in levels.
        """
        share = 0.75 + 0.25 * ramp(step.index, step.steps, levels=step.steps)
        return {**super().numbers(step), "threshold_share": share}

    def threshold(self, step: Step, num_classes: int) -> float:
        """Entropy in nats below which a voxel is certain at a step."""
        return self.numbers(step)["threshold_share"] * self.final_threshold(num_classes)

    def final_threshold(self, num_classes: int) -> float:
        """The threshold at the end of the run, in nats."""
        return math.log(2 if self.max_entropy == "ln2" else num_classes)

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: SSL4MIS on ACDC. 3: UA-MT on LA."""
        return {2: recipe_2d(), 3: ramped_recipe_3d(dice=DICE_UA_MT_LA)}[rank]


def smoothed_entropy(mean_probs: Tensor) -> Tensor:
    """Entropy of a mean of predictions with the reference's 1e-6 inside the logarithm.

    Args:
        mean_probs: float (B, C, *spatial), sums to 1 over axis 1.
    Returns:
        (B, *spatial), nats, -1e-6 to about ln C.

    >>> smoothed_entropy(torch.tensor([[[1.0], [0.0]]]))
    tensor([[-9.5367e-07]])
    """
    return -(mean_probs * (mean_probs + 1e-6).log()).sum(1)
