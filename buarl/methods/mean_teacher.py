"""Mean Teacher, and the paper's Ours(MT).

The student sees labeled and unlabeled images in one pass, the teacher the unlabeled ones with
noise. Labeled images teach Dice and cross-entropy; URL weighs their uncertain voxels up. On
unlabeled images the student follows the teacher, more and more as training goes on: its
probabilities by their squared difference, as published, or its hard pseudo-labels by Dice and
cross-entropy, as in the paper. CRL weighs uncertain voxels down. Then the teacher follows.

Paper: Tarvainen, Valpola, NeurIPS 2017, arXiv 1703.01780.
Reference code: SSL4MIS in 2-D (docs/protocol.md 4.4 and 5; the paper's reading of it: 7.12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_UA_MT_LA
from buarl.entropy import most_likely
from buarl.losses import consistency_loss, region_loss
from buarl.methods.base import Step, StepOutput, detached_probs, require_unlabeled
from buarl.methods.noisy_teacher import NoisyTeacher
from buarl.methods.options import Share
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d


@dataclass(kw_only=True, eq=False, repr=False)
class MeanTeacher(NoisyTeacher):
    """A student that follows its own moving average on unlabeled images.

    >>> import buarl
    >>> network = buarl.networks.UNet(4, width=2)
    >>> method = MeanTeacher(network, unsupervised="pseudo_label", unlabeled_rule=buarl.crl(99))
    >>> method.at(50, steps=100).numbers["ema_decay"]  # 50 / 51
    0.9803921568627451
    """

    name = "mean_teacher"
    paper = Paper(
        "A. Tarvainen, H. Valpola",
        "Mean teachers are better role models: Weight-averaged consistency targets improve "
        "semi-supervised deep learning results",
        "NeurIPS 2017",
        2017,
        "https://arxiv.org/abs/1703.01780",
    )
    references = (
        Reference("HiLab-git/SSL4MIS", "06df604", "code/train_mean_teacher_2D.py", "2-D"),
    )

    unsupervised: Literal["mse", "pseudo_label"] = "mse"
    """The unlabeled term: squared difference of probabilities, as published, or Eq. 8.

    Paper note: Mean Teacher has no pseudo-labels; Ours(MT) is read as this switch, and `whole`
    under "pseudo_label" is its control.
    """
    consistency_start: Share = 1 / 30
    """Part of the run before which the weight is 0; SSL4MIS waits for 1,000 of 30,000 steps."""

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step, in the paper's order."""
        require_unlabeled(self, batch)
        labeled_logits, unlabeled_logits = self.labeled_and_unlabeled_logits(batch)  # uses Eq. 1
        teacher_probs = self.teacher_probs(batch.unlabeled_image)  # (B_u, C, *spatial)  uses Eq. 2
        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # uses Eq. 7
        unlabeled_loss = self.unlabeled_loss(unlabeled_logits, teacher_probs)
        return self.output(labeled_loss, unlabeled_loss, step)  # uses Eq. 9

    def unlabeled_loss(self, unlabeled_logits: Tensor, teacher_probs: Tensor) -> Tensor:
        """The student against the teacher on unlabeled images, on the regions of the rule.

        Args:
            unlabeled_logits: The student's logits, float (B_u, C, *spatial).
            teacher_probs: The teacher's probabilities, float32 (B_u, C, *spatial), no gradient.
        Returns:
            A scalar: Eq. 8 under "pseudo_label", a mean squared difference under "mse".
        """
        from_teacher = self.entropy_from == "teacher"
        probs = teacher_probs if from_teacher else detached_probs(unlabeled_logits)
        regions = self.unlabeled_rule(probs)  # CRL: uses Eq. 3, 4, 6
        if self.unsupervised == "mse":
            student_probs = at_least_float32(unlabeled_logits).softmax(1)
            return consistency_loss(
                student_probs, teacher_probs, regions, reduction=self.unlabeled_reduction
            )
        pseudo_label = most_likely(teacher_probs)  # (B_u, *spatial)
        return region_loss(  # uses Eq. 8
            unlabeled_logits,
            pseudo_label,
            regions,
            reduction=self.unlabeled_reduction,
            dice=self.dice,
        )

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: SSL4MIS on ACDC. 3: UA-MT without its mask, as none on a V-Net is published."""
        return {2: recipe_2d(), 3: ramped_recipe_3d(dice=DICE_UA_MT_LA)}[rank]
