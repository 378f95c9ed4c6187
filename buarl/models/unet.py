"""The 2-D U-Net of SSL4MIS, SS-Net, MC-Net and BCP (protocol 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5)


def _block(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.01, inplace=True),
        nn.Dropout(dropout),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.01, inplace=True),
    )


class UNet(nn.Module):
    """Five levels of two 3x3 convolutions, bilinear up-sampling, skips by concatenation.

    Args:
        num_classes: C, background included; 4 classes at width 16 make 1,813,764 parameters.
        width: Channels of the first level; doubles at every level.
        in_channels: Channels of the image.
    Shapes:
        image (B, in_channels, H, W), H and W multiples of 16 -> logits (B, C, H, W).
    """

    def __init__(self, num_classes: int = 4, width: int = 16, in_channels: int = 1) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            _block(a, b, p)
            for a, b, p in zip([in_channels, *channels], channels, DROPOUT, strict=False)
        )
        self.reduce = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in reversed(channels[:-1]))
        self.decoder = nn.ModuleList(_block(2 * c, c, 0.0) for c in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, num_classes, 3, padding=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of the five levels, (B, width * 2^l, H/2^l, W/2^l) at l = 0..4."""
        if any(n % 16 for n in image.shape[2:]):
            raise ValueError(f"UNet needs H and W in multiples of 16, got {tuple(image.shape[2:])}")
        features: list[Tensor] = []
        feature = image
        for level, block in enumerate(self.encoder):
            feature = block(F.max_pool2d(feature, 2) if level else feature)
            features.append(feature)
        return features

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Features on the way up, (B, width * 2^l, H/2^l, W/2^l) at l = 3, 2, 1, 0."""
        *skips, feature = features
        decoded: list[Tensor] = []
        for reduce, block in zip(self.reduce, self.decoder, strict=True):
            feature = F.interpolate(
                reduce(feature), scale_factor=2, mode="bilinear", align_corners=True
            )
            feature = block(torch.cat([skips.pop(), feature], 1))
            decoded.append(feature)
        return decoded

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        return self.head(self.decode(self.encode(image))[-1])  # (B, C, H, W)
