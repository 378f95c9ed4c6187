"""The networks of the paper."""

from buarl.models.discriminator import Discriminator
from buarl.models.multi_decoder import MultiDecoder
from buarl.models.multi_scale import MultiScale
from buarl.models.projector import Projector
from buarl.models.signed_distance_net import SignedDistanceNet
from buarl.models.unet import UNet
from buarl.models.vnet import VNet

__all__ = [
    "Discriminator",
    "MultiDecoder",
    "MultiScale",
    "Projector",
    "SignedDistanceNet",
    "UNet",
    "VNet",
]
