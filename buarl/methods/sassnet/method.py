"""SASSNet: shape-aware adversarial semi-supervised segmentation (docs/protocol.md 3.4, 4.5, 5).

S. Li, C. Zhang, X. He: Shape-aware Semi-supervised 3D Semantic Segmentation for Medical Images,
MICCAI 2020. Reference: kleinzcy/SASSnet. In 2-D there is none: U-Net heads of SSL4MIS pull request
37 and the discriminator of DAN in SSL4MIS, own combination.

The student also regresses the signed distance to the edges. A discriminator tells distance maps of
labeled images from those of unlabeled ones, and the student learns to pass the latter off as the
former. Two players, one step each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from buarl.data.batches import SemiBatch
from buarl.losses import voxel_weights
from buarl.methods.base import (
    Adam,
    Optimizer,
    Player,
    RampedMethod,
    Stage,
    Step,
    StepOutput,
    detached_probs,
    require_unlabeled,
)
from buarl.methods.sassnet.discriminator import paper_discriminator
from buarl.methods.signed_distance.maps import signed_distance_loss
from buarl.methods.signed_distance.network import SignedDistanceNet
from buarl.schedules import Constant


class SassNet(RampedMethod):
    """Dice and distance regression on labels; an adversary on the unlabeled distance maps.

    URL cuts the Dice term of the labeled images; the distance regression stays plain. The
    adversarial term has one value per image and no voxels, so CRL is read as weights on its
    gradient, own reading: the discriminator sees the whole map, and what it asks of a voxel is
    multiplied by the weight that the same regions give the voxel in `region_mean`, cut by the
    entropy of the segmentation head on the unlabeled images. With `whole` every weight is 1; with
    any rule the value of the term stays, only its pull moves. The discriminator's own step has no
    rule.

    Args:
        network: The trunk of the student, see `SignedDistanceNet`. The discriminator is 4 times as
            wide, see `paper_discriminator`, and its optimizer's learning rate constant.
        distance_weight: Of the distance regression in the labeled term.
        image_channels: Of the images. discriminator_optimizer: As published.
        ce_share: 0, the published labeled term is Dice alone. consistency_weight: Of the
            adversarial term.
        common: The ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        distance_weight: float = 0.3,
        image_channels: int = 1,
        discriminator_optimizer: Optimizer = Adam(1e-4, (0.9, 0.99)),
        ce_share: float = 0.0,
        consistency_weight: float = 0.01,
        **common: Any,
    ) -> None:
        super().__init__(
            SignedDistanceNet(network),
            ce_share=ce_share,
            consistency_weight=consistency_weight,
            **common,
        )
        head = self.student.distance_head
        self.discriminator = paper_discriminator(
            head.weight.dim() - 2,
            head.out_channels,
            image_channels=image_channels,
            width=4 * head.in_channels,
        )
        self.distance_weight = distance_weight
        self.discriminator_optimizer = discriminator_optimizer

    def stages(self) -> tuple[Stage, ...]:
        """One stage, two players: the student moves first."""
        student = Player("student", self.student, self.training_step, self.optimizer)
        discriminator = Player(
            "discriminator",
            self.discriminator,
            self.discriminator_step,
            self.discriminator_optimizer,
            Constant(),
        )
        return (Stage("train", (student, discriminator)),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The student's loss of one step; the discriminator gets no gradient."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        images = torch.cat([batch.labeled_image, batch.unlabeled_image])  # (B, 1, *spatial)
        logits, distance = self.student.logits_and_distance(images)  # (B, C or K, *spatial)

        distance_loss = signed_distance_loss(distance[:count], batch.label, logits.shape[1])
        labeled_loss = self.labeled_loss(logits[:count], batch.label)  # Eq. 7
        labeled_loss = labeled_loss + self.distance_weight * distance_loss

        regions = self.unlabeled_rule(detached_probs(logits[count:]))  # CRL: Eq. 6
        weights = voxel_weights(regions, reduction=self.unlabeled_reduction)  # (B_u, *spatial)
        unlabeled_loss = self.adversarial_loss(distance[count:], batch.unlabeled_image, weights)
        weight = self.weight(step)
        logs = {
            "labeled": labeled_loss.detach(),
            "distance": distance_loss.detach(),
            "unlabeled": unlabeled_loss.detach(),
            "weight": weight,
        }
        return StepOutput(labeled_loss + weight * unlabeled_loss, logs)

    def adversarial_loss(self, distance: Tensor, image: Tensor, weights: Tensor) -> Tensor:
        """Cross-entropy of "labeled" for unlabeled maps, as a frozen discriminator sees them.

        Args:
            distance: (B_u, K, *spatial). image: (B_u, 1, *spatial). weights: (B_u, *spatial), of
                the gradient that comes back to each voxel.
        """
        fixed = distance.detach()
        weighted = fixed + weights[:, None] * (distance - fixed)  # the value of distance
        parameters = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        with _eval_mode(self.discriminator):
            scores = functional_call(self.discriminator, parameters, (weighted, image))  # (B_u, 2)
        return F.cross_entropy(scores.float(), torch.ones_like(scores[:, 0], dtype=torch.long))

    def discriminator_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The discriminator's loss of one step, after the student's; the student stands still."""
        images = torch.cat([batch.labeled_image, batch.unlabeled_image])  # (B, 1, *spatial)
        with torch.no_grad(), _eval_mode(self.student):
            _, distance = self.student.logits_and_distance(images)  # (B, K, *spatial)
        scores = self.discriminator(distance, images).float()  # (B, 2)
        labeled = torch.arange(len(images), device=images.device) < len(batch.labeled_image)
        loss = F.cross_entropy(scores, labeled.long())
        told_apart = (scores.detach().argmax(1) == labeled).float().mean()
        return StepOutput(loss, {"told_apart": told_apart})


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; the mode it was in comes back."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
