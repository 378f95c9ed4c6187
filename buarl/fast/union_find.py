"""Largest connected components without leaving the device, and without waiting for it.

On a GPU this spares a step the trip to the host, without which it could not be recorded either; by
how much has not been measured on a GPU yet. Components are those of the CPU's library, voxel by
voxel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ROUNDS = 10
"""Mazes, spirals and noise about to connect need at most 6 at 256x256 and at 112x112x80, 7 at
512x512; what needs more is refused, not guessed."""


def largest_component_on_device(pseudo_label: Tensor, num_classes: int) -> Tensor:
    """`components.largest_component` in tensor operations only; the same result, voxel by voxel.

    Every foreground voxel starts as its own root. In each round a component hooks onto its
    smallest neighboring component, then all voxels jump to their root (Shiloach and Vishkin,
    J. Algorithms 1982). The number of rounds is fixed, so that no host waits for an answer; a
    shape that would need more raises through a device-side assertion.

    Args:
        pseudo_label: (B, *spatial), integers 0..num_classes-1, two or three spatial axes, at most
            2**24 voxels a sample (indices are held in float32 for the pooling).
        num_classes: Number of classes, background included.
    Returns:
        (B, *spatial) new tensor, same dtype.
    """
    spatial = pseudo_label.shape[1:]
    if spatial.numel() > 2**24:
        raise ValueError(f"at most 2**24 voxels a sample can be labeled, got {spatial.numel()}")
    classes = torch.arange(1, num_classes, device=pseudo_label.device, dtype=pseudo_label.dtype)
    classes = classes.view(1, -1, *[1] * len(spatial))
    mask = (pseudo_label[:, None] == classes).flatten(0, 1)  # (B*(C-1), *spatial)
    root = _roots(mask)  # (B*(C-1), voxels)
    count = torch.zeros_like(root).scatter_add_(1, root, mask.flatten(1).long())
    # Equal sizes: the component met first in raster order, the one with the smallest root.
    voxels = spatial.numel()
    order = torch.arange(voxels, 0, -1, device=root.device)
    winner = (count * (voxels + 1) + order).argmax(1, keepdim=True)
    kept = mask.flatten(1) & (root == winner)
    kept = kept.view(len(pseudo_label), -1, *spatial)  # (B, C-1, *spatial)
    return (kept * classes).sum(1).to(pseudo_label.dtype)


def _roots(mask: Tensor) -> Tensor:
    """Smallest flat index of the component of every voxel, (N, voxels) int64; neighbors touch by
    face, edge or corner. Voxels outside the mask are their own roots."""
    flat = mask.flatten(1)
    parent = torch.arange(flat.shape[1], device=mask.device).expand(flat.shape).contiguous()
    for _ in range(ROUNDS):
        smallest = torch.where(flat, _smallest_neighbor(parent, mask), parent)
        parent = parent.scatter_reduce(1, parent, smallest, "amin")
        for _ in range(4):  # a path of 16 links in one round
            parent = parent.gather(1, parent)
    settled = torch.where(flat, _smallest_neighbor(parent, mask), parent) == parent
    torch._assert_async(settled.all(), "a component is too winding for ROUNDS rounds")
    return parent


def _smallest_neighbor(parent: Tensor, mask: Tensor) -> Tensor:
    """Smallest parent among a voxel and its neighbors inside the mask, (N, voxels)."""
    far = torch.where(mask, -parent.view(mask.shape).float(), -torch.inf)[:, None]
    pool = functional.max_pool2d if mask.dim() == 3 else functional.max_pool3d
    nearest = -pool(far, 3, stride=1, padding=1)
    return torch.where(mask, nearest[:, 0], 0).flatten(1).long()
