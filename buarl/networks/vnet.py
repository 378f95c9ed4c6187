"""The 3-D V-Net of UA-MT, SS-Net, MC-Net and BCP (docs/protocol.md 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from buarl.fast.bf16 import is_wrong_in_bf16

CONVOLUTIONS = (1, 2, 3, 3, 3)
UpSampling = Literal["transposed", "trilinear", "nearest"]


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that computes in fp32 where bf16 would be wrong, see `is_wrong_in_bf16`.

    >>> Conv3d(1, 2, 3, padding=1)(torch.zeros(1, 1, 4, 4, 4)).shape
    torch.Size([1, 2, 4, 4, 4])
    """

    def forward(self, feature: Tensor) -> Tensor:
        """The convolution of a feature (B, channels, X, Y, Z), as in `nn.Conv3d`."""
        if not is_wrong_in_bf16(feature):
            return super().forward(feature)
        with torch.autocast("cpu", enabled=False):
            return super().forward(feature.to(self.weight.dtype))


def _unit(convolution: nn.Module, channels: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm3d(channels), nn.ReLU(inplace=True)]


def _block(count: int, channels_in: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(count):
        layers += _unit(Conv3d(channels if i else channels_in, channels, 3, padding=1), channels)
    return nn.Sequential(*layers)


def _up(channels: int, up_sampling: UpSampling) -> nn.Sequential:
    """Twice the channels to `channels`, the size doubled."""
    if up_sampling == "transposed":
        return nn.Sequential(
            *_unit(nn.ConvTranspose3d(2 * channels, channels, 2, stride=2), channels)
        )
    corners = None if up_sampling == "nearest" else True
    resize = nn.Upsample(scale_factor=2, mode=up_sampling, align_corners=corners)
    return nn.Sequential(resize, *_unit(Conv3d(2 * channels, channels, 3, padding=1), channels))


class _WayUp(nn.Module):
    """The half of a V-Net that goes back up, and its head; what `VNet` and `VNetDecoder` share."""

    def add_way_up(self, num_classes: int, width: int, up_sampling: UpSampling) -> None:
        """Make the layers, from coarse to fine."""
        channels = [width * 2**level for level in (3, 2, 1, 0)]
        self.up = nn.ModuleList(_up(c, up_sampling) for c in channels)
        self.decoder = nn.ModuleList(
            _block(n, c, c) for n, c in zip(reversed(CONVOLUTIONS[:-1]), channels, strict=True)
        )
        self.dropout = nn.Dropout3d(0.5)
        self.head = nn.Conv3d(width, num_classes, 1)

    def decode(self, features: list[Tensor]) -> list[Tensor]:
        """Features on the way up, the last of them with dropout.

        Args:
            features: The features of the five levels, as `VNet.encode` returns them.
        Returns:
            Four features, (B, width * 2^l, X/2^l, ...) at l = 3, 2, 1, 0.
        """
        *skips, feature = features
        decoded: list[Tensor] = []
        for up, block in zip(self.up, self.decoder, strict=True):
            feature = block(up(feature) + skips.pop())
            decoded.append(feature)
        return [*decoded[:-1], self.dropout(decoded[-1])]


class VNet(_WayUp):
    """Five levels, strided convolutions down, transposed ones up, skips by addition.

    Args:
        num_classes: C, background included; 2 classes at width 16 make 9,448,866 parameters.
        width: Channels of the first level; doubles at every level.
        in_channels: Channels of the image.
    Shapes:
        image (B, in_channels, X, Y, Z), all multiples of 16 -> logits (B, C, X, Y, Z).

    >>> VNet(num_classes=2, width=2)(torch.zeros(2, 1, 32, 16, 16)).shape
    torch.Size([2, 2, 32, 16, 16])
    """

    up_samplings: tuple[UpSampling, ...] = ("transposed", "trilinear", "nearest")
    """How its own decoder doubles the size of a feature, then how MC-Net's other decoders do."""

    def __init__(self, num_classes: int = 2, width: int = 16, in_channels: int = 1) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            _block(n, c if level else in_channels, c)
            for level, (n, c) in enumerate(zip(CONVOLUTIONS, channels, strict=True))
        )
        self.down = nn.ModuleList(
            nn.Sequential(*_unit(nn.Conv3d(c, 2 * c, 2, stride=2), 2 * c)) for c in channels[:-1]
        )
        self.add_way_up(num_classes, width, "transposed")

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features on the way down, the deepest with dropout.

        Args:
            image: (B, in_channels, X, Y, Z).
        Returns:
            Five features, (B, width * 2^l, X/2^l, ...) at l = 0..4.
        Raises:
            ValueError: a size that 16 does not divide.
        """
        if any(n % 16 for n in image.shape[2:]):
            raise ValueError(f"VNet needs sizes in multiples of 16, got {tuple(image.shape[2:])}")
        features: list[Tensor] = []
        feature = image
        for level, block in enumerate(self.encoder):
            feature = block(self.down[level - 1](feature) if level else feature)
            features.append(feature)
        return [*features[:-1], self.dropout(feature)]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image, (B, C, X, Y, Z)."""
        return self.head(self.decode(self.encode(image))[-1])

    def new_decoder(self, up_sampling: UpSampling) -> VNetDecoder:
        """One more way up from the same features, with weights of its own."""
        return VNetDecoder(self.head.out_channels, self.head.in_channels, up_sampling)


class VNetDecoder(_WayUp):
    """The way up of a V-Net alone, as MC-Net has more than one.

    Args:
        num_classes, width: As in `VNet`.
        up_sampling: How a feature doubles its size; 2,071,970 parameters transposed, 2,898,850
            otherwise (2 classes, width 16).

    >>> network = VNet(num_classes=2, width=2)
    >>> VNetDecoder(2, 2, "trilinear")(network.encode(torch.zeros(2, 1, 16, 16, 16))).shape
    torch.Size([2, 2, 16, 16, 16])
    """

    def __init__(self, num_classes: int, width: int, up_sampling: UpSampling) -> None:
        super().__init__()
        self.add_way_up(num_classes, width, up_sampling)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits, (B, C, X, Y, Z), from the features of `VNet.encode`."""
        return self.head(self.decode(features)[-1])
