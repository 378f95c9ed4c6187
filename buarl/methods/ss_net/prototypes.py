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
        num_classes: C. channels: E, length of a vector. size: Vectors kept per class.
        keep: Which of more candidates stay: those of "lowest" score, as in SS-Net's code, or of
            "highest", as its paper's idea asks.
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
        """Replace what a class has; no vectors change nothing.

        Args:
            label: Class, 0 to C-1. vectors: (M, E). scorer: Asked only if M is above the size.
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
        """C tensors (K, E), K from 0 to size. Reading the counts waits for the device."""
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

    Args:
        features: f, (N, E). label: Class of each, integer (N,).
        prototypes: Per class M, (K, E). A class with fewer than 2 of them or fewer than 2 features
            adds 0, but counts in the mean over classes.
        scorers: Per class; a_m are the scores of detached features, scaled to mean 1.
        regions: Masks (N,): weigh features, within each class. reduction: As in `region_mean`.
        prototype_scorers: Per class, the same for b_k, of M at unit length. None: b_k = 1.
    Returns:
        Scalar float32. Gradients reach features and scorers, not the prototypes.
    Source: SS-Net (Wu et al., MICCAI 2022); docs/protocol.md 4.8.
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
