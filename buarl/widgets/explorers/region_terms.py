"""The terms of a loss on a batch, and what a rule makes of them; for the region explorer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from buarl.data.batches import SemiBatch
from buarl.dice import DICE_SSL4MIS, Dice
from buarl.losses import Reduction, region_loss
from buarl.methods import Method
from buarl.regions import RULES, Region, Rule
from buarl.widgets.explorers.live import check_finite
from buarl.widgets.still import Table

HEAD = ("region", "weight", "voxels", "share", "CE", "Dice", "of CE loss")
MEANS = {"voxel": "all voxels", "region": "each region"}
NAMES = {1: ("all",), 2: ("uncertain", "certain")}


class Term(NamedTuple):
    """What one term of the loss is computed on.

    image: float (B, *spatial). target: label or pseudo-label, integer (B, *spatial). logits: the
    student's, (B, C, *spatial). probs: by whose entropy a rule cuts, (B, C, *spatial).
    """

    image: Tensor
    target: Tensor
    logits: Tensor
    probs: Tensor


class Part(NamedTuple):
    """One region: weight, voxels, their mean cross-entropy and Dice loss (both with weight 1), and
    its share of the term's cross-entropy, 0-1."""

    name: str
    weight: float
    voxels: int
    ce: float
    dice: float
    ce_share: float


class TermReading(NamedTuple):
    """A term under a rule: its parts, their masks, and the loss, all from the library."""

    regions: list[Region]
    parts: list[Part]
    loss: float

    def table(self, kind: str, rule: Rule, reduction: Reduction) -> Table:
        """The read-outs; the title names the term's kind, the rule and the loss."""
        count = sum(part.voxels for part in self.parts)
        cut = "" if rule.percentile is None else f" at {rule.percentile:g}"
        title = f"{kind}: {rule.name}{cut}, mean over {MEANS[reduction]}, loss {self.loss:.4f}"
        rows = [
            (
                part.name,
                f"{part.weight:.2f}",
                str(part.voxels),
                f"{part.voxels / count:.1%}",
                f"{part.ce:.3f}",
                f"{part.dice:.3f}",
                f"{part.ce_share:.0%}",
            )
            for part in self.parts
        ]
        return Table(title, HEAD, rows)


@torch.no_grad()
def method_terms(method: Method, batch: SemiBatch) -> tuple[Term, Term | None]:
    """The labeled and the unlabeled term of any method on a batch, as seen in eval mode.

    Pseudo-labels and their entropy come from the teacher, or from the student if there is none.
    Images are taken as they are: no copy-paste, no noise, no largest component.

    Args:
        method: Any with a `student`. batch: As it is trained on; without unlabeled images the
            second term is None.
    """
    mode = method.training
    method.eval()
    teacher = getattr(method, "teacher", method.student)
    logits = method.student(batch.labeled_image)
    labeled = Term(batch.labeled_image[:, 0], batch.label, logits, logits.softmax(1))
    unlabeled = None
    if len(batch.unlabeled_image):
        probs = teacher(batch.unlabeled_image).softmax(1)
        logits = method.student(batch.unlabeled_image)
        unlabeled = Term(batch.unlabeled_image[:, 0], probs.argmax(1), logits, probs)
    method.train(mode)
    return labeled, unlabeled


def read_term(
    term: Term, rule: Rule, reduction: Reduction, dice: Dice = DICE_SSL4MIS
) -> TermReading:
    """A term under a rule.

    Raises:
        ValueError: NaN or infinite probabilities, shapes that differ, wrong classes.
    """
    check_finite("probs", term.probs.numpy())
    check_finite("logits", term.logits.numpy())
    regions = rule(term.probs)

    def loss(parts: list[Region], how: Reduction, ce_share: float) -> float:
        arguments = {"reduction": how, "dice": dice, "ce_share": ce_share}
        return region_loss(term.logits, term.target, parts, **arguments).item()

    place = sum(int(region.mask.sum()) for region in regions)
    alone = [Region(region.mask, 1.0) for region in regions]
    voxels = [int(region.mask.sum()) for region in regions]
    ce, overlap = ([loss([part], "region", share) for part in alone] for share in (1, 0))
    weighted = [
        region.weight * mean * (1 if reduction == "region" else count / place)
        for region, mean, count in zip(regions, ce, voxels, strict=True)
    ]
    shares = [value / max(sum(weighted), 1e-12) for value in weighted]
    names = NAMES[len(regions)]
    weights = [region.weight for region in regions]
    parts = [Part(*row) for row in zip(names, weights, voxels, ce, overlap, shares, strict=True)]
    return TermReading(regions, parts, loss(regions, reduction, 0.5))


def make_rule(name: str, percentile: float, alpha: float) -> Rule:
    """A rule from three controls; `whole` needs no percentile, and neither it nor `drop` alpha."""
    arguments = {"whole": (), "drop": (percentile,)}.get(name, (percentile, alpha))
    return RULES[name](*arguments)


def as_term(values: Term) -> Term:
    """A term as tensors on the CPU, checked.

    Raises:
        ValueError: neither 2-D nor 3-D images, shapes that differ, or images with NaN.
    """
    image, target, logits, probs = (torch.as_tensor(value).detach().cpu() for value in values)
    if image.ndim not in (3, 4):
        raise ValueError(f"images must be (B, H, W) or (B, X, Y, Z), got {tuple(image.shape)}")
    if image.shape != target.shape:
        shapes = tuple(image.shape), tuple(target.shape)
        raise ValueError(f"image and target must have one shape, got {shapes[0]} and {shapes[1]}")
    check_finite("image", image.float().numpy())
    return Term(image.float(), target, logits.float(), probs.float())
