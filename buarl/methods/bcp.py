"""Bidirectional copy-paste, BCP, and the paper's Ours(BCP).

Stage 1, on labeled images: one half of the batch is pasted onto the other through a box, and the
student learns the mixed label; URL weighs uncertain voxels up. Stage 2: labeled images are pasted
onto unlabeled ones and the other way round. The target is the label where a labeled image lies and
the teacher's pseudo-label, cleaned to the largest component, where an unlabeled one lies. CRL
weighs uncertain voxels of the pseudo-label down. Then the teacher follows the student.

Paper: Bai, Chen, Li, Shen, Wang, CVPR 2023, arXiv 2305.00673.
Reference code: DeepMed-Lab-ECNU/BCP (docs/protocol.md 4.2 and 5; the paper's reading: 7.9-7.13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from buarl.components import largest_component
from buarl.copy_paste import Box, copy_paste, outside_mask, sample_box
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_BCP_ACDC, DICE_BCP_LA, Dice
from buarl.ema import update_teacher
from buarl.entropy import most_likely
from buarl.losses import region_loss
from buarl.methods.base import (
    Learner,
    Method,
    Stage,
    Step,
    StepOutput,
    detached_probs,
    frozen_copy,
    total_loss,
)
from buarl.methods.options import Share, Weight
from buarl.methods.recipe import Paper, Recipe, Reference, StagePlan
from buarl.regions import whole, within
from buarl.schedules import StepDecay
from buarl.whole_batch import drawn_once


class Pseudo(NamedTuple):
    """What the teacher says of unlabeled images.

    pseudo_label: The cleaned classes, int64 (B, *spatial).
    probs: The probabilities, float32 (B, C, *spatial).
    """

    pseudo_label: Tensor
    probs: Tensor


@dataclass(kw_only=True, eq=False, repr=False)
class Bcp(Method):
    """Pre-training and self-training with one copy-paste box per step.

    The labeled rule cuts where the target is a label, in stage 1 (and in stage 2 with
    `url_in_stage2`); the unlabeled rule where it is a pseudo-label, in stage 2. The teacher is the
    student's copy at the start of stage 2.

    >>> import buarl
    >>> network = buarl.networks.UNet(4, width=2)
    >>> method = Bcp(network, labeled_rule=buarl.url(95), unlabeled_rule=buarl.crl(99))
    >>> [stage.name for stage in method.stages()]
    ['pretrain', 'selftrain']
    """

    name = "bcp"
    paper = Paper(
        "Y. Bai, D. Chen, Q. Li, W. Shen, Y. Wang",
        "Bidirectional Copy-Paste for Semi-Supervised Medical Image Segmentation",
        "CVPR 2023",
        2023,
        "https://arxiv.org/abs/2305.00673",
    )
    references = (
        Reference("DeepMed-Lab-ECNU/BCP", "7879f98", "code/ACDC_BCP_train.py", "2-D"),
        Reference("DeepMed-Lab-ECNU/BCP", "7879f98", "code/LA_BCP_train.py", "3-D"),
    )

    dice: Dice = DICE_BCP_ACDC
    """Which Dice loss: BCP has `DICE_BCP_ACDC` on ACDC and `DICE_BCP_LA` on LA."""
    url_in_stage2: bool = False
    """Use the labeled rule in stage 2 as well.

    Paper note: the paper gives thresholds per phase, so URL is taken to act in stage 1 only; Eq. 9
    taken literally asks for it in both.
    """
    entropy_from: Literal["teacher", "student"] = "teacher"
    """Whose entropy cuts the pseudo-label part: the teacher's, on the unmixed unlabeled image, or
    the student's, on the mixed one."""
    unlabeled_weight: Weight = 0.5
    """BCP's u_w, the weight of the pseudo-label parts beside the label parts."""
    mixed_label: bool = False
    """Stage 1 with one loss on the mixed label (LA) instead of one per part (ACDC)."""
    unlabeled_outside_first: bool = True
    """Whether the unlabeled image surrounds the box in the first direction (ACDC)."""
    keep_optimizer: bool = True
    """Carry the momentum into stage 2 (ACDC)."""
    ema_decay: Share = 0.99
    """Share of the old teacher that is kept at a step."""
    ema_buffers: bool = True
    """Average the statistics of normalization layers too (ACDC)."""
    teacher_mode: Literal["train", "eval"] = "train"
    """How the teacher predicts: with dropout and batch statistics (the reference) or without."""
    box_share: Share = 2 / 3
    """Edge of the box over the edge of the image."""

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        self.teacher = frozen_copy(network)
        self.stage2_labeled_rule = self.labeled_rule if self.url_in_stage2 else whole()

    def stages(self) -> tuple[Stage, ...]:
        """Pre-training on labels, then self-training; the student learns in both."""
        pretrain = Learner("student", self.student, self.pretraining_step, self.optimizer)
        selftrain = Learner("student", self.student, self.training_step, self.optimizer)
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

    def check_plan(self, stages: Sequence[StagePlan]) -> None:
        """Batches come in halves, and each labeled image has an unlabeled partner in stage 2.

        Raises:
            ValueError: an odd batch, or two numbers in stage 2.
        """
        for plan in stages:
            if plan.labeled_batch % 2:
                raise ValueError(
                    f"labeled_batch must be even, as BCP pastes one half of a batch onto the "
                    f"other, got {plan.labeled_batch}"
                )
        labeled, unlabeled = stages[-1].labeled_batch, stages[-1].unlabeled_batch
        if labeled != unlabeled:
            raise ValueError(
                "labeled_batch and unlabeled_batch of stage 2 must be equal, as BCP pastes images "
                f"in pairs, got {labeled} and {unlabeled}"
            )

    def pretraining_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """Stage 1: labeled images pasted onto labeled images."""
        image_a, image_b = _halves(batch.labeled_image)
        label_a, label_b = _halves(batch.label)
        outside = self.draw_outside(image_a)
        mixed = copy_paste(image_a, image_b, outside)
        logits = self.student(mixed)  # (B_l/2, C, *spatial)  uses Eq. 1
        regions = self.labeled_rule(detached_probs(logits))  # URL: uses Eq. 2-5
        if self.mixed_label:
            loss = self.labeled_loss(logits, copy_paste(label_a, label_b, outside), regions)
        else:
            loss = self.labeled_loss(logits, label_a, within(regions, outside))  # uses Eq. 7
            loss = loss + self.labeled_loss(logits, label_b, within(regions, ~outside))
        return StepOutput(loss, {"labeled": loss.detach()})

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """Stage 2: the two directions of copy-paste between labeled and unlabeled images."""
        if len(batch.image) != 2 * len(batch.label):
            sizes = len(batch.label), len(batch.image) - len(batch.label)
            raise ValueError(f"BCP pastes labeled and unlabeled images in pairs, got {sizes}")
        images, labels = _halves(batch.labeled_image), _halves(batch.label)
        unlabeled = _halves(batch.unlabeled_image)
        outside = self.draw_outside(images[0])
        labeled_total = unlabeled_total = torch.zeros((), device=outside.device)
        for direction in (0, 1):
            around = (direction == 0) == self.unlabeled_outside_first
            labeled_loss, unlabeled_loss = self.losses_of_one_direction(
                images[direction],
                labels[direction],
                unlabeled[direction],
                outside if around else ~outside,
            )
            labeled_total = labeled_total + labeled_loss
            unlabeled_total = unlabeled_total + unlabeled_loss
        loss = total_loss(labeled_total, unlabeled_total, self.unlabeled_weight)  # uses Eq. 9
        logs = {"labeled": labeled_total.detach(), "unlabeled": unlabeled_total.detach()}
        return StepOutput(loss, logs)

    def losses_of_one_direction(
        self, image: Tensor, label: Tensor, unlabeled_image: Tensor, unlabeled_place: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The labeled and the unlabeled term of one half of the batch.

        Args:
            image, unlabeled_image: What is mixed, (B_l/2, 1, *spatial).
            label: Classes of the labeled images, int64 (B_l/2, *spatial).
            unlabeled_place: Where the unlabeled image lies, bool (*spatial).
        """
        pseudo = self.pseudo_label(unlabeled_image)
        mixed = copy_paste(self.student_view(unlabeled_image), image, unlabeled_place)
        logits = self.student(mixed)  # (B_l/2, C, *spatial)  uses Eq. 1
        probs = detached_probs(logits)  # uses Eq. 2
        labeled_regions = within(self.stage2_labeled_rule(probs), ~unlabeled_place)
        cut_by = pseudo.probs if self.entropy_from == "teacher" else probs
        unlabeled_regions = within(self.unlabeled_rule(cut_by), unlabeled_place)  # CRL: uses Eq. 6
        labeled_loss = self.labeled_loss(logits, label, labeled_regions)  # uses Eq. 7
        unlabeled_loss = region_loss(  # uses Eq. 8
            logits,
            pseudo.pseudo_label,
            unlabeled_regions,
            reduction=self.unlabeled_reduction,
            dice=self.dice,
        )
        return labeled_loss, unlabeled_loss

    @torch.no_grad()
    def pseudo_label(self, image: Tensor) -> Pseudo:
        """The teacher's labels, cleaned to the largest component per class and image.

        Args:
            image: Unlabeled images, (B, 1, *spatial).
        """
        self.teacher.train(self.teacher_mode == "train")
        probs = detached_probs(self.teacher(image))  # (B, C, *spatial)  uses Eq. 2
        return Pseudo(largest_component(most_likely(probs), probs.shape[1]), probs)

    def draw_outside(self, image: Tensor) -> Tensor:
        """BCP's K for this step: True outside the box, (*spatial)."""
        spatial, device = image.shape[2:], image.device
        box = sample_box(spatial, self.box_share, device=device)
        start = drawn_once(torch.stack(box.start)).unbind()  # one box for the whole batch
        return outside_mask(spatial, Box(start, box.size), device)

    def start_selftraining(self) -> None:
        """Both networks start stage 2 from the last weights of stage 1."""
        self.teacher.load_state_dict(self.student.state_dict())

    def update_teacher(self, step: Step) -> None:
        """Move the teacher towards the student, after the optimizer's step.

        In evaluation mode the teacher gathers no statistics of its own and takes the student's.
        """
        buffers = self.ema_buffers or self.teacher_mode == "eval"
        update_teacher(self.teacher, self.student, self.ema_decay, buffers=buffers)  # uses Eq. 10

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """The published schedule and settings, 2: ACDC, 3: LA."""
        if rank == 2:
            stages = StagePlan(10_000, 12, 0), StagePlan(30_000, 12, 12)
            return Recipe(stages, {"dice": DICE_BCP_ACDC})
        stages = StagePlan(2_000, 4, 0), StagePlan(15_000, 4, 4, StepDecay(2500 / 15_000))
        settings = {
            "dice": DICE_BCP_LA,
            "mixed_label": True,
            "unlabeled_outside_first": False,
            "keep_optimizer": False,
            "ema_buffers": False,
        }
        return Recipe(stages, settings)


def _halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
    if len(tensor) % 2:
        raise ValueError(f"BCP splits a batch into halves, got an odd batch of {len(tensor)}")
    first, second = tensor.chunk(2)
    return first, second
