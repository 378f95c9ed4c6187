"""One encoder, several decoders that differ in up-sampling (MC-Net; docs/protocol.md 3.1, 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from buarl.networks.trunk import require_parts


class MultiDecoder(nn.Module):
    """A trunk with further decoders on the features of its encoder.

    Decoder 1 is the trunk's own and is what is evaluated. In 2-D the decoders up-sample bilinearly,
    by transposed, nearest and bicubic steps, in this order; in 3-D by transposed, trilinear and
    nearest ones.

    Args:
        trunk: A network with `encode`, `decode`, `head`, `new_decoder` and `up_samplings`, such as
            UNet or VNet.
        decoders: How many in all. At width 16, 4 classes in 2-D: 2,577,624, 3,210,924 and
            3,844,224 parameters for 2 (MC-Net), 3 (MC-Net+) and 4; 2 classes in 3-D: 12,347,716
            and 15,246,566 for 2 and 3.
    Raises:
        TypeError: a trunk without these parts.
        ValueError: fewer than 2 decoders, or more than the trunk has kinds of up-sampling.

    >>> import torch
    >>> from buarl.networks import VNet
    >>> network = MultiDecoder(VNet(2, width=2), decoders=3)
    >>> [tuple(logits.shape) for logits in network.all_logits(torch.zeros(1, 1, 32, 16, 16))]
    [(1, 2, 32, 16, 16), (1, 2, 32, 16, 16), (1, 2, 32, 16, 16)]
    """

    def __init__(self, trunk: nn.Module, decoders: int = 2) -> None:
        super().__init__()
        require_parts(self, trunk, "encode", "decode", "head", "new_decoder", "up_samplings")
        most = len(trunk.up_samplings)
        if not 2 <= decoders <= most:
            name = type(trunk).__name__
            raise ValueError(f"decoders must lie in 2 to {most} on a {name}, got {decoders}")
        self.trunk = trunk
        self.others = nn.ModuleList(
            trunk.new_decoder(kind) for kind in trunk.up_samplings[1:decoders]
        )

    def all_logits(self, image: Tensor) -> list[Tensor]:
        """Logits of every decoder, decoder 1 first.

        Args:
            image: (B, 1, *spatial).
        Returns:
            One prediction per decoder, each (B, C, *spatial).
        """
        features = self.trunk.encode(image)
        own = self.trunk.head(self.trunk.decode(features)[-1])
        return [own, *(decoder(features) for decoder in self.others)]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of decoder 1, (B, C, *spatial): what is evaluated."""
        return self.trunk(image)
