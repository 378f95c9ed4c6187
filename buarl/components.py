"""Largest connected component of each class of a pseudo-label."""

from __future__ import annotations

import numpy as np
import torch

from buarl.arguments import check_tensor, may_look
from buarl.fast.union_find import largest_component_on_device


def largest_component(pseudo_label: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Keep the largest connected component per sample and foreground class, drop the others.

    Neighbors touch by face, edge or corner (8 in 2-D, 26 in 3-D), as in the clean-up of BCP's
    pseudo-labels and of LA test masks (docs/protocol.md 1.4; 6.23 on what it costs). Of equally
    large components the one met first in raster order stays. A class without voxels stays empty.

    Args:
        pseudo_label: Classes 0 to C-1, integer, (B, *spatial) with two or three spatial axes. On
            another device than the CPU all work stays there, see `union_find`.
        num_classes: C, background (0) included.
    Returns:
        New tensor of the same shape, dtype and device; dropped voxels are 0.
    Raises:
        TypeError: no tensor, or one that does not hold integers.
        ValueError: not two or three spatial axes, or (looked at on the CPU) a class out of range.

    >>> largest_component(torch.tensor([[[1, 1, 0, 1], [0, 0, 0, 2]]]), num_classes=3)
    tensor([[[1, 1, 0, 0],
             [0, 0, 0, 2]]])
    """
    _check(pseudo_label, num_classes)
    if pseudo_label.device.type != "cpu":
        return largest_component_on_device(pseudo_label, num_classes)
    narrow = np.min_scalar_type(len(pseudo_label) * num_classes)  # one byte in training: fastest
    label = pseudo_label.numpy().astype(narrow, order="C")
    foreground = label != 0
    owner = _owners(label, num_classes) * foreground
    where = np.flatnonzero(foreground)  # positions in raster order
    kept = np.zeros_like(label)
    if where.size:
        component = _components(owner)[where]
        winners = _largest_per_owner(component, owner.ravel()[where], where)
        is_winner = np.zeros(int(component.max()) + 1, dtype=bool)
        is_winner[winners] = True
        stay = where[is_winner[component]]
        kept.ravel()[stay] = label.ravel()[stay]
    return torch.from_numpy(kept).to(pseudo_label.dtype)


def _check(pseudo_label: torch.Tensor, num_classes: int) -> None:
    check_tensor("pseudo_label", pseudo_label, "integer")
    if pseudo_label.ndim not in (3, 4):
        raise ValueError(
            f"pseudo_label must be (B, *spatial) with 2 or 3 spatial axes, "
            f"got shape {tuple(pseudo_label.shape)}"
        )
    if may_look(pseudo_label):
        low, high = (int(bound) for bound in pseudo_label.aminmax())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"pseudo_label must hold classes 0..{num_classes - 1}, got {low}..{high}"
            )


def _owners(label: np.ndarray, num_classes: int) -> np.ndarray:
    """(B, *spatial) classes numbered on from sample to sample, so that no two samples share one."""
    first = (np.arange(len(label)) * num_classes).astype(label.dtype)
    return label + first.reshape(-1, *[1] * (label.ndim - 1))


def _components(owner: np.ndarray) -> np.ndarray:
    """Flat component ids of the whole batch, from one labeling call.

    The batch is stacked along the first spatial axis; voxels with different owners never join,
    so neither do two classes nor, across the seam, two samples.
    """
    import cc3d

    stacked = owner.reshape(-1, *owner.shape[2:])  # (B*H, W) or (B*X, Y, Z)
    return cc3d.connected_components(stacked, connectivity=8 if stacked.ndim == 2 else 26).ravel()


def _largest_per_owner(component: np.ndarray, owner: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Ids of the largest component of each owner, the first in raster order among equals."""
    size = np.bincount(component)
    first = np.zeros(size.size, dtype=np.int64)
    owner_of = np.zeros(size.size, dtype=owner.dtype)
    # With repeated indices the last assignment stays, hence backwards for the first position.
    first[component[::-1]] = where[::-1]
    owner_of[component] = owner
    ids = np.flatnonzero(size)
    ids = ids[np.lexsort((first[ids], -size[ids]))]
    _, best = np.unique(owner_of[ids], return_index=True)
    return ids[best]
