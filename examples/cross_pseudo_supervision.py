"""Cross pseudo supervision (CPS), and how a method is added: this file is all of it.

Two students of one kind start from different weights and see the same images. On labeled images
both learn from the label by Dice and cross-entropy; URL weighs their uncertain voxels up. On
unlabeled images each learns from the hard pseudo-label of the other, more and more as training goes
on; CRL weighs the voxels down in which the other one is uncertain. A pseudo-label hands no gradient
back to the student who gave it. The first student is the one that is evaluated.

Paper: Chen, Yuan, Zeng, Wang, CVPR 2021, arXiv 2106.01226 (photographs of streets and things).
Reference code: SSL4MIS, whose form for medical images this is; `references` below has the files.

It needs no edit of the package; the same words take your own file:

    buarl train --method examples/cross_pseudo_supervision.py:CrossPseudoSupervision \\
        --labeled-rule url --unlabeled-rule crl --out runs/cps
    buarl evaluate runs/cps \\
        --code examples/cross_pseudo_supervision.py:CrossPseudoSupervision
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.dice import DICE_UA_MT_LA
from buarl.entropy import most_likely
from buarl.losses import region_loss
from buarl.methods.base import (
    Learner,
    RampedMethod,
    Stage,
    Step,
    StepOutput,
    detached_probs,
    fresh_copy,
    require_unlabeled,
)
from buarl.methods.options import Share
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d


@dataclass(kw_only=True, eq=False, repr=False)
class CrossPseudoSupervision(RampedMethod):
    """Two students, each the other's teacher.

    Paper note: in the CVPR paper both students begin with one pre-trained encoder and differ in
    the rest. Without pre-training they differ in all weights, which both draw as their layers do by
    default, as the reference has it in 2-D; in 3-D it draws the convolutions by Kaiming's rule in
    one student and by Xavier's in the other.

    >>> import buarl
    >>> method = CrossPseudoSupervision(buarl.networks.UNet(4, width=2), unlabeled_rule=buarl.crl())
    >>> [name for name, _ in method.named_children()]
    ['student', 'other_student']
    """

    name = "cross_pseudo_supervision"
    paper = Paper(
        "X. Chen, Y. Yuan, G. Zeng, J. Wang",
        "Semi-Supervised Semantic Segmentation with Cross Pseudo Supervision",
        "CVPR 2021",
        2021,
        "https://arxiv.org/abs/2106.01226",
    )
    references = (
        Reference(
            "HiLab-git/SSL4MIS", "06df604", "code/train_cross_pseudo_supervision_2D.py", "2-D"
        ),
        Reference(
            "HiLab-git/SSL4MIS", "06df604", "code/train_cross_pseudo_supervision_3D.py", "3-D"
        ),
    )

    unlabeled_ce_share: Share = 1.0
    """Part of the unlabeled term that is cross-entropy; the rest is Dice. 1 is CPS as published,
    0.5 is Eq. 8."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.other_student = fresh_copy(network)

    def stages(self) -> tuple[Stage, ...]:
        """One stage, in which one optimizer moves both students."""
        students = nn.ModuleList([self.student, self.other_student])
        both = Learner("students", students, self.training_step, self.optimizer)
        return (Stage("train", (both,)),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step, the sum of both students' losses."""
        require_unlabeled(self, batch)
        batch = self.student_sees(batch)  # strong views, where a row asks for them
        first = self.student(batch.image)  # (B_l + B_u, C, *spatial)  uses Eq. 1
        second = self.other_student(batch.image)
        labeled_first, unlabeled_first = batch.split(first)
        labeled_second, unlabeled_second = batch.split(second)

        labeled_loss = (  # uses Eq. 7
            self.labeled_loss(labeled_first, batch.label)
            + self.labeled_loss(labeled_second, batch.label)
        )
        unlabeled_loss = (  # uses Eq. 8
            self.unlabeled_loss(unlabeled_first, unlabeled_second)
            + self.unlabeled_loss(unlabeled_second, unlabeled_first)
        )
        return self.output(labeled_loss, unlabeled_loss, step)  # uses Eq. 9

    def unlabeled_loss(self, logits: Tensor, others_logits: Tensor) -> Tensor:
        """One student against the hard pseudo-label of the other, on the regions of the rule.

        Args:
            logits: The logits of the student who learns, (B_u, C, *spatial).
            others_logits: The logits of the one who teaches; no gradient flows back to it.
        Returns:
            A scalar.
        """
        others_probs = detached_probs(others_logits)  # (B_u, C, *spatial)  uses Eq. 2
        return region_loss(  # uses Eq. 8
            logits,
            most_likely(others_probs),  # the pseudo-label, (B_u, *spatial)
            self.unlabeled_rule(others_probs),  # CRL: uses Eq. 3, 4, 6
            reduction=self.unlabeled_reduction,
            dice=self.dice,
            ce_share=self.unlabeled_ce_share,
        )

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: SSL4MIS on ACDC. 3: as our Mean Teacher on LA.

        The reference's 3-D script trains on BraTS: 30,000 steps with a polynomial decay. On LA
        nothing is published with a V-Net, so CPS has the numbers of its neighbors in the tables.
        """
        return {2: recipe_2d(), 3: ramped_recipe_3d(dice=DICE_UA_MT_LA)}[rank]
