"""DTC: dual-task consistency between segmentation and signed distance (docs/protocol.md 4.5).

X. Luo, J. Chen, T. Song, G. Wang: Semi-supervised Medical Image Segmentation through Dual-task
Consistency, AAAI 2021. Reference: HiLab-git/DTC; in 2-D pull request 37 of SSL4MIS, unmerged.

One network answers twice, with classes and with the signed distance to their edges. A steep sigmoid
turns the distance back into a segmentation, and the two must agree, on labeled images as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from buarl.data.batches import SemiBatch
from buarl.losses import consistency_loss
from buarl.methods.base import RampedMethod, Step, StepOutput, detached_probs, require_unlabeled
from buarl.methods.signed_distance.maps import signed_distance_loss
from buarl.methods.signed_distance.network import SignedDistanceNet


class Dtc(RampedMethod):
    """Dice and distance regression on labels; agreement of the two answers on all images.

    URL cuts the Dice term of the labeled images; the distance regression stays plain, as its target
    is a distance. CRL cuts the squared difference of the two answers by the entropy of the
    segmentation head, over the voxels of all images, labeled ones too, as the published term. For
    two classes the answers are compared on class 1 alone, for more on all classes.

    Args:
        network: The trunk of the student, see `SignedDistanceNet`.
        distance_weight: Of the distance regression in the labeled term.
        steepness: Of the sigmoid. At 1500 it is flat, without a gradient, beyond |z| = 0.005 or so.
        ce_share: 0, the published labeled term is Dice alone.
        common: The ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        distance_weight: float = 0.3,
        steepness: float = 1500.0,
        ce_share: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(SignedDistanceNet(network), ce_share=ce_share, **common)
        self.distance_weight, self.steepness = distance_weight, steepness

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        images = torch.cat([batch.labeled_image, batch.unlabeled_image])  # (B, 1, *spatial)
        logits, distance = self.student.logits_and_distance(images)  # (B, C or K, *spatial)

        distance_loss = signed_distance_loss(distance[:count], batch.label, logits.shape[1])
        labeled_loss = self.labeled_loss(logits[:count], batch.label)  # Eq. 7
        labeled_loss = labeled_loss + self.distance_weight * distance_loss

        probs = logits.float().softmax(1)[:, -distance.shape[1] :]  # (B, K, *spatial)
        probs_of_distance = torch.sigmoid(-self.steepness * distance)  # below 0 is inside
        unlabeled_loss = consistency_loss(
            probs_of_distance,
            probs,
            self.unlabeled_rule(detached_probs(logits)),  # CRL: Eq. 6
            reduction=self.unlabeled_reduction,
        )
        weight = self.weight(step)
        logs = {
            "labeled": labeled_loss.detach(),
            "distance": distance_loss.detach(),
            "unlabeled": unlabeled_loss.detach(),
            "weight": weight,
        }
        return StepOutput(labeled_loss + weight * unlabeled_loss, logs)
