"""The network of a row: the paper's U-Net or V-Net, or any other of the right shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

import torch
from torch import nn

from buarl.networks import UNet, VNet
from buarl.outside import Code, find_code

ALIASES = {
    "num_classes": ("num_classes", "out_channels", "n_classes", "classes"),
    "in_channels": ("in_channels", "n_channels"),
    "rank": ("spatial_dims", "rank", "dims"),
    "width": ("width",),
}
"""What we tell a network from outside, and how its argument for that may be called."""


def build_network(
    num_classes: int,
    image_size: tuple[int, ...],
    width: int,
    *,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    code: Code = (),
) -> nn.Module:
    """A freshly initialised network, image (B, 1, *spatial) -> logits (B, C, *spatial).

    Args:
        num_classes: C, background included.
        image_size: Training size; its rank decides between U-Net and V-Net.
        width: Channels of the first level.
        name: A network from outside, as a row stores it; None takes the paper's. It is called with
            those of our numbers that it has arguments for, see `ALIASES`.
        options: More arguments of that network; they go before ours.
        code: What may be used from outside, see `buarl.outside`.
    Raises:
        ValueError: a network that `code` does not name, that cannot be built with these arguments,
            or that has other shapes; the message says what was expected and what came.

    >>> network = build_network(4, (32, 32), width=2)
    >>> network(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 4, 32, 32])
    """
    rank = len(image_size)
    if name is None:
        return (UNet if rank == 2 else VNet)(num_classes, width)
    make = find_code(name, code, "network")
    ours = {"num_classes": num_classes, "in_channels": 1, "rank": rank, "width": width}
    network = _called(name, make, ours, dict(options or {}))
    check_network(network, name, num_classes, image_size)
    return network


def check_network(
    network: nn.Module, name: str, num_classes: int, image_size: tuple[int, ...]
) -> None:
    """Send one empty image of the training size through a network and look at what comes out.

    Args:
        network: Its parameters, buffers and mode stay as they are.
        name: For the message. num_classes: C. image_size: Training size.
    Raises:
        ValueError: it fails, or does not map (1, 1, *spatial) to floats (1, C, *spatial).
    """
    given, wanted = (1, 1, *image_size), (1, num_classes, *image_size)
    rule = f"network {name} must map an image {given} to logits {wanted}"
    mode = network.training
    try:
        with torch.random.fork_rng(), torch.no_grad():
            logits = network.eval()(torch.zeros(given))
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{rule}, got {said}") from error
    finally:
        network.train(mode)
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"{rule}, got a {type(logits).__name__}")
    if tuple(logits.shape) != wanted or not logits.is_floating_point():
        raise ValueError(f"{rule}, got {tuple(logits.shape)} of {logits.dtype}")


def _called(
    name: str, make: Callable[..., Any], ours: dict[str, int], options: dict[str, Any]
) -> nn.Module:
    """The network made with those of our numbers that it has arguments for, and the options."""
    parameters = signature(make).parameters
    by_keyword = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    named = {key for key, parameter in parameters.items() if parameter.kind in by_keyword}
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    if not takes_any and (unknown := sorted(set(options) - named)):
        raise ValueError(f"network {name} takes {sorted(named)}, got {unknown}")
    chosen = {
        alias: ours[what]
        for what, aliases in ALIASES.items()
        if (alias := next((a for a in aliases if a in named), None)) is not None
    }
    arguments = {**chosen, **options}
    try:
        network = make(**arguments)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"network {name} cannot be built with {arguments}: {said}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"network {name} must be a torch.nn.Module, got {type(network).__name__}")
    return network
