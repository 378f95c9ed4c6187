"""SASSNet: the method, and its discriminator."""

from buarl.methods.sassnet.method import SassNet

__all__ = ["SassNet"]
