"""Bidirectional copy-paste (BCP), and the paper's Ours(BCP) (docs/protocol.md 4.2, 7.9-7.13).

Stage 1, on labeled images: one half of the batch is pasted onto the other through a box; URL cuts
the mixed prediction. Stage 2: labeled images are pasted onto unlabeled ones and the other way
round; the target is the label where a labeled image lies and the teacher's cleaned pseudo-label
where an unlabeled one lies. CRL cuts the pseudo-label part, by the teacher's entropy.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from buarl.components import largest_component
from buarl.copy_paste import copy_paste, outside_mask, sample_box
from buarl.data.batches import SemiBatch
from buarl.ema import update_teacher
from buarl.entropy import most_likely
from buarl.losses import D2_BCP, Dice, region_loss
from buarl.methods.base import (
    Constants,
    Method,
    Player,
    Stage,
    Step,
    StepOutput,
    detached_probs,
    frozen_copy,
)
from buarl.regions import whole, within


class Pseudo(NamedTuple):
    """What the teacher says of unlabeled images: pseudo_label and probs."""

    pseudo_label: Tensor  # (B, *spatial)
    probs: Tensor  # (B, C, *spatial)


class Bcp(Method):
    """Pre-training and self-training with one box per step.

    Args:
        network: The student; the teacher is its copy at the start of stage 2.
        labeled_rule: Where the target is a label, in stage 1 (and 2 with url_in_stage2).
        unlabeled_rule: Where the target is a pseudo-label, in stage 2.
        url_in_stage2: Use the labeled rule in stage 2 as well. Paper note: thresholds are given
            per phase, so URL is read as stage 1 only; Eq. 9 taken literally asks for both.
        entropy_from: Whose entropy cuts the pseudo-label part: the "teacher", on the unmixed
            unlabeled image, or the "student", on the mixed one.
        unlabeled_weight: u_w, weight of the pseudo-label parts.
        mixed_label: Stage 1 with one loss on the mixed label (LA) instead of one per part (ACDC).
        unlabeled_outside_first: Which image surrounds the box in the first direction (ACDC: True).
        keep_optimizer: Carry the momentum into stage 2 (ACDC: True).
        ema_decay, ema_buffers: The teacher's average (ACDC averages normalisation buffers too).
        teacher_mode: "train" (the reference) or "eval". box_share: Box edge over image edge.
        dice: BCP on ACDC uses D2_BCP, on LA D3.
        common: Normalisers, optimizer: see `Method`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        url_in_stage2: bool = False,
        entropy_from: Literal["teacher", "student"] = "teacher",
        unlabeled_weight: float = 0.5,
        mixed_label: bool = False,
        unlabeled_outside_first: bool = True,
        keep_optimizer: bool = True,
        ema_decay: float = 0.99,
        ema_buffers: bool = True,
        teacher_mode: Literal["train", "eval"] = "train",
        box_share: float = 2 / 3,
        dice: Dice = D2_BCP,
        **common: Any,
    ) -> None:
        super().__init__(network, dice=dice, **common)
        self.teacher = frozen_copy(network)
        self.stage2_labeled_rule = self.labeled_rule if url_in_stage2 else whole()
        self.entropy_from, self.unlabeled_weight = entropy_from, unlabeled_weight
        self.mixed_label, self.unlabeled_outside_first = mixed_label, unlabeled_outside_first
        self.keep_optimizer = keep_optimizer
        self.ema_decay, self.ema_buffers = ema_decay, ema_buffers
        self.teacher_mode, self.box_share = teacher_mode, box_share

    def stages(self) -> tuple[Stage, ...]:
        """Pre-training on labels, then self-training; the student is the only player."""
        pretrain = Player("student", self.student, self.pretraining_step, self.optimizer)
        selftrain = Player("student", self.student, self.training_step, self.optimizer)
        return (
            Stage("pretrain", (pretrain,)),
            Stage(
                "selftrain",
                (selftrain,),
                start=self.start_selftraining,
                after_step=self.update_teacher,
                keep_optimizer=self.keep_optimizer,
            ),
        )

    def pretraining_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """Stage 1: labeled images pasted onto labeled images."""
        image_a, image_b = _halves(batch.labeled_image)
        label_a, label_b = _halves(batch.label)
        outside = self.draw_outside(image_a)
        logits = self.student(copy_paste(image_a, image_b, outside))  # (B_l/2, C, *spatial)  Eq. 1
        regions = self.labeled_rule(detached_probs(logits))  # URL: Eq. 3-5
        if self.mixed_label:
            loss = self.labeled_loss(logits, copy_paste(label_a, label_b, outside), regions)
        else:
            loss = self.labeled_loss(logits, label_a, within(regions, outside))
            loss = loss + self.labeled_loss(logits, label_b, within(regions, ~outside))
        return StepOutput(loss, {"labeled": loss.detach()})

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """Stage 2: the two directions of copy-paste between labeled and unlabeled images."""
        if len(batch.labeled_image) != len(batch.unlabeled_image):
            sizes = len(batch.labeled_image), len(batch.unlabeled_image)
            raise ValueError(f"BCP pastes labeled and unlabeled images in pairs, got {sizes}")
        images, labels = _halves(batch.labeled_image), _halves(batch.label)
        unlabeled = _halves(batch.unlabeled_image)
        outside = self.draw_outside(images[0])
        labeled_total = unlabeled_total = torch.zeros((), device=outside.device)
        for direction in (0, 1):
            around = (direction == 0) == self.unlabeled_outside_first
            unlabeled_place = outside if around else ~outside  # (*spatial)
            pseudo = self.pseudo_label(unlabeled[direction])
            mixed = copy_paste(unlabeled[direction], images[direction], unlabeled_place)
            logits = self.student(mixed)  # (B_l/2, C, *spatial)  Eq. 1
            probs = detached_probs(logits)
            labeled_regions = within(self.stage2_labeled_rule(probs), ~unlabeled_place)
            cut_by = pseudo.probs if self.entropy_from == "teacher" else probs
            unlabeled_regions = within(self.unlabeled_rule(cut_by), unlabeled_place)  # CRL: Eq. 6
            labeled_total = labeled_total + self.labeled_loss(
                logits, labels[direction], labeled_regions
            )
            unlabeled_total = unlabeled_total + region_loss(  # Eq. 8
                logits,
                pseudo.pseudo_label,
                unlabeled_regions,
                reduction=self.unlabeled_reduction,
                dice=self.dice,
            )
        loss = labeled_total + self.unlabeled_weight * unlabeled_total  # Eq. 9
        logs = {"labeled": labeled_total.detach(), "unlabeled": unlabeled_total.detach()}
        return StepOutput(loss, logs)

    @torch.no_grad()
    def pseudo_label(self, image: Tensor) -> Pseudo:
        """The teacher's labels, cleaned to the largest component per class and image."""
        self.teacher.train(self.teacher_mode == "train")
        probs = detached_probs(self.teacher(image))  # (B, C, *spatial)  Eq. 2
        return Pseudo(largest_component(most_likely(probs), probs.shape[1]), probs)

    def draw_outside(self, image: Tensor) -> Tensor:
        """BCP's K for this step: True outside the box, (*spatial)."""
        spatial, device = image.shape[2:], image.device
        return outside_mask(spatial, sample_box(spatial, self.box_share, device=device), device)

    def constants(self, step: Step) -> Constants:
        """No number: the decay is fixed and the box is drawn where it is used."""
        return ()

    def start_selftraining(self) -> None:
        """Both networks start stage 2 from the last weights of stage 1."""
        self.teacher.load_state_dict(self.student.state_dict())

    def update_teacher(self, step: Step) -> None:
        """Eq. 10, after the optimizer's step."""
        update_teacher(self.teacher, self.student, self.ema_decay, buffers=self.ema_buffers)


def _halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
    if len(tensor) % 2:
        raise ValueError(f"BCP splits a batch into halves, got an odd batch of {len(tensor)}")
    first, second = tensor.chunk(2)
    return first, second
