"""Bidirectional copy-paste: one box, cut from one image and laid on another (BCP, protocol 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """Start corner and size per spatial axis, in voxels."""

    start: tuple[int, ...]
    size: tuple[int, ...]


def sample_box(
    spatial: Sequence[int], share: float = 2 / 3, generator: torch.Generator | None = None
) -> Box:
    """Draw a box of floor(share * n) voxels per axis with a uniform corner.

    The last corner that would fit is never drawn, as in BCP (256: size 170, corners 0-85).
    """
    size = tuple(int(n * share) for n in spatial)
    start = tuple(
        int(torch.randint(0, max(n - s, 1), (), generator=generator))
        for n, s in zip(spatial, size, strict=True)
    )
    return Box(start, size)


def outside_mask(spatial: Sequence[int], box: Box, device: torch.device | None = None) -> Tensor:
    """BCP's K: bool (*spatial), True outside the box and False inside."""
    outside = torch.ones(tuple(spatial), dtype=torch.bool, device=device)
    outside[tuple(slice(a, a + n) for a, n in zip(box.start, box.size, strict=True))] = False
    return outside


def copy_paste(outside_image: Tensor, inside_image: Tensor, outside: Tensor) -> Tensor:
    """`outside_image` where `outside` is True, `inside_image` in the box; also for labels."""
    return torch.where(outside, outside_image, inside_image)
