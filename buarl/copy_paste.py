"""Bidirectional copy-paste: a box cut from one image and laid on another (docs/protocol.md 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """Start corner and size per spatial axis, in voxels; a corner drawn on a device stays there."""

    start: tuple[int | Tensor, ...]
    size: tuple[int, ...]


def sample_box(
    spatial: Sequence[int],
    share: float = 2 / 3,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Box:
    """Draw a box of floor(share * n) voxels per axis with a uniform corner.

    The last corner that would fit is never drawn, as in BCP (256: size 170, corners 0-85).

    Args:
        device: Where to draw; None draws on the CPU and makes the corner plain numbers.
    """
    size = tuple(int(n * share) for n in spatial)
    start = tuple(
        torch.randint(0, max(n - s, 1), (), generator=generator, device=device)
        for n, s in zip(spatial, size, strict=True)
    )
    return Box(tuple(map(int, start)) if device is None else start, size)


def outside_mask(spatial: Sequence[int], box: Box, device: torch.device | None = None) -> Tensor:
    """BCP's K: bool (*spatial), True outside the box and False inside."""
    inside = torch.ones((), dtype=torch.bool, device=device)
    for n, start, size in zip(spatial, *box, strict=True):
        place = torch.arange(n, device=device) - start
        inside = inside[..., None] & (place >= 0) & (place < size)
    return ~inside


def copy_paste(outside_image: Tensor, inside_image: Tensor, outside: Tensor) -> Tensor:
    """`outside_image` where `outside` is True, `inside_image` in the box; also for labels."""
    return torch.where(outside, outside_image, inside_image)
