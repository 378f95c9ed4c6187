"""The 2-D U-Net of SSL4MIS, SS-Net, MC-Net and BCP (docs/protocol.md 3.1)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from buarl.fast.dropout import Dropout  # nn.Dropout, drawn in a third of the time on a CPU

DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5)
UpSampling = Literal["bilinear", "transposed", "nearest", "bicubic"]


def _block(channels_in: int, channels_out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.01, inplace=True),
        Dropout(dropout),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.01, inplace=True),
    )


def _reduce(channels: int, up_sampling: UpSampling) -> nn.Module:
    """Twice the channels to `channels`; a transposed convolution doubles the size as well."""
    if up_sampling == "transposed":
        return nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
    return nn.Conv2d(2 * channels, channels, 1)


def _resize(up_sampling: UpSampling) -> nn.Module:
    """Twice the size; nothing is left to do where a transposed convolution has done it."""
    if up_sampling == "transposed":
        return nn.Identity()
    corners = None if up_sampling == "nearest" else True
    return nn.Upsample(scale_factor=2, mode=up_sampling, align_corners=corners)


class _WayUp(nn.Module):
    """The half of a U-Net that goes back up, and its head; what `UNet` and `UNetDecoder` share."""

    def add_way_up(self, num_classes: int, width: int, up_sampling: UpSampling) -> None:
        """Make the layers, from coarse to fine."""
        channels = [width * 2**level for level in (3, 2, 1, 0)]
        self.reduce = nn.ModuleList(_reduce(c, up_sampling) for c in channels)
        self.resize = _resize(up_sampling)
        self.decoder = nn.ModuleList(_block(2 * c, c, 0.0) for c in channels)
        self.head = nn.Conv2d(width, num_classes, 3, padding=1)

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Features on the way up.

        Args:
            features: The features of the five levels, as `UNet.encode` returns them.
        Returns:
            Four features, (B, width * 2^l, H/2^l, W/2^l) at l = 3, 2, 1, 0.
        """
        *skips, feature = features
        decoded: list[Tensor] = []
        for reduce, block in zip(self.reduce, self.decoder, strict=True):
            feature = block(torch.cat([skips.pop(), self.resize(reduce(feature))], 1))
            decoded.append(feature)
        return decoded


class UNet(_WayUp):
    """Five levels of two 3x3 convolutions, bilinear up-sampling, skips by concatenation.

    Args:
        num_classes: C, background included; 4 classes at width 16 make 1,813,764 parameters.
        width: Channels of the first level; doubles at every level.
        in_channels: Channels of the image.
    Shapes:
        image (B, in_channels, H, W), H and W multiples of 16 -> logits (B, C, H, W).

    >>> UNet(num_classes=4, width=2)(torch.zeros(1, 1, 32, 48)).shape
    torch.Size([1, 4, 32, 48])
    """

    up_samplings: tuple[UpSampling, ...] = ("bilinear", "transposed", "nearest", "bicubic")
    """How its own decoder doubles the size of a feature, then how MC-Net's other decoders do."""

    def __init__(self, num_classes: int = 4, width: int = 16, in_channels: int = 1) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            _block(a, b, p)
            for a, b, p in zip([in_channels, *channels], channels, DROPOUT, strict=False)
        )
        self.add_way_up(num_classes, width, "bilinear")

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features on the way down.

        Args:
            image: (B, in_channels, H, W).
        Returns:
            Five features, (B, width * 2^l, H/2^l, W/2^l) at l = 0..4.
        Raises:
            ValueError: a size that 16 does not divide.
        """
        if any(n % 16 for n in image.shape[2:]):
            raise ValueError(f"UNet needs H and W in multiples of 16, got {tuple(image.shape[2:])}")
        features: list[Tensor] = []
        feature = image
        for level, block in enumerate(self.encoder):
            feature = block(F.max_pool2d(feature, 2) if level else feature)
            features.append(feature)
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image, (B, C, H, W)."""
        return self.head(self.decode(self.encode(image))[-1])

    def new_decoder(self, up_sampling: UpSampling) -> UNetDecoder:
        """One more way up from the same features, with weights of its own."""
        return UNetDecoder(self.head.out_channels, self.head.in_channels, up_sampling)


class UNetDecoder(_WayUp):
    """The way up of a U-Net alone, as MC-Net has more than one.

    Args:
        num_classes, width: As in `UNet`.
        up_sampling: How a feature doubles its size; 763,860 parameters transposed, 633,300
            otherwise (4 classes, width 16).

    >>> network = UNet(num_classes=4, width=2)
    >>> UNetDecoder(4, 2, "transposed")(network.encode(torch.zeros(1, 1, 32, 32))).shape
    torch.Size([1, 4, 32, 32])
    """

    def __init__(self, num_classes: int, width: int, up_sampling: UpSampling) -> None:
        super().__init__()
        self.add_way_up(num_classes, width, up_sampling)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits, (B, C, H, W), from the features of `UNet.encode`."""
        return self.head(self.decode(features)[-1])
