"""Rules that ask which part of URL and CRL works: where they weigh, or how much (not in the paper).

The paper compares its rules with the plain method, which differs from them in two ways at once: in
the place that gains or loses weight, and in the weight of the whole term. Each rule here keeps one
of the two. `level` has the rule's weight in every voxel alike, `random_region` cuts as many voxels
as the entropy would, anywhere, and `border_region` cuts as many along the predicted borders.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from buarl.arguments import check_choice, check_number, may_look, plain_number
from buarl.entropy import Scope, entropy_of_probs, most_likely, uncertain_mask
from buarl.rule import Region, Rule
from buarl.whole_batch import batch_kth_smallest, batch_parts, batch_total

RINGS = 8  # how far from a border voxels are told apart, in voxels


@dataclass(frozen=True)
class Level(Rule):
    """One region with every voxel and one weight: a rule's total weight without its place.

    Made by `level(weight)`.

    Args:
        weight: Weight of every voxel, >= 0.

    >>> (region,) = Level(0.525)(torch.tensor([[[0.6, 0.9], [0.4, 0.1]]]))
    >>> region.mask.tolist(), region.weight
    ([[True, True]], 0.525)
    """

    name: ClassVar[str] = "level"
    weight: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", check_number("level: weight", self.weight, 0))

    def cut(self, probs: Tensor) -> list[Region]:
        """Everything, with the weight."""
        return [Region(torch.ones_like(probs[:, 0], dtype=torch.bool), self.weight)]


@dataclass(frozen=True)
class _SameSize(Rule):
    """Two regions of the sizes that a cut at the percentile of the entropy has (uses Eq. 4).

    Args:
        percentile: q in percent, 0 to 100.
        chosen_weight: Weight of the voxels that are chosen, >= 0.
        other_weight: Weight of all others, >= 0.
        scope: "batch": as many as in the whole batch, also where it lies in parts on several
            devices; "image": as many as in each image.
    """

    percentile: float
    chosen_weight: float = 1.0
    other_weight: float = 0.5
    scope: Scope = "batch"

    def __post_init__(self) -> None:
        name = self.name
        limits = {"percentile": 100, "chosen_weight": None, "other_weight": None}
        for field, high in limits.items():
            bounds = (0,) if high is None else (0, high)
            value = check_number(f"{name}: {field}", getattr(self, field), *bounds)
            object.__setattr__(self, field, plain_number(value) if high else value)
        if 0 < self.percentile < 1:
            raise ValueError(
                f"{name}: percentile is in percent, did you mean {100 * self.percentile:g}, "
                f"got {self.percentile}"
            )
        check_choice(f"{name}: scope", self.scope, ("batch", "image"))

    def cut(self, probs: Tensor) -> list[Region]:
        """The chosen voxels and all others."""
        uncertain = uncertain_mask(entropy_of_probs(probs), self.percentile, self.scope)
        rows = len(uncertain) if self.scope == "image" else 1
        order, counts = self.order(probs).reshape(rows, -1), uncertain.reshape(rows, -1).sum(1)
        in_parts = self.scope == "batch" and batch_parts() > 1
        chosen = _smallest_of_all_parts(order, counts) if in_parts else _smallest(order, counts)
        chosen = chosen.reshape(uncertain.shape)
        return [Region(chosen, self.chosen_weight), Region(~chosen, self.other_weight)]

    @abstractmethod
    def order(self, probs: Tensor) -> Tensor:
        """The voxels with the smallest of these numbers are chosen, float (B, *spatial)."""


def _smallest(order: Tensor, counts: Tensor) -> Tensor:
    """So many of the smallest numbers of every row, bool (rows, N)."""
    chosen = torch.zeros_like(order, dtype=torch.bool)
    if may_look(order):  # five times as fast as to sort
        for row, count in enumerate(counts.tolist()):
            chosen[row, order[row].topk(count, largest=False).indices] = True
        return chosen
    places = torch.arange(order.shape[1], device=order.device)
    return chosen.scatter(1, order.argsort(1), places < counts[:, None])


def _smallest_of_all_parts(order: Tensor, counts: Tensor) -> Tensor:
    """Of one row that lies in parts on several devices; two equal numbers hardly occur."""
    count = batch_total(counts)
    last = batch_kth_smallest(order[0], (count - 1).clamp_min(0).squeeze())
    return (order <= last) & (count > 0)


@dataclass(frozen=True)
class RandomRegion(_SameSize):
    """As many voxels as the entropy would call uncertain, drawn at random in every step.

    Made by `random_region()`. The draws come from torch's own generator, which `fit` seeds anew in
    every step.

    >>> probs = torch.tensor([[[0.6, 0.9, 0.8, 1.0], [0.4, 0.1, 0.2, 0.0]]])
    >>> [int(region.mask.sum()) for region in RandomRegion(50)(probs)]
    [2, 2]
    """

    name: ClassVar[str] = "random_region"

    def order(self, probs: Tensor) -> Tensor:
        """A number drawn for every voxel."""
        return torch.rand_like(probs[:, 0], dtype=torch.float32)


@dataclass(frozen=True)
class BorderRegion(_SameSize):
    """As many voxels as the entropy would call uncertain: those nearest to a predicted border.

    Made by `border_region()`. Among voxels of one distance, see `border_distance`, a draw decides;
    where one class is predicted everywhere, all voxels are drawn.

    >>> first = torch.tensor([[0.95, 0.9, 0.85, 0.2, 0.25, 0.3]])
    >>> probs = torch.stack([first, 1 - first], 1)
    >>> border, _ = BorderRegion(60)(probs)  # two voxels lie above the 60th percentile
    >>> border.mask.int().tolist()
    [[0, 0, 1, 1, 0, 0]]
    """

    name: ClassVar[str] = "border_region"

    def order(self, probs: Tensor) -> Tensor:
        """The distance to a border of the predicted labels, and a draw among equals."""
        distance = border_distance(most_likely(probs))
        return distance + torch.rand_like(distance)


def border_distance(label: Tensor) -> Tensor:
    """How far every voxel is from the border of a class.

    Args:
        label: Classes, integer (B, *spatial) of one to three axes.
    Returns:
        float32 (B, *spatial): 0 for a voxel that touches one of another class, by a face, an edge
        or a corner; 1 for those that touch such a voxel, and so on to 8; 9 for all further ones.

    >>> border_distance(torch.tensor([[0, 0, 0, 1, 1]]))
    tensor([[2., 1., 0., 0., 1.]])
    """
    largest = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
    pool = largest[label.ndim - 1]

    def around(values: Tensor) -> Tensor:
        """The largest value among a voxel and its neighbors."""
        return pool(values[:, None], kernel_size=3, stride=1, padding=1)[:, 0]

    classes = label.float()
    reached = ((around(classes) != classes) | (-around(-classes) != classes)).float()
    distance = torch.where(reached > 0, 0.0, RINGS + 1.0)
    for ring in range(1, RINGS + 1):
        wider = around(reached)
        distance = torch.where(wider > reached, float(ring), distance)
        reached = wider
    return distance


def level(weight: float = 1.0) -> Rule:
    """Every voxel with the same weight: what the plain method would be with a rule's total weight.

    Under the reduction "voxel" that of `url(95)` is 0.05 + 0.95 alpha = 0.525, and under "region",
    where two means are added, 1 + alpha = 1.5.

    Args:
        weight: Weight of every voxel, >= 0.
    Raises:
        ValueError: a weight below 0.

    >>> level(1.5)(torch.tensor([[[0.6], [0.4]]]))
    [Region(mask=tensor([[True]]), weight=1.5)]
    """
    return Level(weight)


def random_region(
    percentile: float = 95,
    chosen_weight: float = 1.0,
    other_weight: float = 0.5,
    scope: Scope = "batch",
) -> Rule:
    """The sizes and weights of `url` (or of `crl`: 0.5 and 1.0) at random places.

    Args:
        percentile: q in percent, 0 to 100, which decides how many voxels are chosen.
        chosen_weight: Weight of the chosen voxels, >= 0.
        other_weight: Weight of all others, >= 0.
        scope: "batch" or "image", see `uncertain_mask`.
    Raises:
        ValueError: an argument out of its range.

    >>> random_region(99, 0.5, 1.0).as_dict()["percentile"]
    99
    """
    return RandomRegion(percentile, chosen_weight, other_weight, scope)


def border_region(
    percentile: float = 95,
    chosen_weight: float = 1.0,
    other_weight: float = 0.5,
    scope: Scope = "batch",
) -> Rule:
    """The sizes and weights of `url` (or of `crl`: 0.5 and 1.0) along predicted borders.

    Args:
        percentile: q in percent, 0 to 100, which decides how many voxels are chosen.
        chosen_weight: Weight of the chosen voxels, >= 0.
        other_weight: Weight of all others, >= 0.
        scope: "batch" or "image", see `uncertain_mask`.
    Raises:
        ValueError: an argument out of its range.

    >>> border_region(99, 0.5, 1.0).as_dict()["name"]
    'border_region'
    """
    return BorderRegion(percentile, chosen_weight, other_weight, scope)
