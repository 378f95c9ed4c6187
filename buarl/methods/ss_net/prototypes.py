"""A few feature vectors per class, and a loss that pulls features of the class towards them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from buarl.losses import Reduction, region_mean
from buarl.regions import Region

Scorer = Callable[[Tensor], Tensor]  # vectors (M, E) -> scores (M,), above 0


class PrototypeMemory(nn.Module):
    """At most `size` vectors per class; part of the state dict, out of reach of gradients.

    Args:
        num_classes: C, background included.
        channels: E, length of a vector.
        size: How many vectors are kept per class.
        keep: Which of more candidates stay: those of "lowest" score, as in SS-Net's code, or of
            "highest", as the idea of its paper asks.
    Raises:
        ValueError: another `keep`.

    >>> memory = PrototypeMemory(num_classes=2, channels=3)
    >>> memory.store(1, torch.ones(5, 3), scorer=lambda vectors: vectors.sum(1))
    >>> [tuple(vectors.shape) for vectors in memory.of_each_class()]
    [(0, 3), (5, 3)]
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 32,
        size: int = 32,
        keep: Literal["lowest", "highest"] = "lowest",
    ) -> None:
        super().__init__()
        if keep not in ("lowest", "highest"):
            raise ValueError(f'keep must be "lowest" or "highest", got {keep!r}')
        self.keep = keep
        self.register_buffer("vectors", torch.zeros(num_classes, size, channels))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))

    @torch.no_grad()
    def store(self, label: int, vectors: Tensor, scorer: Scorer) -> None:
        """Replace the vectors of a class; where there are no new ones the old ones stay.

        Args:
            label: The class, 0 to C-1.
            vectors: The candidates, float (M, E).
            scorer: Scores vectors, (M, E) -> (M,); asked only if there are more than the size.
        """
        size = self.vectors.shape[1]
        if len(vectors) > size:
            highest = self.keep == "highest"
            vectors = vectors[scorer(vectors).float().topk(size, largest=highest).indices]
        if len(vectors):
            self.vectors[label] = 0
            self.vectors[label, : len(vectors)] = vectors.float()
            self.counts[label] = len(vectors)

    def of_each_class(self) -> list[Tensor]:
        """The vectors of every class: C tensors (K, E), K from 0 to the size.

        Reading the counts waits for the device.
        """
        return [rows[:n] for rows, n in zip(self.vectors, self.counts.tolist(), strict=True)]


def prototype_loss(
    features: Tensor,
    label: Tensor,
    prototypes: Sequence[Tensor],
    scorers: Sequence[Scorer],
    regions: Sequence[Region],
    *,
    reduction: Reduction,
    prototype_scorers: Sequence[Scorer] | None = None,
) -> Tensor:
    """Mean over classes of the mean of a_m b_k (1 - cos(f_m, M_k)) over features and prototypes.

    With a_m a weight per feature f_m, b_k one per prototype M_k; both have the mean 1. Source:
    SS-Net (Wu et al., MICCAI 2022, arXiv:2203.01324); docs/protocol.md 4.8.

    Args:
        features: f, float (N, E).
        label: The class of each feature, integer (N,).
        prototypes: M of every class, C tensors (K, E). A class with fewer than 2 prototypes or
            fewer than 2 features adds 0, but counts in the mean over classes.
        scorers: One per class; a_m are the scores of detached features, scaled to mean 1.
        regions: Masks (N,), and weights that are numbers or maps (N,): they weigh features within
            each class.
        reduction: "region" or "voxel", see `region_mean`.
        prototype_scorers: One per class, which score M at unit length for b_k. None: b_k = 1.
    Returns:
        float32 scalar. Gradients reach features and scorers, not the prototypes.
    Raises:
        TypeError, ValueError: as in `region_mean`.

    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # of one class, at right angles
    >>> prototypes = [torch.tensor([[1.0, 0.0], [1.0, 0.0]])]
    >>> everything = [Region(torch.tensor([True, True]), 1.0)]
    >>> alike = [lambda vectors: torch.ones(len(vectors))]  # every feature has the same score
    >>> prototype_loss(
    ...     features,
    ...     torch.tensor([0, 0]),
    ...     prototypes,
    ...     alike,
    ...     everything,
    ...     reduction="voxel",
    ... )
    tensor(0.5000)
    """
    total = features.new_zeros((), dtype=torch.float32)
    for c, vectors in enumerate(prototypes):
        if len(vectors) < 2:
            continue
        chosen = (label == c).nonzero()[:, 0]  # waits for the device: how many there are
        if len(chosen) < 2:
            continue
        own, directions = features[chosen], F.normalize(vectors.detach().float())
        a = _mean_one(scorers[c](own.detach()))  # (M,)
        if prototype_scorers is not None:
            directions = directions * _mean_one(prototype_scorers[c](directions))[:, None]  # b_k
        # The loss is linear in cos, so the mean over k goes inside: no (M, K) matrix.
        cosine = (F.normalize(own.float()) * directions.mean(0)).sum(1)  # (M,), mean of b_k cos
        parts = [  # the mask, and the weights where they are a map
            Region(*(part[chosen] if isinstance(part, Tensor) else part for part in region))
            for region in regions
        ]
        total = total + region_mean(a * (1 - cosine), parts, reduction=reduction)
    return total / len(prototypes)


def _mean_one(scores: Tensor) -> Tensor:
    return scores.float() / scores.float().mean()
