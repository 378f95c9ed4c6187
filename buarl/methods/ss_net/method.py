"""Smoothness and separation, SS-Net (Wu et al., MICCAI 2022; docs/protocol.md 3.3, 4.8, section 5).

Smooth between images: the prediction may not change when an image moves a little in the direction
where it would change most. Separate between classes: features of a class are pulled towards a few
remembered ones from labeled voxels the network got right. No teacher.
Reference: github.com/ycwu1997/SS-Net; where it differs from its paper's idea, a switch says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.entropy import most_likely
from buarl.methods.base import (
    Constants,
    RampedMethod,
    Step,
    StepOutput,
    detached_probs,
    require_unlabeled,
)
from buarl.methods.ss_net.perturbation import (
    adversarial_direction,
    dice_distance,
    frozen_statistics,
)
from buarl.methods.ss_net.projector import Projector
from buarl.methods.ss_net.prototypes import PrototypeMemory, prototype_loss
from buarl.regions import Region


class SsNet(RampedMethod):
    """Adversarial smoothness of the prediction, and features gathered around prototypes.

    URL and CRL: the labeled rule cuts the Dice of labeled images. The unlabeled rule cuts the whole
    batch, which the adversarial term compares, by the entropy of its clean prediction (a second
    pass, with dropout of its own). Its weights stand inside every sum of the distance, also while
    the direction is sought, and weigh the features of unlabeled voxels within each class. Features
    of labeled voxels count alike.

    Args:
        network: The trunk, a UNet or VNet; the student is `Projector` around it.
        epsilon: Length of the adversarial step per image (ACDC 6, LA 10). xi: Of the probing one.
        pool_classes: The adversarial distance is the Dice given, of two predictions and over all
            channels, background too. False: one per class, then the mean (ACDC). True: the sums run
            over the classes as well (LA).
        contrastive_weight: Factor on the contrastive terms beside the adversarial one.
        keep: Which candidates the memory keeps; "lowest" is a slip of the reference.
        memory_weights: "ones", another slip (its weights of prototypes always cancel), or
            "selector", scores by the memory selectors, which else learn nothing.
        background_memory: Remember background features as well. The reference does not, but
            divides by all classes.
        memory_size: Prototypes per class.
        max_features: Let the heads see only so many random voxels of the labeled and of the
            unlabeled images, for memory and time in 3-D; None: all, as the reference.
        common: The ramp: see `RampedMethod`; rules, normalisers, Dice, optimizer: see `Method`.
    """

    # A selector learns when its class is in the batch and the memory, the others on request; and
    # until a foreground voxel is right the memory is empty and no head learns.
    untouched = ("projection.", "prediction.", "selectors.", "memory_selectors.")

    def __init__(
        self,
        network: nn.Module,
        *,
        epsilon: float = 6.0,
        xi: float = 10.0,
        pool_classes: bool = False,
        contrastive_weight: float = 0.1,
        keep: Literal["lowest", "highest"] = "lowest",
        memory_weights: Literal["ones", "selector"] = "ones",
        background_memory: bool = False,
        memory_size: int = 32,
        max_features: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(Projector(network), **common)
        if memory_weights not in ("ones", "selector"):
            raise ValueError(f'memory_weights must be "ones" or "selector", got {memory_weights!r}')
        classes = len(self.student.selectors)
        self.memory = PrototypeMemory(classes, size=memory_size, keep=keep)
        self.epsilon, self.xi, self.pool_classes = epsilon, xi, pool_classes
        self.contrastive_weight, self.memory_weights = contrastive_weight, memory_weights
        self.background_memory, self.max_features = background_memory, max_features

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step."""
        count = len(batch.labeled_image)
        require_unlabeled(self, batch)
        images = torch.cat([batch.labeled_image, batch.unlabeled_image])
        logits, embedding = self.student.logits_and_embedding(images)  # (B, C or width, *spatial)
        labeled_loss = self.labeled_loss(logits[:count], batch.label)  # Eq. 7
        with torch.no_grad():
            clean_probs = detached_probs(self.student(images))  # (B, C, *spatial)
        regions = self.unlabeled_rule(clean_probs)  # CRL: Eq. 3, 4, 6
        adversarial = self.adversarial_loss(images, clean_probs, regions)
        classes = most_likely(logits.detach())  # (B, *spatial)
        contrastive = self.contrastive_loss(embedding, classes, batch.label, regions)
        unlabeled_loss = adversarial + self.contrastive_weight * contrastive
        weight = self.weight(step)
        logs = {
            "labeled": labeled_loss.detach(),
            "unlabeled": unlabeled_loss.detach(),
            "adversarial": adversarial.detach(),
            "contrastive": contrastive.detach(),
            "weight": weight,
        }
        return StepOutput(labeled_loss + weight * unlabeled_loss, logs)

    def constants(self, step: Step) -> Constants:
        """A step waits for counts of voxels."""
        return None

    def adversarial_loss(
        self, images: Tensor, clean_probs: Tensor, regions: Sequence[Region]
    ) -> Tensor:
        """How far the prediction moves from the clean one in the worst direction found.

        Args:
            images: (B, channels, *spatial). clean_probs: (B, C, *spatial), without a graph.
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
            embedding: (B, width, *spatial). classes: Predicted, (B, *spatial).
            label: (B_l, *spatial).
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
