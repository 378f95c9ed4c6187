"""The soft Dice losses of the field, and the one loss that computes them all on regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from buarl.arguments import (
    check_axes,
    check_classes,
    check_number,
    check_shape,
    check_tensor,
    short,
)
from buarl.whole_batch import batch_mean, batch_total


@dataclass(frozen=True)
class Dice:
    """Which soft Dice loss: the field uses several under one name (docs/protocol.md 4.1).

    With sums over voxels of the probability p and the one-hot label y, per class:
    1 - (overlap_factor * sum p y + smooth) / (sum p^k + sum y^k + smooth), and the mean of it.

    Args:
        squared: k = 2, squares in the denominator; else k = 1.
        per_sample: One score per image and then their mean; else the sums run over the whole batch.
        background: Class 0 counts like any other; else it is left out of the mean.
        smooth: Added above and below, so that a class without voxels has no loss; above 0.
        overlap_factor: 2 lets a perfect prediction score 1; 0 to 2.
        smooth_above: False adds `smooth` below only; then an empty region costs 1 and not 0.
    Raises:
        TypeError: an argument of another type.
        ValueError: a number out of its range, or a smooth of 0.
    """

    squared: bool
    per_sample: bool
    background: bool
    smooth: float
    overlap_factor: float = 2.0
    smooth_above: bool = True

    def __post_init__(self) -> None:
        for name in ("squared", "per_sample", "background", "smooth_above"):
            if not isinstance(value := getattr(self, name), bool):
                raise TypeError(f"{name} of a Dice must be True or False, got {short(value)}")
        for name, high in (("smooth", 1e30), ("overlap_factor", 2)):
            value = check_number(f"{name} of a Dice", getattr(self, name), 0, high)
            object.__setattr__(self, name, value)  # frozen
        if self.smooth == 0:
            raise ValueError("smooth of a Dice must be above 0, else a class without voxels is 0/0")


# Each is named after the reference code it is read from, and after the data set if others differ.
DICE_SSL4MIS = Dice(squared=True, per_sample=False, background=True, smooth=1e-5)
DICE_BCP_ACDC = Dice(squared=True, per_sample=False, background=True, smooth=1e-10)  # and SS-Net
DICE_BCP_LA = Dice(squared=False, per_sample=True, background=True, smooth=1e-5)
DICE_UA_MT_LA = Dice(  # and DTC, SASSNet
    squared=True, per_sample=False, background=False, smooth=1e-5
)
DICE_SS_NET_LA = Dice(  # and MC-Net
    squared=False, per_sample=False, background=False, smooth=1e-8
)
DICE_MC_NET_ACDC = Dice(  # a slip its numbers depend on: a perfect prediction costs 0.5
    squared=True,
    per_sample=False,
    background=True,
    smooth=1e-10,
    overlap_factor=1.0,
    smooth_above=False,
)

DICES = {
    "ssl4mis": DICE_SSL4MIS,
    "bcp_acdc": DICE_BCP_ACDC,
    "bcp_la": DICE_BCP_LA,
    "ua_mt_la": DICE_UA_MT_LA,
    "ss_net_la": DICE_SS_NET_LA,
    "mc_net_acdc": DICE_MC_NET_ACDC,
}
"""The Dice losses by the name they have in rows and on the command line."""

OLD_DICE_NAMES = {
    "D2": "ssl4mis",
    "D2_BCP": "bcp_acdc",
    "D3": "bcp_la",
    "DF": "ua_mt_la",
    "DB": "ss_net_la",
    "D2_HALF": "mc_net_acdc",
}
"""How they were called before; run folders and rows may say so."""

D2, D2_BCP, D3, DF, DB, D2_HALF = (DICES[name] for name in OLD_DICE_NAMES.values())


def dice_by_name(name: str) -> Dice:
    """The Dice loss of a name in `DICES`; an old name will do.

    Args:
        name: For instance "bcp_acdc".
    Raises:
        ValueError: an unknown name; the message lists the known ones.

    >>> dice_by_name("bcp_acdc") == dice_by_name("D2_BCP") == DICE_BCP_ACDC
    True
    """
    known = DICES | {old: DICES[new] for old, new in OLD_DICE_NAMES.items()}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"dice must be one of {sorted(DICES)}, got {short(name)}")
    return known[name]


def dice_loss(probs: Tensor, target: Tensor, masks: Tensor, dice: Dice) -> Tensor:
    """Soft Dice loss of every region; the mask stands inside all three sums (docs/protocol.md 4.1).

    Args:
        probs: Class probabilities, float32 (B, C, N), voxels in a row.
        target: Classes, integer (B, N), or soft, float32 (B, C, N).
        masks: float32 (B, R, N), 0 and 1 or weights.
        dice: Which Dice.
    Returns:
        (R,), 0 to 1; 0 for an empty region if `dice` is smooth above.
    Raises:
        TypeError: what is no tensor, or holds another kind of numbers.
        ValueError: shapes that do not fit, or, on the CPU, classes out of range.

    >>> probs = torch.tensor([[[0.8, 0.3], [0.2, 0.7]]])
    >>> dice_loss(probs, torch.tensor([[0, 1]]), torch.ones(1, 1, 2), DICE_SSL4MIS)
    tensor([0.0801])
    """
    check_tensor("probs", probs)
    check_axes("probs", probs, "(B, C, N)", 3, 3)
    check_tensor("masks", masks)
    check_axes("masks", masks, "(B, R, N)", 3, 3)
    batch, _, voxels = probs.shape
    check_shape("masks", masks, (batch, masks.shape[1], voxels), fit="probs")
    if not isinstance(dice, Dice):
        raise TypeError(f"dice must be a Dice, got {type(dice).__name__} {short(dice)}")
    if isinstance(target, Tensor) and target.is_floating_point():
        check_shape("target", target, probs.shape, fit="probs")
        truth, true = target, target.square() if dice.squared else target  # (B, C, N)
    else:
        check_tensor("target", target, "integer")
        check_shape("target", target, (batch, voxels), fit="probs")
        check_classes("target", target, probs.shape[1])
        classes = target[:, None].long()  # (B, 1, N)
        truth = true = torch.zeros_like(probs, requires_grad=False).scatter_(1, classes, 1)
    predicted = probs.square() if dice.squared else probs  # (B, C, N)
    sums = [region_sums(values, masks) for values in (probs * truth, predicted, true)]  # (B, R, C)
    if not dice.per_sample:
        sums = batch_total(torch.stack([each.sum(0, keepdim=True) for each in sums]))
    overlap, predicted, true = (total[..., 0 if dice.background else 1 :] for total in sums)
    above = dice.overlap_factor * overlap + (dice.smooth if dice.smooth_above else 0)
    score = above / (predicted + true + dice.smooth)  # (B or 1, R, C)
    score = score.mean((0, 2))  # (R,)
    return 1 - (batch_mean(score) if dice.per_sample else score)


def region_sums(values: Tensor, masks: Tensor) -> Tensor:
    """Sums of maps over every region, to float32 precision.

    Args:
        values: C maps with their voxels in a row, float32 (B, C, N).
        masks: float32 (B, R, N), 0 and 1 or weights.
    Returns:
        (B, R, C).

    >>> region_sums(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]]))
    tensor([[[3.]]])
    """
    # Not a product of matrices: that adds voxel after voxel and loses up to 0.4 % over the million
    # voxels of an LA patch; `sum` adds in pairs.
    return torch.stack([(values * mask[:, None]).sum(2) for mask in masks.unbind(1)], 1)
