"""Dual-task consistency, DTC.

One network answers twice, with classes and with the signed distance to the edges of the classes.
A steep sigmoid turns the distance back into a segmentation. Labeled images teach both answers,
Dice and squared distance. On all images, labeled ones too, the two answers must agree, the more so
as training goes on. There is no teacher.

Paper: Luo, Chen, Song, Wang, AAAI 2021, arXiv 2009.04448.
Reference code: HiLab-git/DTC; in 2-D pull request 37 of SSL4MIS, unmerged
(docs/protocol.md 4.5 and 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_SSL4MIS, DICE_UA_MT_LA
from buarl.losses import consistency_loss
from buarl.methods.base import Step, StepOutput, detached_probs
from buarl.methods.options import Weight
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d
from buarl.methods.signed_distance.method import SignedDistanceMethod


@dataclass(kw_only=True, eq=False, repr=False)
class Dtc(SignedDistanceMethod):
    """Agreement of segmentation and signed distance on all images.

    CRL cuts the squared difference of the two answers by the entropy of the segmentation head, over
    the voxels of all images, labeled ones too, as the published term. For two classes the answers
    are compared on class 1 alone, for more on all classes.

    >>> import buarl
    >>> method = Dtc(buarl.networks.UNet(4, width=2), unlabeled_rule=buarl.crl(99))
    >>> method.student.distance_head.out_channels
    4
    """

    name = "dtc"
    paper = Paper(
        "X. Luo, J. Chen, T. Song, G. Wang",
        "Semi-supervised Medical Image Segmentation through Dual-task Consistency",
        "AAAI 2021",
        2021,
        "https://arxiv.org/abs/2009.04448",
    )
    references = (
        Reference(
            "HiLab-git/SSL4MIS",
            "68832ad",
            "code/train_dtc_sdf_soft_sig_2D.py",
            "2-D, pull request 37, unmerged",
        ),
        Reference("HiLab-git/DTC", "2525b9c", "code/train_la_dtc.py", "3-D"),
    )

    steepness: Weight = 1500.0
    """Steepness of the sigmoid; at 1500 it is flat, without a gradient, beyond a distance of 0.005
    or so."""

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; the distance regression is logged as well."""
        logits, distance, distance_loss, labeled_loss = self.answers(batch)
        probs = at_least_float32(logits).softmax(1)[:, -distance.shape[1] :]  # (B, K, *spatial)
        probs_of_distance = torch.sigmoid(-self.steepness * distance)  # below 0 is inside
        unlabeled_loss = consistency_loss(
            probs_of_distance,
            probs,
            self.unlabeled_rule(detached_probs(logits)),  # CRL: uses Eq. 2, 3, 4, 6
            reduction=self.unlabeled_reduction,
        )
        return self.output(labeled_loss, unlabeled_loss, step, distance=distance_loss)

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: an unmerged SSL4MIS pull request, #37. 3: DTC on LA."""
        return {
            2: recipe_2d(dice=DICE_SSL4MIS, ce_share=0.0),
            3: ramped_recipe_3d(dice=DICE_UA_MT_LA, ce_share=0.0, consistency_weight=1.0),
        }[rank]
