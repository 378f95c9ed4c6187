"""Uncertainty-rectified pyramid consistency, URPC (Luo et al., MICCAI 2021; docs/protocol.md 4.6).

One network predicts at four scales of its decoder. On labeled images all scales learn the label;
on unlabeled ones each follows the mean of the four, less where they disagree. No teacher.
Reference: github.com/HiLab-git/SSL4MIS, in 2-D. The V-Net with three more heads for LA is our own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.methods.base import RampedMethod, Step, StepOutput, require_unlabeled
from buarl.methods.urpc.multi_scale import MultiScale
from buarl.methods.urpc.rectified import log_mean_probs, rectified_consistency


class Urpc(RampedMethod):
    """A pyramid of predictions that agree with their mean.

    URL and CRL: the labeled rule cuts every scale by that scale's own entropy. The unlabeled rule
    cuts once, by the entropy of the mean of the four predictions, the target they share; its
    weights stand in all three means of the term, see `rectified_consistency`, which has a soft cut
    of its own: disagreement of the scales where a rule looks at the entropy of their mean.

    Args:
        network: The trunk, a UNet or VNet; the student is `MultiScale` around it.
        perturb: Disturb the auxiliary heads' features while training. None: as in the reference in
            2-D, not in 3-D, see `MultiScale`.
        common: The ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(self, network: nn.Module, *, perturb: bool | None = None, **common: Any) -> None:
        super().__init__(MultiScale(network, perturb), **common)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        images = torch.cat([batch.labeled_image, batch.unlabeled_image])
        scales = self.student.scales(images)  # 4 x (B_l + B_u, C, *spatial)
        labeled = [self.labeled_loss(logits[:count], batch.label) for logits in scales]  # Eq. 7
        labeled_loss = torch.stack(labeled).mean()
        unlabeled_loss = self.unlabeled_loss([logits[count:] for logits in scales])
        weight = self.weight(step)
        logs = {"labeled": labeled_loss.detach(), "unlabeled": unlabeled_loss.detach()}
        return StepOutput(labeled_loss + weight * unlabeled_loss, {**logs, "weight": weight})

    def unlabeled_loss(self, scales: list[Tensor]) -> Tensor:
        """Each scale against the mean of all; nothing is detached but what the rule looks at.

        Args:
            scales: Logits of unlabeled images, each (B_u, C, *spatial).
        """
        log_probs = torch.stack(scales).float().log_softmax(2)  # (4, B_u, C, *spatial)
        mean_log_probs = log_mean_probs(log_probs)  # (B_u, C, *spatial)
        regions = self.unlabeled_rule(mean_log_probs.detach().exp())  # CRL: Eq. 3, 4, 6
        terms = [
            rectified_consistency(
                scale, mean_log_probs, regions, reduction=self.unlabeled_reduction
            )
            for scale in log_probs
        ]
        return torch.stack(terms).mean()
