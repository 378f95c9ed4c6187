"""A network that predicts at four scales of its decoder (URPC; docs/protocol.md 3.1 and 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from buarl.networks.trunk import require_parts
from buarl.whole_batch import drawn_once


class MultiScale(nn.Module):
    """A trunk with an auxiliary head on each coarser level of its decoder.

    An auxiliary head is a convolution like the trunk's own head. The U-Net of SSL4MIS carries a
    fourth one, on the deepest feature, that nothing uses: it is dropped here. The V-Net with heads
    is our own (the 3-D reference is another U-Net).

    Args:
        trunk: A network with `encode`, `decode` and `head`, such as UNet or VNet; with 4 classes
            (2-D) 1,821,840 parameters at width 16, with 2 classes (3-D) 9,449,320.
        perturb: Disturb the features of the auxiliary heads in train mode, by dropout at 1/8,
            `feature_dropout` at 1/4 and `feature_noise` at 1/2 of the size. None: in 2-D, as in
            SSL4MIS, and not in 3-D, where the V-Net has dropout of its own.
    Raises:
        TypeError: a trunk without these parts.

    >>> from buarl.networks import UNet
    >>> [tuple(logits.shape) for logits in MultiScale(UNet(4, 2)).scales(torch.zeros(1, 1, 32, 32))]
    [(1, 4, 32, 32), (1, 4, 32, 32), (1, 4, 32, 32), (1, 4, 32, 32)]
    """

    def __init__(self, trunk: nn.Module, perturb: bool | None = None) -> None:
        super().__init__()
        require_parts(self, trunk, "encode", "decode", "head")
        head = trunk.head
        self.trunk = trunk
        self.heads = nn.ModuleList(  # from coarse to fine, as `decode` yields the features
            type(head)(
                head.in_channels * 2**level,
                head.out_channels,
                head.kernel_size,
                padding=head.padding,
            )
            for level in (3, 2, 1)
        )
        flat = isinstance(head, nn.Conv2d)
        self.perturb = flat if perturb is None else perturb
        self.resize = "nearest" if flat else "trilinear"

    def scales(self, image: Tensor) -> list[Tensor]:
        """Logits of the trunk, then of the heads at 1/2, 1/4 and 1/8 of the size.

        Args:
            image: (B, 1, *spatial).
        Returns:
            Four predictions, all brought to (B, C, *spatial).
        """
        *coarse, finest = self.trunk.decode(self.trunk.encode(image))
        if self.training and self.perturb:
            coarse = [
                disturb(feature) for disturb, feature in zip(PERTURBATIONS, coarse, strict=True)
            ]
        auxiliary = [
            F.interpolate(head(feature), size=image.shape[2:], mode=self.resize)
            for head, feature in zip(self.heads, coarse, strict=True)
        ]
        return [self.trunk.head(finest), *reversed(auxiliary)]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the trunk, (B, C, *spatial): what is evaluated."""
        return self.trunk(image)


def feature_dropout(feature: Tensor) -> Tensor:
    """Silence the most active positions, without making up for them.

    A position goes if its mean over channels reaches a share of the image's largest; one share for
    the batch, uniform in 0.7-0.9.

    Args:
        feature: (B, C, *spatial).

    >>> feature_dropout(torch.tensor([[[0.1, 0.6, 1.0]]]))
    tensor([[[0.1000, 0.6000, 0.0000]]])
    """
    activity = feature.detach().mean(1, keepdim=True)  # (B, 1, *spatial)
    share = 0.7 + 0.2 * drawn_once(torch.rand((), device=feature.device))
    spatial = tuple(range(2, feature.ndim))
    return feature * (activity < share * activity.amax(spatial, keepdim=True))


def feature_noise(feature: Tensor) -> Tensor:
    """Scale every entry by 1 + U(-0.3, 0.3), with one draw of all of them for the batch.

    Args:
        feature: (B, C, *spatial).

    >>> feature_noise(torch.zeros(1, 2, 3)).abs().sum()
    tensor(0.)
    """
    return feature * (1 + drawn_once(torch.empty_like(feature[0]).uniform_(-0.3, 0.3)))


PERTURBATIONS = (F.dropout, feature_dropout, feature_noise)  # at 1/8, 1/4 and 1/2; dropout 0.5
