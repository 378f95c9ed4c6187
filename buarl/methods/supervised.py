"""Supervised training on the labeled images alone.

With few labels it is the floor that every semi-supervised method has to beat, and with all labels
the ceiling. The network learns Dice and cross-entropy; unlabeled images play no part. With URL the
uncertain voxels of the labeled images weigh more than the others.

Paper of the 2-D network: Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, arXiv 1505.04597.
Reference code: SSL4MIS in 2-D, UA-MT in 3-D (docs/protocol.md 5).
"""

from __future__ import annotations

from dataclasses import dataclass

from buarl.data.batches import SemiBatch
from buarl.dice import DICE_UA_MT_LA
from buarl.methods.base import Method, Step, StepOutput
from buarl.methods.recipe import Paper, Recipe, Reference, StagePlan
from buarl.schedules import Poly, StepDecay


@dataclass(kw_only=True, eq=False, repr=False)
class Supervised(Method):
    """Dice and cross-entropy on labeled images; a rule for unlabeled ones is refused.

    Nor is there an image for `strong_views`: a preset's are passed over, a row's own are refused.

    >>> import buarl
    >>> method = Supervised(buarl.networks.UNet(4, width=2), labeled_rule=buarl.url(95))
    >>> [stage.name for stage in method.stages()]
    ['train']
    """

    name = "supervised"
    paper = Paper(
        "O. Ronneberger, P. Fischer, T. Brox",
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "MICCAI 2015",
        2015,
        "https://arxiv.org/abs/1505.04597",
    )
    references = (
        Reference("HiLab-git/SSL4MIS", "06df604", "code/train_fully_supervised_2D.py", "2-D"),
        Reference("yulequan/UA-MT", "88ed29a", "code/train_LA.py", "3-D"),
    )
    unused = ("unlabeled_rule", "unlabeled_reduction", "strong_views")

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        logits = self.student(batch.labeled_image)  # (B_l, C, *spatial)  uses Eq. 1
        loss = self.labeled_loss(logits, batch.label)  # uses Eq. 7
        return StepOutput(loss, {"labeled": loss.detach()})

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """The published schedule, 2: ACDC, 3: LA."""
        return {
            2: Recipe((StagePlan(30_000, 24, 0, Poly()),)),
            3: Recipe((StagePlan(6_000, 4, 0, StepDecay(2500 / 6000)),), {"dice": DICE_UA_MT_LA}),
        }[rank]
