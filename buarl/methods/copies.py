"""Networks beside the student: a teacher that starts as its copy, or a second student.

The weights of a copy are the student's or are drawn anew; nothing else differs.
"""

from __future__ import annotations

from copy import deepcopy

from torch import nn


def frozen_copy(network: nn.Module) -> nn.Module:
    """A teacher: a copy with the same weights that takes no gradients.

    >>> frozen_copy(nn.Linear(1, 1)).weight.requires_grad
    False
    """
    return deepcopy(network).requires_grad_(False)


def fresh_copy(network: nn.Module) -> nn.Module:
    """A second network of the same kind whose weights are drawn anew, from torch's generator.

    Every layer draws its weights by `reset_parameters`, as those of torch do. A layer that has no
    such function keeps the weights of the copy.

    Args:
        network: Any network, also one of yours; it stays as it is.
    Raises:
        ValueError: not a single weight of the copy differs, so there would be one network twice.

    >>> layer = nn.Linear(4, 1)
    >>> bool((fresh_copy(layer).weight == layer.weight).any())
    False
    """
    copy = deepcopy(network)
    for module in reversed(list(copy.modules())):  # what holds a layer has the last word on it
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    pairs = zip(network.parameters(), copy.parameters(), strict=True)
    if all(old.equal(new) for old, new in pairs):
        raise ValueError(
            "a network must have layers with reset_parameters() that draw their weights anew, "
            f"got {type(network).__name__} without one"
        )
    return copy
