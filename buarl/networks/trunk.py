"""What the networks with more heads or decoders ask of the network they stand on."""

from __future__ import annotations

from torch import nn


def require_parts(owner: nn.Module, trunk: nn.Module, *parts: str) -> None:
    """Raises TypeError, naming owner, parts and trunk, unless the trunk has all these parts."""
    if any(not hasattr(trunk, part) for part in parts):
        *first, last = parts
        raise TypeError(
            f"{type(owner).__name__} needs a network with {', '.join(first)} and {last}, such as "
            f"UNet or VNet, got {type(trunk).__name__}"
        )
