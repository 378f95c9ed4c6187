"""A method whose student answers with classes and with the signed distance to their edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.methods.base import RampedMethod, require_unlabeled
from buarl.methods.options import Share, Weight
from buarl.methods.signed_distance.maps import signed_distance_loss
from buarl.methods.signed_distance.network import SignedDistanceNet


class Answers(NamedTuple):
    """What the student says of a batch, and the loss of its labeled part.

    logits: What the classes are taken from, (B, C, *spatial), labeled images first.
    distance: Signed distance, float32 (B, K, *spatial), K = 1 for two classes, else C.
    distance_loss: Squared error of the distance of labeled images, a scalar.
    labeled_loss: Dice on labeled images plus the weighted squared error, a scalar.
    """

    logits: Tensor
    distance: Tensor
    distance_loss: Tensor
    labeled_loss: Tensor


@dataclass(kw_only=True, eq=False, repr=False)
class SignedDistanceMethod(RampedMethod):
    """Dice and distance regression on labels; what unlabeled images teach is up to the subclass.

    The network given is the trunk of the student, see `SignedDistanceNet`. The labeled rule cuts
    the Dice term; the distance regression stays plain, as its target is a distance.
    """

    ce_share: Share = 0.0
    """Part of the labeled term that is cross-entropy; the published term is Dice alone."""
    distance_weight: Weight = 0.3
    """Weight of the distance regression in the labeled term."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.student = SignedDistanceNet(network)

    def answers(self, batch: SemiBatch) -> Answers:
        """Both answers of the student to a batch, and the loss of the labeled images."""
        require_unlabeled(self, batch)
        seen = self.student_sees(batch).image
        logits, distance = self.student.logits_and_distance(seen)  # uses Eq. 1
        labeled_logits, _ = batch.split(logits)
        labeled_distance, _ = batch.split(distance)
        distance_loss = signed_distance_loss(labeled_distance, batch.label, logits.shape[1])
        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # uses Eq. 7
        labeled_loss = labeled_loss + self.distance_weight * distance_loss
        return Answers(logits, distance, distance_loss, labeled_loss)
