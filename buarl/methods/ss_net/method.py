"""Smoothness between images and separation between classes, SS-Net.

Smooth: the prediction may not change when an image moves a little in the direction in which it
would change most. Separate: features of a class are pulled towards a few remembered ones, taken
from labeled voxels that the network got right. Labeled images teach Dice. Both further terms gain
weight as training goes on. There is no teacher.

Paper: Wu, Wu, Wu, Ge, Cai, MICCAI 2022, doi 10.1007/978-3-031-16443-9_4.
Reference code: ycwu1997/SS-Net; where it differs from its paper's idea, an option says so
(docs/protocol.md 3.3, 4.8 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.dice import DICE_BCP_ACDC, DICE_SS_NET_LA
from buarl.entropy import most_likely
from buarl.methods.base import RampedMethod, Step, StepOutput, detached_probs, require_unlabeled
from buarl.methods.options import Count, Positive, Range, Weight
from buarl.methods.recipe import Paper, Recipe, Reference, ramped_recipe_3d, recipe_2d
from buarl.methods.ss_net.perturbation import (
    adversarial_direction,
    dice_distance,
    frozen_statistics,
)
from buarl.methods.ss_net.projector import Projector
from buarl.methods.ss_net.prototypes import PrototypeMemory, prototype_loss
from buarl.regions import Region
from buarl.schedules import Constant, StepDecay


@dataclass(kw_only=True, eq=False, repr=False)
class SsNet(RampedMethod):
    """Adversarial smoothness of the prediction, and features gathered around prototypes.

    The network given, a UNet or VNet, is the trunk of the student, see `Projector`.

    URL and CRL: the labeled rule cuts the Dice of labeled images. The unlabeled rule cuts the whole
    batch, which the adversarial term compares, by the entropy of its clean prediction (a second
    pass, with dropout of its own). Its weights stand inside every sum of the distance, also while
    the direction is sought, and weigh the features of unlabeled voxels within each class. Features
    of labeled voxels count alike.

    >>> import buarl
    >>> method = SsNet(buarl.networks.UNet(4, width=2), unlabeled_rule=buarl.crl(99))
    >>> method.memory.vectors.shape  # classes, prototypes of a class, length of one
    torch.Size([4, 32, 32])
    """

    name = "ss_net"
    paper = Paper(
        "Y. Wu, Z. Wu, Q. Wu, Z. Ge, J. Cai",
        "Exploring Smoothness and Class-Separation for Semi-supervised Medical Image Segmentation",
        "MICCAI 2022",
        2022,
        "https://doi.org/10.1007/978-3-031-16443-9_4",
    )
    references = (
        Reference("ycwu1997/SS-Net", "c0a8bf6", "code/train_ss_2d.py", "2-D"),
        Reference("ycwu1997/SS-Net", "c0a8bf6", "code/train_ss_3d.py", "3-D"),
    )
    recordable = False  # which features become prototypes is decided on the host
    # A selector learns when its class is in the batch and the memory, the others on request; and
    # until a foreground voxel is right the memory is empty and no head learns.
    untouched = ("projection.", "prediction.", "selectors.", "memory_selectors.")
    one_device_only = (
        "its memory keeps the features of the whole batch, and which classes are in a part of the "
        "batch decides what is computed there"
    )

    epsilon: Weight = 6.0
    """Length of the adversarial step per image (ACDC 6, LA 10)."""
    xi: Positive = 10.0
    """Length of the step that probes for the worst direction."""
    pool_classes: bool = False
    """The adversarial distance is the Dice given, of two predictions and over all channels, the
    background too. False: one per class, then the mean (ACDC). True: the sums run over the classes
    as well (LA)."""
    contrastive_weight: Weight = 0.1
    """Factor on the contrastive terms beside the adversarial one."""
    keep: Literal["lowest", "highest"] = "lowest"
    """Which candidates the memory keeps, by their score; "lowest" is a slip of the reference."""
    memory_weights: Literal["ones", "selector"] = "ones"
    """Weights of the prototypes: "ones", another slip (the reference's always cancel), or
    "selector", scores by the memory selectors, which else learn nothing."""
    background_memory: bool = False
    """Remember background features as well. The reference does not, but divides by all classes."""
    memory_size: Count = 32
    """Prototypes of a class."""
    max_features: Annotated[int, Range(1)] | None = None
    """Let the heads see only so many random voxels of the labeled and of the unlabeled images, for
    memory and time in 3-D; None: all, as the reference."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.student = Projector(network)
        classes = len(self.student.selectors)
        self.memory = PrototypeMemory(classes, size=self.memory_size, keep=self.keep)

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; both parts of the unlabeled term are logged as well."""
        require_unlabeled(self, batch)
        batch = self.student_sees(batch)
        logits, embedding = self.student.logits_and_embedding(batch.image)  # uses Eq. 1
        labeled_logits, _ = batch.split(logits)
        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # uses Eq. 7
        with torch.no_grad():
            clean_probs = detached_probs(self.student(batch.image))  # (B, C, *spatial)  uses Eq. 2
        regions = self.unlabeled_rule(clean_probs)  # CRL: uses Eq. 3, 4, 6
        adversarial = self.adversarial_loss(batch.image, clean_probs, regions)
        classes = most_likely(logits.detach())  # (B, *spatial)
        contrastive = self.contrastive_loss(embedding, classes, batch.label, regions)
        unlabeled_loss = adversarial + self.contrastive_weight * contrastive
        return self.output(  # uses Eq. 9
            labeled_loss, unlabeled_loss, step, adversarial=adversarial, contrastive=contrastive
        )

    def adversarial_loss(
        self, images: Tensor, clean_probs: Tensor, regions: Sequence[Region]
    ) -> Tensor:
        """How far the prediction moves from the clean one in the worst direction found.

        Args:
            images: The whole batch, (B, channels, *spatial).
            clean_probs: What the student says of it, (B, C, *spatial), without a graph.
            regions: What the unlabeled rule returned for the whole batch.
        """

        def predict(image: Tensor) -> Tensor:
            return self.student(image).float().softmax(1)

        def distance(probs: Tensor) -> Tensor:
            return dice_distance(
                probs,
                clean_probs,
                regions,
                reduction=self.unlabeled_reduction,
                dice=self.dice,
                pool_classes=self.pool_classes,
            )

        with frozen_statistics(self.student):
            direction = adversarial_direction(predict, images, distance, xi=self.xi)
            return distance(predict(images + self.epsilon * direction))

    def contrastive_loss(
        self, embedding: Tensor, classes: Tensor, label: Tensor, regions: Sequence[Region]
    ) -> Tensor:
        """Labeled plus unlabeled features against the memory, which is renewed before.

        Picking voxels by class waits for the device, 3 C - 2 times with background left out.

        Args:
            embedding: The student's last feature, (B, width, *spatial).
            classes: The classes it predicts, (B, *spatial).
            label: Classes of the labeled images, (B_l, *spatial).
            regions: What the unlabeled rule returned for the whole batch.
        """
        count = len(label)
        features, label, right = self.voxels(embedding[:count], label, classes[:count] == label)
        self.remember(features, label, right)
        prototypes = self.memory.of_each_class()  # C x (K, E)
        everything = Region(torch.ones_like(right), 1.0)
        labeled = self.pull(features, label, prototypes, [everything])
        maps = [m[count:] for region in regions for m in region if isinstance(m, Tensor)]
        features, pseudo_label, *maps = self.voxels(embedding[count:], classes[count:], *maps)
        flat = iter(maps)  # masks, and weights where they are maps
        parts = [Region(*(next(flat) if isinstance(m, Tensor) else m for m in r)) for r in regions]
        return labeled + self.pull(features, pseudo_label, prototypes, parts)

    def voxels(self, embedding: Tensor, *maps: Tensor) -> list[Tensor]:
        """Flatten an embedding to (N, width) and maps (B, *spatial) to (N,), N <= max_features."""
        flat = [embedding.movedim(1, -1).flatten(0, -2), *(m.flatten() for m in maps)]
        if self.max_features is None:
            return flat
        chosen = torch.randperm(len(flat[0]), device=embedding.device)[: self.max_features]
        return [values[chosen] for values in flat]

    @torch.no_grad()
    def remember(self, embedding: Tensor, label: Tensor, right: Tensor) -> None:
        """Renew the memory with labeled voxels, (N, width), that are predicted right, bool (N,)."""
        for c, selector in enumerate(self.student.selectors):
            if c or self.background_memory:
                vectors = self.student.project(embedding[right & (label == c)])
                self.memory.store(c, vectors, selector)

    def pull(
        self,
        embedding: Tensor,
        label: Tensor,
        prototypes: Sequence[Tensor],
        regions: Sequence[Region],
    ) -> Tensor:
        """The contrastive term of one part: features (N, width) against the prototypes."""
        student, by_selector = self.student, self.memory_weights == "selector"
        return prototype_loss(
            student.prediction(student.projection(embedding)),  # (N, E)
            label,
            prototypes,
            student.selectors,
            regions,
            reduction=self.unlabeled_reduction,
            prototype_scorers=student.memory_selectors if by_selector else None,
        )

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """The published schedule and settings, 2: ACDC, 3: LA."""
        if rank == 2:
            return recipe_2d(schedule=Constant(), dice=DICE_BCP_ACDC, ce_share=0.0)
        return ramped_recipe_3d(
            steps=15_000,
            schedule=StepDecay(2500 / 15_000),
            dice=DICE_SS_NET_LA,
            ce_share=0.0,
            consistency_weight=1.0,
            epsilon=10.0,
            pool_classes=True,
        )
