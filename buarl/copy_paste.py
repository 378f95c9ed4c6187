"""Bidirectional copy-paste: one box, cut from one image and laid on another.

Source: BCP (Bai et al., CVPR 2023, arXiv:2305.00673); docs/protocol.md 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from buarl.arguments import MOST, check_count, check_number, check_shape, check_tensor, short

MOST_VOXELS = 2**31  # of one image, as of a file


class Box(NamedTuple):
    """A box in an image.

    start: First voxel inside, per spatial axis; a corner drawn on a device is a tensor there.
    size: Voxels inside, per spatial axis.

    >>> Box(start=(1, 2), size=(4, 4)).size
    (4, 4)
    """

    start: tuple[int | Tensor, ...]
    size: tuple[int, ...]


def sample_box(
    spatial: Sequence[int],
    share: float = 2 / 3,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
) -> Box:
    """Draw a box of floor(share * n) voxels along every axis, with a uniform corner.

    The last corner that would still fit is never drawn, as in BCP: of 256 voxels a box has 170, and
    its corner lies in 0 to 85.

    Args:
        spatial: Size of the image, voxels per spatial axis, each at least 1.
        share: Edge of the box over edge of the image, 0 to 1.
        generator: Where the random numbers come from; None is torch's own generator.
        device: Where to draw; None draws on the CPU and makes the corner plain numbers.
    Returns:
        The box.
    Raises:
        TypeError: a share that is no number, or sizes that are no whole numbers.
        ValueError: a share outside 0-1 or an axis without voxels.

    >>> sample_box((256, 256), generator=torch.Generator().manual_seed(0)).size
    (170, 170)
    """
    share, spatial = check_number("share", share, 0, 1), _sizes(spatial)
    size = tuple(int(n * share) for n in spatial)
    start = tuple(
        torch.randint(0, max(n - s, 1), (), generator=generator, device=device)
        for n, s in zip(spatial, size, strict=True)
    )
    return Box(tuple(map(int, start)) if device is None else start, size)


def outside_mask(spatial: Sequence[int], box: Box, device: torch.device | None = None) -> Tensor:
    """BCP's mask K of a box: True outside, False inside.

    Args:
        spatial: Size of the image, voxels per spatial axis.
        box: A box that lies inside it.
        device: Where the mask is made; None is the CPU.
    Returns:
        bool (*spatial).
    Raises:
        TypeError: what is no box, or sizes that are no whole numbers.
        ValueError: a box of another number of axes, or one that sticks out of the image (looked at
            where its corner is plain numbers).

    >>> outside_mask((2, 4), Box(start=(0, 1), size=(2, 2))).int()
    tensor([[1, 0, 0, 1],
            [1, 0, 0, 1]], dtype=torch.int32)
    """
    spatial = _sizes(spatial)
    if not isinstance(box, Box) or not all(isinstance(part, tuple) for part in box):
        raise TypeError(f"box must be a Box(start, size) of two tuples, got {short(box)}")
    if not len(spatial) == len(box.start) == len(box.size):
        raise ValueError(f"box must have {len(spatial)} axes, got {short(box)}")
    for number in (*box.size, *(each for each in box.start if not isinstance(each, Tensor))):
        check_count("start and size of a box", number, -MOST)
    for corner in (each for each in box.start if isinstance(each, Tensor)):
        check_tensor("start of a box", corner, "integer")
        check_shape("start of a box", corner, (), fit="one axis")
    inside = torch.ones((), dtype=torch.bool, device=device)
    for n, start, size in zip(spatial, *box, strict=True):
        if not isinstance(start, Tensor) and not 0 <= start <= start + size <= n:
            raise ValueError(f"box must lie inside {spatial}, got {short(box)}")
        start = start.long() if isinstance(start, Tensor) else start
        place = torch.arange(n, device=device) - start
        inside = inside[..., None] & (place >= 0) & (place < size)
    return ~inside


def copy_paste(outside_image: Tensor, inside_image: Tensor, outside: Tensor) -> Tensor:
    """Lay the box of one image on another; labels are mixed by the same call.

    Args:
        outside_image: What surrounds the box, (B, channels, *spatial); of labels (B, *spatial); or
            a scalar tensor, an image of one value.
        inside_image: What the box shows, of the same shape or a scalar tensor.
        outside: bool, from `outside_mask`, (*spatial).
    Returns:
        The mixed image, of the same shape.
    Raises:
        TypeError: what is no tensor, or a mask that is not bool.
        ValueError: shapes that do not fit; nothing is broadcast but scalars and the mask.

    >>> outside = outside_mask((4,), Box(start=(1,), size=(2,)))
    >>> copy_paste(torch.zeros(1, 1, 4), torch.ones(1, 1, 4), outside)
    tensor([[[0., 1., 1., 0.]]])
    """
    check_tensor("outside", outside, "bool")
    images = {"outside_image": outside_image, "inside_image": inside_image}
    for name, image in images.items():
        check_tensor(name, image, "any")
        if image.ndim:
            spatial = image.shape[max(image.ndim - outside.ndim, 0) :]
            check_shape("outside", outside, spatial, fit=name)
    if outside_image.ndim and inside_image.ndim:
        check_shape("inside_image", inside_image, outside_image.shape, fit="outside_image")
    return torch.where(outside, outside_image, inside_image)


def _sizes(spatial: Sequence[int]) -> tuple[int, ...]:
    """The voxels of every axis as Python's own numbers, checked."""
    if not isinstance(spatial, Sequence) or isinstance(spatial, str | bytes):
        raise TypeError(f"spatial must be a sequence of whole numbers, got {short(spatial)}")
    sizes = tuple(check_count("size of an axis", n, 1) for n in spatial)
    if math.prod(sizes) > MOST_VOXELS:
        raise ValueError(f"spatial may have {MOST_VOXELS} voxels, got {short(sizes)}")
    return sizes
