"""UniMatch, the strong form of FixMatch, in one file.

The student predicts a weak view of every unlabeled image, and that prediction is the pseudo-label
where it is confident. Two strong views of the image, with other intensities and with boxes pasted
from another image, and the image's own features with half of their channels dropped must all lead
to it. Labeled images teach Dice and cross-entropy. There is no teacher and no ramp.

Paper: Yang, Qi, Feng, Zhang, Shi, CVPR 2023, arXiv 2208.09910.
Reference code: LiheYoung/UniMatch, its part for ACDC (docs/protocol.md 4.10 and 5.10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from buarl.data.batches import SemiBatch
from buarl.data.strong_views import UNIMATCH_VIEWS, StrongViews
from buarl.losses import region_loss
from buarl.methods.base import (
    Method,
    Step,
    StepOutput,
    detached_probs,
    require_unlabeled,
    total_loss,
)
from buarl.methods.options import Count, Share, Weight
from buarl.methods.recipe import Paper, Recipe, Reference, StagePlan, recipe_2d, recipe_3d
from buarl.networks.trunk import require_parts
from buarl.regions import within

BOX_SHARE = (0.02, 0.4)
"""The smallest and the largest part of an image that a box covers."""
ASPECT = (0.3, 1 / 0.3)
"""The smallest and the largest ratio of a box's first two edges."""
DRAWS = 128
"""How often a box is drawn; of a square that covers most, 1 in 7 draws fits a slice, 1 in 50 a
volume."""


@dataclass(kw_only=True, eq=False, repr=False)
class UniMatch(Method):
    """Weak to strong consistency, on two views of the image and one of its features.

    The labeled rule cuts labeled images. The unlabeled rule cuts each of the three unlabeled terms
    by the entropy of the weak prediction, pasted as the image is, and inside what is confident: the
    threshold is an absolute cut, a rule a relative one. Where more than 1 % of the voxels are below
    the threshold, what CRL at q = 99 would weigh down is out already, and CRL changes next to
    nothing; `confident` in the history says how many count.

    >>> import buarl
    >>> method = UniMatch(buarl.networks.UNet(4, width=2), unlabeled_rule=buarl.crl(99))
    >>> method.threshold
    0.95
    """

    name = "unimatch"
    paper = Paper(
        "L. Yang, L. Qi, L. Feng, W. Zhang, Y. Shi",
        "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation",
        "CVPR 2023",
        2023,
        "https://arxiv.org/abs/2208.09910",
    )
    references = (
        Reference("LiheYoung/UniMatch", "818609d", "more-scenarios/medical/unimatch.py", "2-D"),
    )

    strong_views: StrongViews | None = UNIMATCH_VIEWS
    """Intensities of the strong views; None leaves the pasted boxes alone."""
    views: Count = 2
    """Strong views of every image; they go through the student as one batch."""
    threshold: Share = 0.95
    """A voxel counts where the largest weak probability is at least this."""
    unlabeled_weight: Weight = 1.0
    """Weight of the unlabeled term beside the labeled one; the loss is half of the sum."""
    view_share: Share = 0.5
    """Part of the unlabeled term that the strong views have together; the features have the rest.
    At 0 or 1 what has no part is not computed."""
    feature_dropout: Share = 0.5
    """Part of the channels that is dropped, on every level of the encoder."""
    box_probability: Share = 0.5
    """How often a box is pasted into an image.

    Paper note: the box shows the next image of the same batch here. The public code draws a second
    batch for it and predicts that in eval mode.
    """

    def __post_init__(self, network: nn.Module) -> None:
        super().__post_init__(network)
        require_parts(self, network, "encode", "decode", "head")

    def check_plan(self, stages: Sequence[StagePlan]) -> None:
        """Boxes are pasted from another unlabeled image, so there must be two.

        Raises:
            ValueError: boxes, and one unlabeled image a step, or one on each of several devices.
        """
        for plan in stages:
            if plan.unlabeled_batch == 1 and self.box_probability > 0:
                raise ValueError(
                    "unlabeled_batch must be at least 2, as UniMatch pastes boxes from another "
                    "image of the batch, got 1; box_probability=0 pastes none"
                )

    def training_step(self, batch: SemiBatch, step: Step) -> StepOutput:
        """The loss of one step; its three parts and the confident share are logged."""
        require_unlabeled(self, batch)
        logits, dropped_logits = self.logits_of_features(batch.image)  # uses Eq. 1
        labeled_logits, weak_logits = batch.split(logits)
        probs = detached_probs(weak_logits)  # (B_u, C, *spatial)  uses Eq. 2
        labeled_loss = self.labeled_loss(labeled_logits, batch.label)  # uses Eq. 7
        views = features = torch.zeros((), device=probs.device)
        if self.view_share > 0:
            views = self.loss_of_views(batch.unlabeled_image, probs)
        if dropped_logits is not None:
            features = self.unlabeled_loss(batch.split(dropped_logits)[1], probs)
        unlabeled_loss = self.view_share * views + (1 - self.view_share) * features
        loss = total_loss(labeled_loss, unlabeled_loss, self.unlabeled_weight) / 2  # uses Eq. 9
        terms = {"labeled": labeled_loss, "unlabeled": unlabeled_loss, "views": views}
        terms |= {"features": features, "confident": self.confident(probs).float().mean()}
        return StepOutput(loss, {name: value.detach() for name, value in terms.items()})

    def logits_of_features(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the student says of images, and of their features with channels dropped.

        Both go down the decoder in one batch, as in the public code: they share its statistics.

        Args:
            image: The whole batch as it is, (B, 1, *spatial).
        Returns:
            Logits of both, (B, C, *spatial); None for the second where it has no part in the loss.
        """
        if self.view_share == 1:
            return self.student(image), None
        features = [
            torch.cat([each, torch.feature_dropout(each, self.feature_dropout, self.training)])
            for each in self.student.encode(image)
        ]
        logits = self.student.head(self.student.decode(features)[-1])
        first, second = logits.chunk(2)
        return first, second

    def loss_of_views(self, image: Tensor, probs: Tensor) -> Tensor:
        """The mean loss of the strong views.

        Args:
            image: Unlabeled images as they are, (B_u, 1, *spatial).
            probs: The weak prediction of them, (B_u, C, *spatial).
        """
        images, targets = [], []
        for _ in range(self.views):
            view = self.student_view(image)
            box = sample_boxes(len(image), image.shape[2:], self.box_probability, image.device)
            images.append(pasted(view, box))
            targets.append(pasted(probs, box))
        layout = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
        logits = self.student(torch.cat(images).contiguous(memory_format=layout))
        pairs = zip(logits.chunk(self.views), targets, strict=True)
        return torch.stack([self.unlabeled_loss(*pair) for pair in pairs]).mean()

    def unlabeled_loss(self, logits: Tensor, probs: Tensor) -> Tensor:
        """Dice against the pseudo-label, over its confident voxels.

        Args:
            logits: The student's, of a strong view or of thinned features, (B_u, C, *spatial).
            probs: The weak prediction, float32 (B_u, C, *spatial), without a gradient.
        """
        regions = within(self.unlabeled_rule(probs), self.confident(probs))  # CRL: uses Eq. 3-6
        return region_loss(  # uses Eq. 8
            logits,
            probs.argmax(1),
            regions,
            reduction=self.unlabeled_reduction,
            dice=self.dice,
            ce_share=0.0,
        )

    def confident(self, probs: Tensor) -> Tensor:
        """Which voxels teach, bool (B_u, *spatial)."""
        return probs.amax(1) >= self.threshold

    @classmethod
    def recipe(cls, rank: int) -> Recipe:
        """2: 300 epochs of 98 steps on ACDC. 3: our own, as no volumes are published."""
        return {2: recipe_2d(steps=29_400), 3: recipe_3d()}[rank]  # 3: own


def pasted(stack: Tensor, box: Tensor) -> Tensor:
    """Every image with the next one, the last with the first, inside its box.

    Args:
        stack: Images or probabilities, (B, channels, *spatial).
        box: bool (B, *spatial).

    >>> pasted(torch.tensor([[[1, 1]], [[2, 2]]]), torch.tensor([[True, False], [False, False]]))
    tensor([[[2, 1]],
    <BLANKLINE>
            [[2, 2]]])
    """
    return torch.where(box[:, None], stack.roll(-1, 0), stack)


def sample_boxes(
    count: int, spatial: Sequence[int], probability: float, device: torch.device | None = None
) -> Tensor:
    """Draw a box for each of some images, inside the image, or none.

    Its part of the image is uniform in `BOX_SHARE`, the ratio of its first two edges in `ASPECT`; a
    third edge is the cube root of that part, and the first two share the rest. The corner is
    uniform in the image. As in the public code, ratio and corner are drawn again until the box lies
    inside, which favours squarer boxes; all draws are made at once, and nothing waits for the
    device.

    Args:
        count: How many images.
        spatial: Size of the images, voxels per spatial axis.
        probability: How often there is a box.
        device: Where to draw; None is the CPU.
    Returns:
        bool (count, *spatial), True inside.

    >>> sample_boxes(2, (8, 8), probability=0).any()
    tensor(False)
    """

    def uniform(low: float, high: float, draws: int = DRAWS) -> Tensor:
        return torch.rand(count, draws, device=device) * (high - low) + low

    edge = uniform(*BOX_SHARE, draws=1) ** (1 / len(spatial))  # (count, 1)
    ratio = uniform(*ASPECT).sqrt()  # (count, DRAWS)
    shares = [edge * ratio, edge / ratio, edge.expand_as(ratio)][: len(spatial)]
    sizes = [(n * share).floor().clamp_min(1) for n, share in zip(spatial, shares, strict=True)]
    starts = [(uniform(0, 1) * n).floor() for n in spatial]
    ends = zip(spatial, sizes, starts, strict=True)
    fits = torch.stack([start + size <= n for n, size, start in ends]).all(0)
    first = fits.float().argmax(1, keepdim=True)  # (count, 1); 0 where none of all draws fits
    inside = (uniform(0, 1, draws=1) < probability).view(-1, *[1] * len(spatial))
    for axis, (n, size, start) in enumerate(zip(spatial, sizes, starts, strict=True)):
        size = size.gather(1, first).clamp_max(n)  # what does not fit is cut and moved
        start = start.gather(1, first).minimum(n - size)
        place = torch.arange(n, device=device)
        along = (place >= start) & (place < start + size)  # (count, n)
        inside = inside & along.view(-1, *(n if i == axis else 1 for i in range(len(spatial))))
    return inside
