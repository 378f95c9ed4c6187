"""A network with two heads, segmentation and signed distance: the student of DTC and SASSNet.

docs/protocol.md 3.1, 3.2: the V-Net of HiLab-git/DTC and kleinzcy/SASSnet, the U-Net of SSL4MIS
pull request 37.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from buarl.arguments import at_least_float32


class SignedDistanceNet(nn.Module):
    """A UNet or VNet whose last feature feeds a segmentation head and a signed-distance head.

    Two classes take the binary form of the 3-D references: one channel per head, the second class
    alone. More classes take the form of the 2-D one: one channel per class, background included.
    Both forms work in any rank.

    Args:
        network: The trunk, taken over: its head is set aside, both heads are of its kind. Around
            UNet() 1,814,344 parameters, around VNet() 9,448,866.
    Raises:
        TypeError: a network without a convolution as head.

    >>> from buarl.networks import VNet
    >>> network = SignedDistanceNet(VNet(num_classes=2, width=2))
    >>> logits, distance = network.logits_and_distance(torch.zeros(1, 1, 32, 16, 16))
    >>> logits.shape[1], distance.shape[1]
    (2, 1)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        head = getattr(network, "head", None)
        if not isinstance(head, nn.Conv2d | nn.Conv3d):
            raise TypeError(
                "SignedDistanceNet needs a network that ends in `head`, a convolution "
                f"(UNet, VNet), got {type(network).__name__}"
            )
        self.num_classes = head.out_channels
        self.channels = 1 if self.num_classes == 2 else self.num_classes
        network.head = nn.Identity()
        self.trunk = network  # image -> last feature
        self.segmentation_head = _like(head, self.channels)
        self.distance_head = _like(head, self.channels)

    def logits_and_distance(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Both outputs.

        Args:
            image: (B, 1, *spatial), of a size that the trunk takes.
        Returns:
            Logits (B, C, *spatial), for two classes (0, z) so that softmax is sigmoid(z), and
            signed distance float32 (B, K, *spatial), -1 to 1, K = 1 for two classes, else C.
        """
        feature = self.trunk(image)  # (B, width, *spatial)
        logits = self._logits(feature)
        # DTC multiplies the distance by 1500: this head stays out of autocast.
        with torch.autocast(feature.device.type, enabled=False):
            distance = self.distance_head(at_least_float32(feature)).tanh()  # (B, K, *spatial)
        return logits, distance

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image, (B, C, *spatial)."""
        return self._logits(self.trunk(image))

    def _logits(self, feature: Tensor) -> Tensor:
        logits = self.segmentation_head(feature)
        return torch.cat([torch.zeros_like(logits), logits], 1) if self.channels == 1 else logits


def _like(head: nn.Conv2d | nn.Conv3d, channels: int) -> nn.Module:
    """A new convolution of the head's kind."""
    return type(head)(head.in_channels, channels, head.kernel_size, padding=head.padding)
