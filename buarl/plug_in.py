"""URL and CRL for trainers of others: two losses as modules, and a transform of dictionaries.

Nothing here knows a trainer. `examples/other_trainers` has a Lightning module and a MONAI trainer
that use it. Where a trainer divides a batch among several processes (DDP), each cuts its own images
and takes its own means, unless the step runs inside `buarl.whole_batch.batch_in_parts`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from buarl.arguments import check_axes, check_choice, check_number, check_tensor
from buarl.dice import DICE_SSL4MIS, Dice
from buarl.entropy import entropy_of_probs, most_likely
from buarl.losses import Reduction, region_loss, voxel_weights
from buarl.regions import Rule, crl, url

REDUCTIONS = ("region", "voxel")
AFTER = ("pseudo_label", "entropy", "weight")


class RegionLoss(nn.Module):
    """The loss on labeled images as a module: Dice and cross-entropy on regions (uses Eq. 7).

    Args:
        rule: Cuts a batch into regions of different weight.
        reduction: "region" or "voxel", see `region_loss`; the paper leaves it open, so it has no
            default.
        dice: Which Dice, see `Dice`.
        ce_share: Share of the cross-entropy, 0 to 1; Dice has the rest.
    Raises:
        TypeError: a rule that cannot be called. ValueError: an unknown reduction or a share outside
            0-1.

    >>> loss = RegionLoss(url(percentile=95), reduction="voxel")
    >>> logits = torch.zeros(2, 4, 8, 8, requires_grad=True)
    >>> loss(logits, torch.zeros(2, 1, 8, 8, dtype=torch.long)).shape
    torch.Size([])
    """

    def __init__(
        self,
        rule: Rule | None = None,
        *,
        reduction: Reduction,
        dice: Dice = DICE_SSL4MIS,
        ce_share: float = 0.5,
    ) -> None:
        super().__init__()
        self.rule = url() if rule is None else _checked_rule(rule)
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction, self.dice = reduction, dice
        self.ce_share = check_number("ce_share", ce_share, 0, 1)

    def forward(self, logits: Tensor, target: Tensor, probs: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            logits: What the network puts out, float (B, C, *spatial).
            target: Classes 0 to C-1, (B, *spatial) or with an axis of one channel, as MONAI has
                them, (B, 1, *spatial); whole numbers, which may be stored as floats.
            probs: Whose uncertainty cuts the regions, (B, C, *spatial); None takes the
                probabilities of the logits. No gradient flows through them.
        Returns:
            Scalar, float32, or float64 for such logits.
        Raises:
            TypeError, ValueError: see `region_loss`; a float target that holds no whole numbers.
        """
        logits, target = _plain("logits", logits), _classes(target, logits)
        cut_by = logits.detach().float().softmax(1) if probs is None else _plain("probs", probs)
        return region_loss(
            logits,
            target,
            self.rule(cut_by),
            reduction=self.reduction,
            dice=self.dice,
            ce_share=self.ce_share,
        )


class PseudoLabelLoss(RegionLoss):
    """The loss on unlabeled images as a module: a teacher's pseudo-labels on regions (uses Eq. 8).

    Args:
        rule: Cuts the teacher's predictions into regions; None is `crl()`.
        reduction: "region" or "voxel", as in `RegionLoss`.
        dice: Which Dice, see `Dice`.
        ce_share: Share of the cross-entropy, 0 to 1; Dice has the rest.

    >>> loss = PseudoLabelLoss(crl(percentile=99), reduction="voxel")
    >>> logits = torch.zeros(2, 4, 8, 8, requires_grad=True)
    >>> loss(logits, teacher_logits=torch.rand(2, 4, 8, 8)).requires_grad
    True
    """

    def __init__(
        self,
        rule: Rule | None = None,
        *,
        reduction: Reduction,
        dice: Dice = DICE_SSL4MIS,
        ce_share: float = 0.5,
    ) -> None:
        rule = crl() if rule is None else rule
        super().__init__(rule, reduction=reduction, dice=dice, ce_share=ce_share)

    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            logits: What the student puts out, float (B, C, *spatial).
            teacher_logits: What the teacher puts out, of the same shape; no gradient flows back.
        Returns:
            float32 scalar.
        Raises:
            TypeError, ValueError: see `region_loss`.
        """
        probs = _plain("teacher_logits", teacher_logits).detach().float().softmax(1)
        return super().forward(logits, most_likely(probs), probs)


class PseudoLabeld:
    """A transform of dictionaries: stored probabilities become a pseudo-label and a map of weights.

    For trainers that read a teacher's predictions from disk. For each key it adds KEY_pseudo_label
    (int64), KEY_entropy (nats) and KEY_weight (float32), each (1, *spatial). The mean of
    KEY_weight times any loss per voxel is that loss on the regions of the rule. One image comes at
    a time, so the percentile runs over its own voxels. It is called like a transform of MONAI, and
    MONAI need not be there.

    Args:
        keys: Keys whose values are probabilities (C, *spatial), arrays or tensors.
        rule: Cuts the regions; None is `crl()`.
        reduction: "region" or "voxel", see `region_loss`.
        allow_missing_keys: Leave out keys that a dictionary does not have.
    Raises:
        TypeError, ValueError: no keys, a rule that cannot be called, an unknown reduction.

    >>> transform = PseudoLabeld("probs", crl(percentile=50, alpha=0.5), reduction="voxel")
    >>> added = transform({"probs": torch.tensor([[0.9, 0.4], [0.1, 0.6]])})
    >>> added["probs_pseudo_label"], added["probs_weight"]
    (tensor([[0, 1]]), tensor([[1.0000, 0.5000]]))
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        rule: Rule | None = None,
        *,
        reduction: Reduction,
        allow_missing_keys: bool = False,
    ) -> None:
        self.keys = tuple(keys) if isinstance(keys, list | tuple) else (keys,)
        if not self.keys:
            raise ValueError("keys must name at least one key, got none")
        self.rule = crl() if rule is None else _checked_rule(rule)
        check_choice("reduction", reduction, REDUCTIONS)
        self.reduction, self.allow_missing_keys = reduction, allow_missing_keys

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of a dictionary, with three more values for each key.

        Args:
            data: One image with all that belongs to it.
        Raises:
            KeyError: a key that is not there. TypeError, ValueError: no probabilities.
        """
        found = dict(data)
        for key in self.keys:
            if key not in data:
                if self.allow_missing_keys:
                    continue
                raise KeyError(f"PseudoLabeld needs the key {key!r}, got {sorted(map(str, data))}")
            probs = _plain(str(key), torch.as_tensor(data[key]))[None]  # (1, C, *spatial)
            check_axes(str(key), probs)
            weight = voxel_weights(self.rule(probs), reduction=self.reduction)
            maps = (most_likely(probs), entropy_of_probs(probs), weight)
            found |= {f"{key}_{name}": each for name, each in zip(AFTER, maps, strict=True)}
        return found


def _checked_rule(rule: object) -> Any:
    if not callable(rule) or isinstance(rule, type):
        raise TypeError(f"rule must be a rule such as url() or crl(), got {rule!r:.80}")
    return rule


def _plain(name: str, value: object) -> Tensor:
    """A tensor without what a library hangs on it, such as MONAI's MetaTensor; gradients stay."""
    check_tensor(name, value)
    return value if type(value) is Tensor else value.as_subclass(Tensor)


def _classes(target: object, logits: Tensor) -> Tensor:
    """Integer (B, *spatial), whether they came as floats or with a channel."""
    check_tensor("target", target, "any")
    target = target if type(target) is Tensor else target.as_subclass(Tensor)
    if target.is_floating_point():
        if target.device.type == "cpu" and bool((target != target.round()).any()):
            raise ValueError("target must hold whole numbers, the classes, got fractions")
        target = target.long()
    if target.ndim == logits.ndim and target.shape[1] == 1:
        target = target[:, 0]
    return target
