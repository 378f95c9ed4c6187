"""What the networks with more heads or decoders ask of the network they stand on."""

from __future__ import annotations

from torch import nn


def require_parts(owner: nn.Module, trunk: nn.Module, *parts: str) -> None:
    """Make sure that a network has the parts that another one builds on.

    Args:
        owner: The network that builds on it, for the message.
        trunk: The network that is built on.
        parts: Names of attributes that the trunk must have.
    Raises:
        TypeError: a part is missing; owner, parts and trunk are named.

    >>> require_parts(nn.Identity(), nn.Linear(1, 1), "encode", "decode")
    Traceback (most recent call last):
    TypeError: Identity needs a network with encode and decode, such as UNet or VNet, got Linear
    """
    if any(not hasattr(trunk, part) for part in parts):
        *first, last = parts
        raise TypeError(
            f"{type(owner).__name__} needs a network with {', '.join(first)} and {last}, such as "
            f"UNet or VNet, got {type(trunk).__name__}"
        )
