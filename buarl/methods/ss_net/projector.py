"""A network with the embedding heads of SS-Net (docs/protocol.md 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from buarl.networks.trunk import require_parts


def _mlp(channels_in: int, channels: int, channels_out: int, activation: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Linear(channels_in, channels),
        nn.BatchNorm1d(channels),
        activation,
        nn.Linear(channels, channels_out),
    )


def _selector(channels: int) -> nn.Module:
    score = _mlp(channels, channels, 1, nn.LeakyReLU(0.2))
    return nn.Sequential(*score, nn.Sigmoid(), nn.Flatten(0))


class Projector(nn.Module):
    """A trunk and heads on its last feature, voxel by voxel.

    `projection`, (M, width) -> (M, E), makes the vectors of the memory; `prediction` follows it on
    the learning side. `selectors` and `memory_selectors`, one per class, score vectors,
    (M, E) -> (M,), 0 to 1. The BCP networks carry these heads without using them.

    Args:
        trunk: A network with `encode`, `decode` and `head`, such as UNet or VNet; at width 16 with
            4 classes (2-D) 1,826,828 parameters, with 2 classes (3-D) 9,457,318.
        channels: E, length of a vector.
    Raises:
        TypeError: a trunk without these parts.

    >>> from buarl.networks import UNet
    >>> network = Projector(UNet(4, width=2))
    >>> logits, embedding = network.logits_and_embedding(torch.zeros(1, 1, 32, 32))
    >>> tuple(logits.shape), tuple(embedding.shape)
    ((1, 4, 32, 32), (1, 2, 32, 32))
    """

    def __init__(self, trunk: nn.Module, channels: int = 32) -> None:
        super().__init__()
        require_parts(self, trunk, "encode", "decode", "head")
        width, num_classes = trunk.head.in_channels, trunk.head.out_channels
        self.trunk = trunk
        self.projection = _mlp(width, channels, channels, nn.ReLU(inplace=True))
        self.prediction = _mlp(channels, channels, channels, nn.ReLU(inplace=True))
        self.selectors, self.memory_selectors = (
            nn.ModuleList(_selector(channels) for _ in range(num_classes)) for _ in range(2)
        )

    def logits_and_embedding(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the feature they are made of.

        Args:
            image: (B, 1, *spatial).
        Returns:
            Logits (B, C, *spatial) and embedding (B, width, *spatial).
        """
        feature = self.trunk.decode(self.trunk.encode(image))[-1]
        return self.trunk.head(feature), feature

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the trunk, (B, C, *spatial): what is evaluated."""
        return self.trunk(image)

    @torch.no_grad()
    def project(self, embedding: Tensor) -> Tensor:
        """Vectors for a memory: (M, width) -> (M, E), in eval mode, without a graph."""
        mode = self.projection.training
        vectors = self.projection.eval()(embedding)
        self.projection.train(mode)
        return vectors
