"""A network of your own, for slices and for volumes.

    buarl train --method mean_teacher --network examples/my_network.py:MyNetwork \\
        --network-option dropout=0.1 --out runs/my_network
    buarl evaluate runs/my_network --code examples/my_network.py:MyNetwork

Any `torch.nn.Module` will do that maps an image (B, 1, *spatial) to logits (B, C, *spatial). It is
told the number of classes and, if it has arguments for them, channels, rank and width; the names
that it may give them stand in `buarl.training.network.ALIASES`.
"""

from __future__ import annotations

from torch import Tensor, nn


class MyNetwork(nn.Module):
    """Three convolutions at full resolution; the second sees every other voxel.

    Args:
        num_classes: C, background included.
        rank: 2 for slices, 3 for volumes.
        width: Channels in between.
        dropout: Share of those channels that is set to 0 while training.

    >>> import torch
    >>> MyNetwork(num_classes=4, rank=2)(torch.zeros(1, 1, 9, 7)).shape
    torch.Size([1, 4, 9, 7])
    """

    def __init__(self, num_classes: int, rank: int, width: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[rank]
        self.body = nn.Sequential(
            convolution(1, width, 3, padding=1),
            nn.ReLU(),
            convolution(width, width, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.head = convolution(width, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        return self.head(self.body(image))
