"""MC-Net: the method, its decoders, and their mutual consistency."""

from buarl.methods.mc_net.method import McNet

__all__ = ["McNet"]
