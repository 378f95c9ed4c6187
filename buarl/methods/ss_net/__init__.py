"""SS-Net: the method, its heads, adversarial perturbation, and the memory of prototypes."""

from buarl.methods.ss_net.method import SsNet

__all__ = ["SsNet"]
