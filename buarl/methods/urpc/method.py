"""Uncertainty-rectified pyramid consistency, URPC.

One network predicts at four scales of its decoder. On labeled images every scale learns the label
by Dice and cross-entropy. On unlabeled images each scale follows the mean of the four, less where
the scales disagree, and pays for disagreeing; this term gains weight as training goes on. There is
no teacher.

Paper: Luo et al., MICCAI 2021, arXiv 2012.07042.
Reference code: HiLab-git/SSL4MIS in 2-D. The V-Net with three more heads for LA is our own
(docs/protocol.md 4.6 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.methods.base import RampedMethod, Step, StepOutput, require_unlabeled
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d
from buarl.methods.urpc.multi_scale import MultiScale
from buarl.methods.urpc.rectified import log_mean_probs, rectified_consistency


@dataclass(kw_only=True, eq=False, repr=False)
class Urpc(RampedMethod):
    """A pyramid of predictions that agree with their mean.

    The network given, a UNet or VNet, is the trunk of the student, see `MultiScale`.

    URL and CRL: the labeled rule cuts every scale by that scale's own entropy. The unlabeled rule
    cuts once, by the entropy of the mean of the four predictions, the target they share; its
    weights stand in all three means of the term, see `rectified_consistency`, which has a soft cut
    of its own: disagreement of the scales where a rule looks at the entropy of their mean.

    >>> import buarl
    >>> method = Urpc(buarl.networks.UNet(4, width=2), unlabeled_rule=buarl.crl(99))
    >>> len(method.student.scales(torch.zeros(1, 1, 32, 32)))
    4
    """

    name = "urpc"
    paper = Paper(
        "X. Luo, W. Liao, J. Chen, T. Song, Y. Chen, S. Zhang, N. Chen, G. Wang, S. Zhang",
        "Efficient Semi-supervised Gross Target Volume of Nasopharyngeal Carcinoma Segmentation "
        "via Uncertainty Rectified Pyramid Consistency",
        "MICCAI 2021",
        2021,
        "https://arxiv.org/abs/2012.07042",
    )
    references = (
        Reference(
            "HiLab-git/SSL4MIS",
            "06df604",
            "code/train_uncertainty_rectified_pyramid_consistency_2D.py",
            "2-D",
        ),
    )

    perturb: bool | None = None
    """Disturb the features of the auxiliary heads while training. None: as in the reference in 2-D,
    not in 3-D, see `MultiScale`."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.student = MultiScale(network, self.perturb)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        require_unlabeled(self, batch)
        seen = self.student_sees(batch).image
        scales = [batch.split(logits) for logits in self.student.scales(seen)]  # uses Eq. 1
        labeled = [self.labeled_loss(logits, batch.label) for logits, _ in scales]  # uses Eq. 7
        labeled_loss = torch.stack(labeled).mean()
        unlabeled_loss = self.unlabeled_loss([logits for _, logits in scales])
        return self.output(labeled_loss, unlabeled_loss, step)  # uses Eq. 9

    def unlabeled_loss(self, scales: Sequence[Tensor]) -> Tensor:
        """Each scale against the mean of all; nothing is detached but what the rule looks at.

        Args:
            scales: Logits of unlabeled images, each (B_u, C, *spatial).
        """
        logits = at_least_float32(torch.stack(list(scales)))  # (4, B_u, C, *spatial)
        log_probs = logits.log_softmax(2)
        mean_log_probs = log_mean_probs(log_probs)  # (B_u, C, *spatial)
        regions = self.unlabeled_rule(mean_log_probs.detach().exp())  # CRL: uses Eq. 3, 4, 6
        terms = [
            rectified_consistency(
                scale, mean_log_probs, regions, reduction=self.unlabeled_reduction
            )
            for scale in log_probs
        ]
        return torch.stack(terms).mean()

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: SSL4MIS on ACDC. 3: our own, heads on the V-Net."""
        return {2: recipe_2d(), 3: ramped_recipe_3d()}[rank]  # 3: own
