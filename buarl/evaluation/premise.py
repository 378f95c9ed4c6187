"""The paper's premise, measured: how often is a voxel wrong, given the percentile of its entropy?

Everything here counts. Voxels of a batch are sorted into bins between percentiles of the batch's
entropy (uses Eq. 4), and in each bin voxels and errors are counted for each class of the label, on
the border of a structure and inside. Recall, precision and what limits them follow from the counts.

The labels of unlabeled training images are read to count errors, never to train. They are there
for ACDC's and LA's training lists and for the phantoms, which hide labels rather than lack them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

EDGES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 99.5, 100)
"""Percentiles between which voxels are counted; the paper cuts at 95 and 99."""
WHERE = ("border", "inside")


class Cut(NamedTuple):
    """What a cut at a percentile catches of the errors, each number in 0-1.

    Attributes:
        recall: Errors above the cut as a share of all errors; NaN if there are no errors.
        ceiling: The highest recall that a mask of this size can have: 1 % of the voxels cannot
            hold errors that are 6 % of them.
        precision: Errors as a share of the voxels above the cut; NaN if none is above.
        base: Errors as a share of all voxels, what a random mask would have as precision.
        share: Voxels above the cut as a share of all voxels.
    """

    recall: float
    ceiling: float
    precision: float
    base: float
    share: float


def border_mask(label: Tensor) -> Tensor:
    """Mark the voxels that have a face neighbor of another class.

    Args:
        label: Whole numbers (B, *spatial), 0 to C-1.
    Returns:
        bool (B, *spatial): both sides of every border, so a band of two voxels. What lies beyond
        the image is no neighbor.

    >>> border_mask(torch.tensor([[0, 0, 0, 1, 1, 1]])).int()
    tensor([[0, 0, 1, 1, 0, 0]], dtype=torch.int32)
    """
    border = torch.zeros_like(label, dtype=torch.bool)
    for axis in range(1, label.ndim):
        size = label.shape[axis] - 1
        differs = label.narrow(axis, 1, size) != label.narrow(axis, 0, size)
        border.narrow(axis, 1, size).logical_or_(differs)
        border.narrow(axis, 0, size).logical_or_(differs)
    return border


def premise_counts(
    entropy: Tensor,
    label: Tensor,
    pseudo_label: Tensor,
    num_classes: int,
    edges: Sequence[float] = EDGES,
) -> np.ndarray:
    """Count voxels and errors by percentile of the entropy, class of the label, border or inside.

    Args:
        entropy: float (B, *spatial), nats; its percentiles run over the batch.
        label: Whole numbers (B, *spatial), 0 to C-1, the truth.
        pseudo_label: Whole numbers (B, *spatial), 0 to C-1, what the network says.
        num_classes: C, background included.
        edges: Percentiles that rise from 0 to 100.
    Returns:
        int64 (bins, C, 2, 2): the axes are the bin, the class of the label, border or inside, and
        voxels or errors. A voxel lies in the highest bin whose lower edge its entropy exceeds, so
        every cut at an edge marks what `uncertain_mask` marks there.
    Raises:
        ValueError: edges that do not rise from 0 to 100.

    >>> entropy = torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4]])
    >>> label, said = torch.tensor([[0, 0, 0, 1, 1]]), torch.tensor([[0, 0, 0, 0, 1]])
    >>> premise_counts(entropy, label, said, 2, edges=(0, 50, 100)).sum((1, 2)).tolist()
    [[3, 0], [2, 1]]
    """
    if list(edges) != sorted(set(edges)) or edges[0] != 0 or edges[-1] != 100:
        raise ValueError(f"edges must rise from 0 to 100, got {tuple(edges)}")
    # uses Eq. 4 at all edges with one sort: as in `uncertain_mask`, H > mu is H > the order
    # statistic at floor(q (n - 1)), and a voxel's bin is the number of edges that mark it.
    ranks = [int(q / 100 * (entropy.numel() - 1)) for q in edges[1:-1]]
    bins = torch.bucketize(entropy, entropy.flatten().sort().values[ranks])
    inside = (~border_mask(label)).long()
    place = (bins * num_classes + label.long()) * 2 + inside
    size = (len(edges) - 1) * num_classes * 2
    wrong = place[label.long() != pseudo_label.long()]
    counts = [torch.bincount(part.flatten(), minlength=size) for part in (place, wrong)]
    return torch.stack(counts, -1).reshape(len(edges) - 1, num_classes, 2, 2).cpu().numpy()


def cut_at(counts: np.ndarray, percentile: float, edges: Sequence[float] = EDGES) -> Cut:
    """What a cut at one of the edges catches, over all classes and places in `counts`.

    Args:
        counts: int (bins, ..., 2), as `premise_counts` returns it or a part of it.
        percentile: One of the edges.
        edges: As in `premise_counts`.
    Raises:
        ValueError: a percentile that is no edge.

    >>> counts = np.array([[95, 3], [5, 3]])  # 100 voxels, 6 errors, 3 of them above
    >>> cut_at(counts, 95, edges=(0, 95, 100))
    Cut(recall=0.5, ceiling=0.8333333333333334, precision=0.6, base=0.06, share=0.05)
    """
    if percentile not in edges[:-1]:
        raise ValueError(f"percentile must be one of {tuple(edges[:-1])}, got {percentile}")
    per_bin = counts.reshape(len(counts), -1, 2).sum(1)  # (bins, 2)
    voxels, errors = (int(n) for n in per_bin.sum(0))
    marked, caught = (int(n) for n in per_bin[list(edges).index(percentile) :].sum(0))
    return Cut(
        _share(caught, errors),
        _share(min(marked, errors), errors),
        _share(caught, marked),
        _share(errors, voxels),
        _share(marked, voxels),
    )


def error_rates(counts: np.ndarray) -> np.ndarray:
    """P(error | bin of the entropy's percentile), over all classes and places in `counts`.

    Args:
        counts: int (bins, ..., 2), as `premise_counts` returns it or a part of it.
    Returns:
        float64 (bins,), 0-1; NaN for a bin without a voxel.

    >>> error_rates(np.array([[90, 9], [0, 0], [10, 5]])).tolist()
    [0.1, nan, 0.5]
    """
    voxels, errors = counts.reshape(len(counts), -1, 2).sum(1).T
    with np.errstate(invalid="ignore"):
        return errors / np.where(voxels, voxels, np.nan)


def premise_rows(
    counts: np.ndarray, class_names: Sequence[str], edges: Sequence[float] = EDGES
) -> list[dict[str, Any]]:
    """Counts as rows of `premise.csv`; what holds no voxel has no row.

    Args:
        counts: As `premise_counts` returns it.
        class_names: C names.
        edges: As in `premise_counts`.
    """
    return [
        {
            "class": class_names[k],
            "where": WHERE[w],
            "percentile_from": edges[b],
            "percentile_to": edges[b + 1],
            "voxels": int(counts[b, k, w, 0]),
            "errors": int(counts[b, k, w, 1]),
        }
        for b, k, w in np.argwhere(counts[..., 0])
    ]


def counts_of_rows(
    rows: Sequence[Mapping[str, Any]], class_names: Sequence[str], edges: Sequence[float] = EDGES
) -> np.ndarray:
    """The counts back from rows of one moment, one side and one network.

    Args:
        rows: Some of `Capsule.premise`; rows of several moments are added up.
        class_names: C names.
        edges: As in `premise_counts`.
    Returns:
        int64 (bins, C, 2, 2), see `premise_counts`.

    >>> counts = np.zeros((19, 2, 2, 2), int)
    >>> counts[18, 1, 0] = 8, 5
    >>> rows = premise_rows(counts, ["background", "disc"])
    >>> rows[0]["where"], np.array_equal(counts_of_rows(rows, ["background", "disc"]), counts)
    ('border', True)
    """
    counts = np.zeros((len(edges) - 1, len(class_names), 2, 2), np.int64)
    for row in rows:
        place = (
            list(edges).index(row["percentile_from"]),
            list(class_names).index(row["class"]),
            WHERE.index(row["where"]),
        )
        counts[place] += row["voxels"], row["errors"]
    return counts


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
