"""Class probabilities of a whole image from overlapping patches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn import functional


def window_starts(size: int, patch: int, stride: int) -> list[int]:
    """List the first voxel of each window along one axis: k * stride, the last at the border.

    Args:
        size: Voxels along the axis, at least `patch`.
        patch: Length of a window in voxels.
        stride: Step between windows, 1 to `patch` (more would leave voxels unseen).
    Returns:
        ceil((size - patch) / stride) + 1 increasing starts, from 0 to size - patch.
    Raises:
        ValueError: size below patch, or stride outside 1 to patch.

    >>> window_starts(size=20, patch=8, stride=5)
    [0, 5, 10, 12]
    """
    if size < patch:
        raise ValueError(f"size must be at least the patch length {patch}, got {size}")
    if not 1 <= stride <= patch:
        raise ValueError(f"stride must be in 1..{patch} (the patch length), got {stride}")
    count = -(-(size - patch) // stride) + 1
    return [min(k * stride, size - patch) for k in range(count)]


@torch.no_grad()
def sliding_window_probs(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    patch_size: Sequence[int],
    stride: Sequence[int],
    batch_size: int = 4,
    accumulate_on: torch.device | str | None = None,
) -> torch.Tensor:
    """Average the probabilities of all windows that see a voxel (docs/protocol.md 1.4, LA).

    Windows go in raster order and weigh the same. An image smaller than the patch is padded with
    zeros on both sides (the odd voxel on the high side) and cropped back at the end. Memory on
    `accumulate_on`: C maps of the padded image; elsewhere one batch of windows.

    Args:
        predict: A network in evaluation mode, (B, 1, *patch_size) -> probs (B, C, *patch_size).
        image: float (1, *spatial), on the device where `predict` works.
        patch_size: Size of the window in voxels per axis; (112, 112, 80) for LA.
        stride: Step in voxels per axis, at most the patch size; (18, 18, 4) for LA.
        batch_size: Windows per call of `predict`.
        accumulate_on: Device of the sums and of the result. None is the image's device, "cpu"
            spares memory of a GPU.
    Returns:
        Probabilities (C, *spatial) in float32 (float64 if `predict` gives that).
    Raises:
        ValueError: ranks that differ, a stride outside 1 to the patch size, batch_size below 1, or
            a wrong shape returned by `predict`.

    >>> image = torch.zeros(1, 10, 9)
    >>> def predict(patches):
    ...     return torch.full((len(patches), 2, 4, 4), 0.5)
    >>> probs = sliding_window_probs(predict, image, patch_size=(4, 4), stride=(3, 3))
    >>> probs.shape, probs.unique()
    (torch.Size([2, 10, 9]), tensor([0.5000]))
    """
    patch_size, stride = tuple(patch_size), tuple(stride)
    _check(image, patch_size, stride, batch_size)
    padded, inner = _pad_to_patch(image, patch_size)
    device = image.device if accumulate_on is None else torch.device(accumulate_on)
    total: torch.Tensor | None = None
    windows = _windows(padded.shape[1:], patch_size, stride)
    while batch := list(itertools.islice(windows, batch_size)):
        probs = predict(torch.stack([padded[window] for window in batch]))
        _check_probs(probs, len(batch), patch_size)
        if total is None:
            dtype = torch.promote_types(probs.dtype, torch.float32)  # half sums lose digits
            shape = (probs.shape[1], *padded.shape[1:])
            total = torch.zeros(shape, dtype=dtype, device=device)  # (C, *padded)
        for window, window_probs in zip(batch, probs.to(device, total.dtype), strict=True):
            total[window] += window_probs
    _divide_by_visits(total, patch_size, stride)
    return total[inner]


def _divide_by_visits(
    total: torch.Tensor, patch_size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    """Turn sums into means, in place.

    Starts form a grid, so the visits of a voxel are the product of the visits along each axis, and
    no map of counts is needed.
    """
    per_axis = []
    for size, patch, step in zip(total.shape[1:], patch_size, stride, strict=True):
        visits = torch.zeros(size, device=total.device)
        for start in window_starts(size, patch, step):
            visits[start : start + patch] += 1
        per_axis.append(visits)
    first, *others = per_axis
    plane = torch.ones((), device=total.device)
    for visits in others:
        plane = plane[..., None] * visits  # whole numbers below 2^24: exact in float32
    for sums, visits in zip(total.unbind(1), first, strict=True):
        sums.div_(plane * visits)


def _check(
    image: torch.Tensor, patch_size: tuple[int, ...], stride: tuple[int, ...], batch_size: int
) -> None:
    if image.ndim < 2 or image.shape[0] != 1:
        raise ValueError(f"image must be (1, *spatial), got shape {tuple(image.shape)}")
    if not len(patch_size) == len(stride) == image.ndim - 1:
        raise ValueError(
            f"patch_size and stride need one number for each of the {image.ndim - 1} spatial "
            f"axes, got {patch_size} and {stride}"
        )
    if any(not 1 <= step <= patch for step, patch in zip(stride, patch_size, strict=True)):
        raise ValueError(
            f"stride must be in 1..patch_size (more leaves voxels unseen), "
            f"got {stride} with patch_size {patch_size}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _check_probs(probs: torch.Tensor, num_windows: int, patch_size: tuple[int, ...]) -> None:
    if probs.shape[:1] + probs.shape[2:] != (num_windows, *patch_size):
        raise ValueError(
            f"predict must return ({num_windows}, C, *{patch_size}), got {tuple(probs.shape)}"
        )


def _pad_to_patch(
    image: torch.Tensor, patch_size: tuple[int, ...]
) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """Grow an image to at least the patch; return it and where the image lies in it."""
    sizes = image.shape[1:]
    missing = [max(patch - size, 0) for size, patch in zip(sizes, patch_size, strict=True)]
    # torch pads the last axis first.
    amounts = [side for m in reversed(missing) for side in (m // 2, m - m // 2)]
    inner = [slice(m // 2, m // 2 + size) for size, m in zip(sizes, missing, strict=True)]
    padded = functional.pad(image, amounts) if any(missing) else image  # a pad by 0 would copy
    return padded, (slice(None), *inner)


def _windows(
    sizes: Sequence[int], patch_size: tuple[int, ...], stride: tuple[int, ...]
) -> Iterator[tuple[slice, ...]]:
    """Yield the index of each window in a (channel, *spatial) tensor, in raster order."""
    axes = zip(sizes, patch_size, stride, strict=True)
    for starts in itertools.product(*(window_starts(*axis) for axis in axes)):
        windows = (slice(s, s + p) for s, p in zip(starts, patch_size, strict=True))
        yield (slice(None), *windows)
