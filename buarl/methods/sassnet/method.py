"""Shape-aware adversarial segmentation, SASSNet.

The student also regresses the signed distance to the edges of the classes; labeled images teach
both answers, Dice and squared distance. A discriminator learns to tell the distance maps of labeled
images from those of unlabeled ones. The student learns to pass the latter off as the former, which
pulls its shapes on unlabeled images towards shapes that occur. Two networks learn, one step each.

Paper: Li, Zhang, He, MICCAI 2020, arXiv 2007.10732.
Reference code: kleinzcy/SASSnet. In 2-D there is none: the U-Net heads of SSL4MIS pull request 37
and the discriminator of DAN in SSL4MIS, our own combination (docs/protocol.md 3.4, 4.5, 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from buarl.arguments import at_least_float32
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_SSL4MIS, DICE_UA_MT_LA
from buarl.losses import voxel_weights
from buarl.methods.base import Adam, Learner, Optimizer, Stage, Step, StepOutput, detached_probs
from buarl.methods.options import Count, Weight
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d
from buarl.methods.sassnet.discriminator import paper_discriminator
from buarl.methods.signed_distance.method import SignedDistanceMethod
from buarl.schedules import Constant


@dataclass(kw_only=True, eq=False, repr=False)
class SassNet(SignedDistanceMethod):
    """An adversary on the distance maps of unlabeled images.

    The adversarial term has one value per image and no voxels, so CRL is read as weights on its
    gradient, our own reading: the discriminator sees the whole map, and what it asks of a voxel is
    multiplied by the weight that the same regions give the voxel in `region_mean`, cut by the
    entropy of the segmentation head on the unlabeled images. With `whole` every weight is 1; with
    any rule the value of the term stays, only its pull moves. The discriminator's own step has no
    rule. The discriminator is 4 times as wide as the network, see `paper_discriminator`, and its
    learning rate is constant.

    >>> import buarl
    >>> method = SassNet(buarl.networks.UNet(4, width=2), unlabeled_rule=buarl.crl(99))
    >>> [learner.name for learner in method.stages()[0].learners]
    ['student', 'discriminator']
    """

    name = "sassnet"
    paper = Paper(
        "S. Li, C. Zhang, X. He",
        "Shape-aware Semi-supervised 3D Semantic Segmentation for Medical Images",
        "MICCAI 2020",
        2020,
        "https://arxiv.org/abs/2007.10732",
    )
    references = (Reference("kleinzcy/SASSnet", "1761aa8", "code/train_gan_sdfloss.py", "3-D"),)

    consistency_weight: Weight = 0.01
    """Weight of the adversarial term at the end of the ramp."""
    image_channels: Count = 1
    """Channels of the images."""
    discriminator_optimizer: Optimizer = Adam(1e-4, (0.9, 0.99))
    """The optimizer of the discriminator, as published."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        head = self.student.distance_head
        self.discriminator = paper_discriminator(
            head.weight.dim() - 2,
            head.out_channels,
            image_channels=self.image_channels,
            width=4 * head.in_channels,
        )

    def stages(self) -> tuple[Stage, ...]:
        """One stage, in which the student moves first and then the discriminator."""
        student = Learner("student", self.student, self.training_step, self.optimizer)
        discriminator = Learner(
            "discriminator",
            self.discriminator,
            self.discriminator_step,
            self.discriminator_optimizer,
            Constant(),
        )
        return (Stage("train", (student, discriminator)),)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The student's loss of one step; the discriminator gets no gradient."""
        logits, distance, distance_loss, labeled_loss = self.answers(batch)
        _, unlabeled_logits = batch.split(logits)
        _, unlabeled_distance = batch.split(distance)
        regions = self.unlabeled_rule(detached_probs(unlabeled_logits))  # CRL: uses Eq. 2, 3, 4, 6
        weights = voxel_weights(regions, reduction=self.unlabeled_reduction)  # (B_u, *spatial)
        unlabeled_loss = self.adversarial_loss(unlabeled_distance, batch.unlabeled_image, weights)
        return self.output(labeled_loss, unlabeled_loss, step, distance=distance_loss)

    def adversarial_loss(self, distance: Tensor, image: Tensor, weights: Tensor) -> Tensor:
        """Cross-entropy of "labeled" for unlabeled maps, as a frozen discriminator sees them.

        Args:
            distance: The student's maps, (B_u, K, *spatial).
            image: The unlabeled images, (B_u, 1, *spatial).
            weights: Factor on the gradient that comes back to each voxel, (B_u, *spatial).
        """
        fixed = distance.detach()
        weighted = fixed + weights[:, None] * (distance - fixed)  # the value of distance
        parameters = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        with _eval_mode(self.discriminator):
            scores = functional_call(self.discriminator, parameters, (weighted, image))  # (B_u, 2)
        labeled = torch.ones_like(scores[:, 0], dtype=torch.long)
        return F.cross_entropy(at_least_float32(scores), labeled)

    def discriminator_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The discriminator's loss of one step, after the student's; the student stands still."""
        with torch.no_grad(), _eval_mode(self.student):
            _, distance = self.student.logits_and_distance(batch.image)  # (B, K, *spatial)
        scores = at_least_float32(self.discriminator(distance, batch.image))  # (B, 2)
        labeled = torch.arange(len(scores), device=scores.device) < len(batch.label)
        loss = F.cross_entropy(scores, labeled.long())
        told_apart = (scores.detach().argmax(1) == labeled).float().mean()
        return StepOutput(loss, {"told_apart": told_apart})

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: our own, as no SASSNet in 2-D is published. 3: SASSNet on LA with 8 labeled scans."""
        return {
            2: recipe_2d(consistency_weight=0.01, dice=DICE_SSL4MIS, ce_share=0.0),  # own
            3: ramped_recipe_3d(dice=DICE_UA_MT_LA, ce_share=0.0, consistency_weight=0.015),
        }[rank]


@contextmanager
def _eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while; the mode it was in comes back."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)
