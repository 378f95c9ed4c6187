"""URPC: the method, its heads at four scales, and the rectified consistency."""

from buarl.methods.urpc.method import Urpc

__all__ = ["Urpc"]
