"""Which voxels weigh how much? Rules as data: whole, URL, CRL, drop (Eq. 5-6, Tables 3-6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from buarl.entropy import Scope, entropy_of_probs, uncertain_mask


class Region(NamedTuple):
    """A set of voxels and the weight of its loss.

    mask: bool (B, *spatial). weight: >= 0; 0 keeps voxels in the place but out of the loss.
    """

    mask: Tensor
    weight: float


@dataclass(frozen=True)
class Rule:
    """Cuts the voxels of a batch into weighted regions: `rule(probs) -> [Region, ...]`.

    percentile None means one region with everything in it. A rule is plain data, so an experiment
    is a row; a method calls the rule it was given and never asks which one it is.
    """

    name: str
    percentile: float | None = None
    uncertain_weight: float = 1.0
    certain_weight: float = 1.0
    scope: Scope = "batch"

    def __post_init__(self) -> None:
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ValueError(f"{self.name}: percentile must lie in 0-100, got {self.percentile}")
        if self.percentile is not None and 0 < self.percentile < 1:
            raise ValueError(
                f"{self.name}: percentile is in percent and marks nearly everything below 1; "
                f"did you mean {100 * self.percentile:g}, got {self.percentile}"
            )
        if self.scope not in ("batch", "image"):
            raise ValueError(f'{self.name}: scope must be "batch" or "image", got {self.scope!r}')
        for weight in (self.uncertain_weight, self.certain_weight):
            if not weight >= 0:
                raise ValueError(f"{self.name}: alpha and weights must be >= 0, got {weight}")

    def __call__(self, probs: Tensor) -> list[Region]:
        """Cut by the entropy of `probs`, float (B, C, *spatial), sums to 1; no gradient flows."""
        _check_probs(probs)
        if self.percentile is None:
            everything = torch.ones_like(probs[:, 0], dtype=torch.bool)
            return [Region(everything, 1.0)]
        entropy = entropy_of_probs(probs.detach())  # (B, *spatial)
        uncertain = uncertain_mask(entropy, self.percentile, self.scope)  # (B, *spatial)
        return [  # Eq. 5-6: M selects voxels, the target keeps its classes
            Region(uncertain, self.uncertain_weight),
            Region(~uncertain, self.certain_weight),
        ]

    def as_dict(self) -> dict:
        """Plain types, for JSON; `Rule(**rule.as_dict()) == rule`."""
        return asdict(self)


def whole() -> Rule:
    """One region with every voxel and weight 1: the plain method."""
    return Rule("whole")


def url(percentile: float = 95, alpha: float = 0.5, scope: Scope = "batch") -> Rule:
    """Uncertainty-aware region learning: uncertain voxels weigh 1, the rest alpha (Eq. 5, 7).

    Paper: for labeled images, percentile 95. Paper note: Eq. 5 multiplies the label by M, which
    would turn the other voxels into background; M selects voxels here and labels stay as they are.
    """
    return Rule("url", percentile, uncertain_weight=1.0, certain_weight=alpha, scope=scope)


def crl(percentile: float = 99, alpha: float = 0.5, scope: Scope = "batch") -> Rule:
    """Certainty-aware region learning: certain voxels weigh 1, uncertain ones alpha (Eq. 6, 8).

    Paper: for unlabeled images, percentile 99 on ACDC and 95 on LA. Paper note: Eq. 6 prints Y^l
    where the pseudo-label Y^u is meant.
    """
    return Rule("crl", percentile, uncertain_weight=alpha, certain_weight=1.0, scope=scope)


def drop(percentile: float = 99, scope: Scope = "batch") -> Rule:
    """CRL with alpha = 0: uncertain voxels leave the loss (Table 6, "remove")."""
    return Rule("drop", percentile, uncertain_weight=0.0, certain_weight=1.0, scope=scope)


RULES = {"whole": whole, "url": url, "crl": crl, "drop": drop}


def within(regions: Sequence[Region], place: Tensor) -> list[Region]:
    """The parts of the regions inside `place`, bool, broadcastable to (B, *spatial)."""
    return [Region(region.mask & place, region.weight) for region in regions]


def _check_probs(probs: Tensor) -> None:
    """Logits handed over by mistake would rank voxels wrong. Not on a GPU: it would wait."""
    if probs.device.type != "cpu" or probs.numel() == 0:
        return
    probs = probs.detach().float()
    low, high = (float(bound) for bound in probs.sum(1).aminmax())
    if low < 0.98 or high > 1.02 or probs.min() < 0:  # NaN passes: `fit` stops at its loss
        raise ValueError(
            "a rule takes probabilities that sum to 1 over axis 1 (use logits.softmax(1)), "
            f"got sums from {low:.3g} to {high:.3g}"
        )
