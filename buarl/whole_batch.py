"""Sums over the whole batch, also where its images lie in several processes.

The losses of the paper and its percentile are numbers of a whole batch. A training on several
devices gives each of them a part of the batch, and a sum over these images is then a part of the
sum. So the functions of the paper hand what they have summed over images to `batch_total`, and know
no more of it. With one process, which is the default, it hands back what it was given.

The parts are equally large. So a plain mean over images needs none of this: the mean of the parts'
gradients is the gradient of the whole mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

DIGIT = 11  # bits that `batch_kth_smallest` decides at a time


class WholeBatch:
    """All images of the batch are here; the base class of what joins several parts.

    >>> WholeBatch().total(torch.tensor(3))
    tensor(3)
    """

    parts: int = 1
    """In how many equal parts the batch is."""

    def total(self, part: Tensor) -> Tensor:
        """The sum over all parts; a gradient flows through it."""
        return part

    def least(self, part: Tensor) -> Tensor:
        """The smallest value over all parts, without a gradient."""
        return part

    def drawn_once(self, drawn: Tensor) -> Tensor:
        """The random numbers that the first part has drawn, for all parts."""
        return drawn


_batch = WholeBatch()


@contextmanager
def batch_in_parts(batch: WholeBatch) -> Iterator[None]:
    """Within this context the functions below ask `batch`, which knows where the parts are.

    >>> class Twice(WholeBatch):  # stands for two processes with the same images
    ...     parts = 2
    ...
    ...     def total(self, part):
    ...         return 2 * part
    >>> with batch_in_parts(Twice()):
    ...     batch_total(torch.tensor(3))
    tensor(6)
    """
    global _batch
    before, _batch = _batch, batch
    try:
        yield
    finally:
        _batch = before


def current_batch() -> WholeBatch:
    """Who knows at this moment where the parts of the batch are.

    >>> current_batch().parts
    1
    """
    return _batch


def batch_parts() -> int:
    """In how many equal parts the batch is, 1 where all of it is here.

    >>> batch_parts()
    1
    """
    return _batch.parts


def batch_total(part: Tensor) -> Tensor:
    """The sum over the whole batch.

    Args:
        part: The sum over the images that are here, of any shape; a gradient flows through it.

    >>> batch_total(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return _batch.total(part)


def batch_mean(part: Tensor) -> Tensor:
    """The mean over the whole batch.

    Args:
        part: The mean over the images that are here, of any shape; a gradient flows through it.

    >>> batch_mean(torch.tensor(0.5))
    tensor(0.5000)
    """
    return part if _batch.parts == 1 else _batch.total(part) / _batch.parts


def batch_least(part: Tensor) -> Tensor:
    """The smallest value over the whole batch, without a gradient.

    Args:
        part: The smallest value of the images that are here, of any shape.

    >>> batch_least(torch.tensor(0.5))
    tensor(0.5000)
    """
    return _batch.least(part)


def drawn_once(drawn: Tensor) -> Tensor:
    """Random numbers that the whole batch shares, such as the place of one box for all images.

    Args:
        drawn: What was drawn here; where the batch is in parts, the first part's draw counts.

    >>> drawn_once(torch.tensor([4, 2]))
    tensor([4, 2])
    """
    return _batch.drawn_once(drawn)


def batch_kth_smallest(values: Tensor, rank: int | Tensor) -> Tensor:
    """The value that `rank` others of the whole batch precede in order: exact, and few bytes move.

    The bits of floating-point numbers, read as whole numbers, are in the order of the numbers. So
    the value is found digit by digit: the parts count how many of their values have which digit,
    and the totals tell in which one the rank lies. A digit has 11 bits; three of them make a
    float32, and for each the parts exchange 2,048 counts, however many voxels there are.

    Args:
        values: Those that are here, float32 or float64 (N,); NaN ranks above every number.
        rank: From 0, within the whole batch; a number, or a scalar tensor that no one waits for.
    Returns:
        A scalar of the same type.

    >>> batch_kth_smallest(torch.tensor([0.5, -1.0, 0.25]), 1)
    tensor(0.2500)
    """
    wide = values.dtype == torch.float64
    whole, bits = (torch.int64, 64) if wide else (torch.int32, 32)
    canonical = torch.where(values.isnan(), torch.full_like(values, torch.nan), values)
    keys = canonical.contiguous().view(whole).long()
    magnitude = (1 << (bits - 1)) - 1
    keys = torch.where(keys < 0, keys ^ magnitude, keys)  # negative numbers: the other way round
    rest = torch.as_tensor(rank, device=values.device)
    found = torch.zeros_like(rest)
    inside = torch.ones_like(keys)
    for shift in range((bits - 1) // DIGIT * DIGIT, -1, -DIGIT):
        first = shift + DIGIT >= bits  # the digit with the sign
        digit = keys >> shift
        digit = digit + (1 << (bits - 1 - shift)) if first else digit & ((1 << DIGIT) - 1)
        counts = torch.zeros(1 << DIGIT, dtype=torch.int64, device=values.device)
        below = batch_total(counts.scatter_add_(0, digit, inside)).cumsum(0)  # up to each digit
        chosen = (below <= rest).sum()
        rest = rest - torch.where(chosen > 0, below[(chosen - 1).clamp_min(0)], 0)
        inside = inside * (digit == chosen)
        found = (found << DIGIT) | (chosen - (1 << (bits - 1 - shift)) if first else chosen)
    found = torch.where(found < 0, found ^ magnitude, found)
    return found.to(whole).view(values.dtype)
