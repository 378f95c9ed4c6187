"""The networks of the paper; heads that only one method needs lie in that method's folder."""

from buarl.networks.unet import UNet
from buarl.networks.vnet import VNet

__all__ = ["UNet", "VNet"]
