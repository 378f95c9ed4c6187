"""What a region and a rule are: a rule looks at a prediction and returns weighted sets of voxels.

A loss looks at regions and never asks which rule they come from. So a rule of your own is a class
of a few lines, see `Rule`, and works in every method. The paper's rules stand in `regions`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from inspect import get_annotations
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor

from buarl.arguments import check_axes, check_number, check_shape, check_tensor, may_look
from buarl.outside import code_name


class Region(NamedTuple):
    """A set of voxels and how much they weigh in a loss; see `region_loss` for what that means.

    mask: bool (B, *spatial), True for the voxels of the region.
    weight: A number, or a map of one weight per voxel, float (B, *spatial), of which only the part
        inside the mask is used and through which no gradient flows. Finite and >= 0; a weight of 0
        keeps a voxel in the place of the loss but takes it out of the loss.

    >>> import torch
    >>> Region(torch.tensor([[True, False]]), 0.5).mask.sum()
    tensor(1)
    """

    mask: Tensor
    weight: float | Tensor


@dataclass(frozen=True)
class Rule(ABC):
    """Cuts the voxels of a batch into weighted regions: `rule(probs)` returns them.

    A rule is plain data, so an experiment is a row: rules of equal arguments are equal, and
    `rule_from_dict(rule.as_dict())` gives the rule back. To write your own, name its arguments as
    the fields of a frozen dataclass and write `cut`:

    >>> import torch
    >>> @dataclass(frozen=True)
    ... class Doubtful(Rule):
    ...     limit: float = 0.9
    ...
    ...     def cut(self, probs):
    ...         doubtful = probs.amax(1) < self.limit
    ...         return [Region(doubtful, 2.0), Region(~doubtful, 1.0)]
    >>> uncertain, certain = Doubtful(0.7)(torch.tensor([[[0.6, 0.9], [0.4, 0.1]]]))
    >>> uncertain.mask, certain.weight
    (tensor([[ True, False]]), 1.0)
    """

    name: ClassVar[str]  # of a rule of your own: "my_rules.py:Doubtful"

    def __init_subclass__(cls) -> None:
        """Give a rule from outside the name under which `rule_from_dict` finds it."""
        super().__init_subclass__()
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            return
        if "name" in cls.__dict__ or "name" in get_annotations(cls):
            raise TypeError(
                f"{cls.__name__}: the name of a rule is its place; call your field otherwise"
            )
        cls.name = code_name(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse a rule whose arguments are no fields: they would be lost in rows.

        Raises:
            TypeError: a class with arguments of its own that is no dataclass.
        """
        kinds = get_annotations(cls).values()
        has_arguments = "__init__" in vars(cls) or any("ClassVar" not in str(k) for k in kinds)
        if has_arguments and "__dataclass_fields__" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} must be a @dataclass(frozen=True) whose fields are its arguments"
            )
        return super().__new__(cls)

    def __call__(self, probs: Tensor) -> list[Region]:
        """The regions of a batch.

        Args:
            probs: Class probabilities, float, (B, C, *spatial), with sum 1 over axis 1. No gradient
                flows through a rule.
        Returns:
            Regions that do not overlap; together they are the place of the loss.
        Raises:
            TypeError: no tensor of real floating-point numbers; a rule that cuts something else
                than a list of regions.
            ValueError: on the CPU, what does not sum to 1, such as logits.
        """
        _check_probs(probs)
        regions = self.cut(probs.detach())
        _check_list(regions, f"rule {type(self).__name__} must return")
        return regions

    @abstractmethod
    def cut(self, probs: Tensor) -> list[Region]:
        """The regions of probabilities that are checked and without a graph, (B, C, *spatial)."""

    def as_dict(self) -> dict:
        """The rule as plain types for JSON: its name and its arguments."""
        return {"name": self.name, **asdict(self)}


def within(regions: Sequence[Region], place: Tensor) -> list[Region]:
    """The parts of the regions that lie inside a place, with the weights they had.

    Args:
        regions: From a rule, masks (B, *spatial).
        place: bool, of a shape that broadcasts to (B, *spatial), e.g. (*spatial) for all images.
    Returns:
        As many regions, with smaller masks.
    Raises:
        TypeError: a place or a mask that is no bool tensor.
        ValueError: a place that does not fit the masks.

    >>> import torch
    >>> everything = Region(torch.tensor([[True, True]]), 1.0)
    >>> within([everything], torch.tensor([False, True]))
    [Region(mask=tensor([[False,  True]]), weight=1.0)]
    """
    check_tensor("place", place, "bool")
    _check_list(regions, "regions must be")
    for mask, _ in regions:
        check_tensor("region mask", mask, "bool")
        sizes = zip(reversed(place.shape), reversed(mask.shape), strict=False)
        if place.ndim > mask.ndim or any(ours not in (1, theirs) for ours, theirs in sizes):
            check_shape("mask inside place", place, mask.shape, fit="the region")
    return [Region(mask & place, weight) for mask, weight in regions]


def check_regions(regions: Sequence[Region], shape: Sequence[int], fit: str) -> Tensor:
    """Refuse what a loss cannot take as regions; the losses call this.

    Args:
        regions: What a rule returned.
        shape: The shape that masks and maps must have, (B, *spatial).
        fit: What has that shape, for the error message.
    Returns:
        The place of the loss, bool (B, *spatial): all regions together.
    Raises:
        TypeError: a mask that is not bool, a weight that is neither a number nor a float map.
        ValueError: no region, another shape, a weight below 0, infinite or NaN, or regions that
            overlap (maps and overlaps are looked at on the CPU only).

    >>> import torch
    >>> mask = torch.tensor([[True, False]])
    >>> check_regions([Region(mask, 1.0), Region(mask, 0.5)], (1, 2), fit="logits")
    Traceback (most recent call last):
    ValueError: regions must not overlap, got 1 of 2 voxels in more than one
    """
    _check_list(regions, "regions must be")
    if not regions:
        raise ValueError("a loss needs at least one region, got none")
    place = None
    for mask, weight in regions:
        check_tensor("region mask", mask, "bool")
        check_shape("region mask", mask, shape, fit)
        if isinstance(weight, Tensor):
            check_tensor("region weight", weight)
            check_shape("region weight", weight, shape, fit)
            if may_look(weight):
                low, high = (float(bound) for bound in weight.detach().aminmax())
                check_number("region weight", low, 0)
                check_number("region weight", high, 0)
        else:
            check_number("region weight", weight, 0)
        if place is None:
            place = mask
            continue
        if may_look(mask) and (twice := place & mask).any():
            count = f"{int(twice.sum())} of {mask.numel()} voxels"
            raise ValueError(f"regions must not overlap, got {count} in more than one")
        place = place | mask
    return place


def _check_list(regions: object, who_must: str) -> None:
    """One region alone is a tuple too, and would be taken for two."""
    is_list = isinstance(regions, Sequence) and not isinstance(regions, Region)
    if not is_list or not all(isinstance(region, tuple) and len(region) == 2 for region in regions):
        given = [type(region).__name__ for region in regions] if is_list else type(regions).__name__
        raise TypeError(f"{who_must} a list of Region(mask, weight), got {given!s:.200}")


def _check_probs(probs: Tensor) -> None:
    """Logits handed over by mistake would rank voxels wrong. Not on a GPU: it would wait."""
    check_tensor("probs", probs)
    check_axes("probs", probs)
    if not may_look(probs):
        return
    probs = probs.detach().float()
    low, high = (float(bound) for bound in probs.sum(1).aminmax())
    if low < 0.98 or high > 1.02 or probs.min() < 0:  # NaN passes: `fit` stops at its loss
        raise ValueError(
            "a rule takes probabilities that sum to 1 over axis 1 (use logits.softmax(1)), "
            f"got sums from {low:.3g} to {high:.3g}"
        )
