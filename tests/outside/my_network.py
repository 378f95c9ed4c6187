"""Networks outside the package: one of the right shape, and some that are wrong."""

from __future__ import annotations

import torch
from torch import nn


class MyNetwork(nn.Module):
    """Two convolutions at full resolution, slices or volumes."""

    def __init__(self, n_classes: int, dims: int, width: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.body = nn.Sequential(
            convolution(1, width, 3, padding=1), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = convolution(width, n_classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image (B, 1, *spatial) to logits (B, C, *spatial)."""
        return self.head(self.body(image))


class HalfSize(MyNetwork):
    """Its logits are half as large as the image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Every other voxel."""
        return super().forward(image)[..., ::2]


class Several(MyNetwork):
    """It returns a list, as networks with deep supervision do."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Logits, twice."""
        return [super().forward(image)] * 2


class Fails(MyNetwork):
    """It has an error in it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Never returns."""
        return image / (1 // 0)


def no_network(n_classes: int) -> int:
    """Makes no network at all."""
    return n_classes
