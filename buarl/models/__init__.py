"""The networks of the paper."""

from buarl.models.unet import UNet
from buarl.models.vnet import VNet

__all__ = ["UNet", "VNet"]
