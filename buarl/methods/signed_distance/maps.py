"""How far is every voxel from the edge of every class, and on which side? (docs/protocol.md 4.5)

The maps that DTC and SASSNet regress, as in their repositories: HiLab-git/DTC, kleinzcy/SASSnet.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from buarl.arguments import widest_float


def signed_distance(label: Tensor, num_classes: int, *, background: bool = True) -> Tensor:
    """Signed distance maps: above 0 outside a class, 0 on its inner boundary, below 0 inside.

    Distances are Euclidean, in voxels of the image as it is, to the nearest voxel of the other
    side; each side is divided by its own maximum in that image, so the range is -1 to 1. The inner
    boundary consists of the voxels of the class with a face on another class. A class that is
    absent or fills the image has the map 0.

    Args:
        label: Integer (B, *spatial), 0 to C-1. On another device than the CPU all work stays there
            and no label is checked: the host would wait.
        num_classes: C, background included.
        background: Also a map of class 0; a binary method needs that of class 1 alone.
    Returns:
        float32 (B, K, *spatial) on the label's device, K = C, or C-1 without the background.
    Raises:
        ValueError: a label outside 0 to C-1.

    >>> signed_distance(torch.tensor([[[0, 0, 1, 1, 1]]]), num_classes=2, background=False)
    tensor([[[[ 1.0000,  0.5000,  0.0000, -0.6667, -1.0000]]]])
    """
    if label.device.type != "cpu":
        return signed_distance_on_device(label, num_classes, background=background)
    array = label.detach().numpy()
    if array.size and (array.min() < 0 or array.max() >= num_classes):
        raise ValueError(
            f"label must lie in 0 to {num_classes - 1}, got {array.min()} to {array.max()}"
        )
    maps = np.empty((len(array), num_classes - (not background), *array.shape[1:]), np.float32)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # scipy lets other threads run
        of_one = partial(_maps_of_one, num_classes=num_classes, background=background)
        for filled, each in zip(maps, pool.map(of_one, array), strict=True):
            filled[:] = each
    return torch.from_numpy(maps)


def signed_distance_on_device(label: Tensor, num_classes: int, *, background: bool) -> Tensor:
    """`signed_distance` in tensor operations only; the same result, bit for bit.

    On a device without float64 it is the same to the last digit of a float32.

    >>> label = torch.tensor([[0, 0, 1, 1]])
    >>> signed_distance_on_device(label, 2, background=False)
    tensor([[[ 1.0000,  0.5000,  0.0000, -1.0000]]])
    """
    classes = torch.arange(0 if background else 1, num_classes, device=label.device)
    return torch.stack([_maps_on_device(image, classes) for image in label])  # (B, K, *spatial)


def _maps_on_device(label: Tensor, classes: Tensor) -> Tensor:
    """The maps of one image, (K, *spatial); one at a time, as distances need memory."""
    each = (-1, *[1] * label.dim())
    mask = label == classes.view(each)  # (K, *spatial)
    widest = widest_float(label.device)
    outside, inside = (_squared_distance_on_device(m).to(widest) for m in (mask, ~mask))
    farthest = [d.flatten(1).amax(1).sqrt().view(each) for d in (outside, inside)]
    maps = (outside + inside).sqrt() / torch.where(mask, -farthest[1], farthest[0])
    voxels = mask.flatten(1)
    divided = (voxels.any(1) & ~voxels.all(1)).view(each)  # there are two sides
    return torch.where(divided & (inside != 1), maps, 0).float()


def _squared_distance_on_device(mask: Tensor) -> Tensor:
    """Squared distance to the mask, float32 (K, *spatial), in whole numbers.

    Axis after axis, the parabola of every voxel is laid against every other voxel of its line.
    """
    beyond = float(sum(n * n for n in mask.shape[1:]))  # no distance is; below 2^24, so exact
    squared = torch.where(mask, 0.0, beyond)
    for axis in range(1, mask.dim()):
        place = torch.arange(mask.shape[axis], device=mask.device, dtype=torch.float32)
        parabola = (place[:, None] - place).square()  # (n, n)
        lines = squared.movedim(axis, -1)[..., None, :] + parabola  # (K, ..., n, n)
        squared = lines.amin(-1).movedim(-1, axis)
    return squared


def signed_distance_loss(distance: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Mean squared error of predicted maps.

    Args:
        distance: The prediction, (B, K, *spatial), K = C, or 1 for two classes.
        label: Integer (B, *spatial), 0 to C-1.
        num_classes: C, background included.
    Returns:
        A scalar.

    >>> label = torch.tensor([[0, 0, 1, 1]])
    >>> signed_distance_loss(torch.zeros(1, 1, 4), label, num_classes=2)
    tensor(0.5625)
    """
    true_distance = signed_distance(label, num_classes, background=distance.shape[1] != 1)
    return F.mse_loss(distance, true_distance)  # over (B, K, *spatial)


def _maps_of_one(label: np.ndarray, num_classes: int, background: bool) -> np.ndarray:
    """The maps of one image, (K, *spatial)."""
    # The nearest voxel of another class is the nearest over the other classes: one transform per
    # class serves its own outside and the insides of the others.
    squared = {c: _squared_distance(label == c) for c in np.unique(label).tolist()}
    maps = np.zeros((num_classes, *label.shape), np.float32)
    if len(squared) > 1:
        for c, outside in squared.items():
            mask = label == c
            others = [distance for other, distance in squared.items() if other != c]
            inside = np.where(mask, np.minimum.reduce(others), 0)
            largest = np.where(mask, -np.sqrt(inside.max()), np.sqrt(outside.max()))
            maps[c] = np.sqrt(outside + inside) / largest  # one of the two is 0 everywhere
            maps[c][inside == 1] = 0
    return maps if background else maps[1:]


def _squared_distance(mask: np.ndarray) -> np.ndarray:
    """Squared distance to the mask, int32, 0 inside it; the mask is not empty."""
    from scipy.ndimage import distance_transform_edt  # half a second, needed by two methods only

    squared = np.zeros(mask.shape, np.int32)
    # One voxel around what is not mask holds a nearest mask voxel of everything in it.
    place = _bounding_box(~mask, margin=1)
    nearest = distance_transform_edt(~mask[place], return_distances=False, return_indices=True)
    for axis, index in enumerate(nearest):
        shape = [-1 if other == axis else 1 for other in range(mask.ndim)]
        index -= np.arange(mask[place].shape[axis], dtype=index.dtype).reshape(shape)
        squared[place] += index * index
    return squared


def _bounding_box(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    """The smallest box around the mask, so much larger on every side; empty for an empty mask."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        hit = np.flatnonzero(mask.any(others))
        box.append(slice(max(hit[0] - margin, 0), hit[-1] + 1 + margin) if len(hit) else slice(0))
    return tuple(box)
