"""Which images have labels? The adversary of SASSNet (docs/protocol.md 3.4).

It sees a signed distance map beside its image. The 3-D form is that of kleinzcy/SASSnet, the 2-D
one that of DAN in SSL4MIS.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
POOL = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


class Discriminator(nn.Module):
    """Four strided convolutions on map and image, a mean, one linear layer.

    The references pool windows of 7 (7, 7, 5), which fits one image size. Here the mean is over as
    many parts as there, whatever the size: equal at 256 x 256 and at 112 x 112 x 80, and the number
    of parameters never depends on the image.

    Args:
        rank: 2 or 3.
        map_channels, image_channels: Channels of the distance map and of the image.
        width: Channels after the first level; doubles at every level.
        first_activation: Activation and dropout after the first level too. SASSNet: True, DAN:
            False.
        parts: Parts per axis of the final mean. SASSNet: 1, DAN: 2.
        pooled_share: Share of every axis that the mean covers, rounded up. DAN: 7/8, as two windows
            of 7 leave out the last 2 of 16.
        dropout: Probability that a channel is dropped, after all levels but the last.
    Raises:
        ValueError: another rank.

    >>> import torch
    >>> discriminator = Discriminator(2, map_channels=4, width=8)
    >>> discriminator(torch.zeros(3, 4, 32, 32), torch.zeros(3, 1, 32, 32)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        rank: int,
        map_channels: int,
        *,
        image_channels: int = 1,
        width: int = 64,
        first_activation: bool = True,
        parts: int = 1,
        pooled_share: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if rank not in CONV:
            raise ValueError(f"rank must be 2 or 3, got {rank}")
        conv = CONV[rank]
        self.rank, self.parts, self.pooled_share = rank, parts, pooled_share
        self.map_conv = conv(map_channels, width, 4, stride=2, padding=1)
        self.image_conv = conv(image_channels, width, 4, stride=2, padding=1)
        layers: list[nn.Module] = []
        for level in range(4):
            if level:
                layers.append(conv(width << (level - 1), width << level, 4, stride=2, padding=1))
            if level or first_activation:
                layers.append(nn.LeakyReLU(0.2, inplace=True))
                if level < 3:
                    layers.append(DROPOUT[rank](dropout))
        self.levels = nn.Sequential(*layers)
        self.head = nn.Linear((width << 3) * parts**rank, 2)

    def forward(self, distance: Tensor, image: Tensor) -> Tensor:
        """Scores of unlabeled (0) and labeled (1), (B, 2).

        Args:
            distance: (B, map_channels, *spatial), 16 voxels or more per axis.
            image: (B, image_channels, *spatial).
        """
        feature = self.levels(self.map_conv(distance) + self.image_conv(image))
        used = (slice(math.ceil(n * self.pooled_share)) for n in feature.shape[2:])
        pooled = POOL[self.rank](feature[(..., *used)], self.parts)  # (B, 8 * width, parts, ...)
        return self.head(pooled.flatten(1))


def paper_discriminator(
    rank: int, map_channels: int, *, image_channels: int = 1, width: int = 64
) -> Discriminator:
    """The published form for a rank.

    Args:
        rank: 2 for DAN's form, 3 for SASSNet's.
        map_channels, image_channels: Channels of the distance map and of the image.
        width: Channels after the first level.
    Returns:
        In 2-D 2,762,754 parameters with a map of 4 channels, in 3-D 11,020,290 with a map of one.

    >>> import torch
    >>> network = paper_discriminator(2, map_channels=4, width=2)
    >>> network(torch.zeros(1, 4, 64, 64), torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 2])
    """
    dan = {"first_activation": False, "parts": 2, "pooled_share": 7 / 8}
    return Discriminator(
        rank,
        map_channels,
        image_channels=image_channels,
        width=width,
        **(dan if rank == 2 else {}),
    )
