"""Checks of what a function was given: one sentence that names the argument, the rule, the value.

Types and shapes are always checked. Values are looked at on the CPU only: on a GPU the host would
have to wait for them, in every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["real", "integer", "bool", "any"]

WORDS = {
    "real": "real numbers in floating point",
    "integer": "integers",
    "bool": "True and False, torch.bool",
}


def check_tensor(name: str, value: object, kind: Kind = "real") -> None:
    """Refuse what is no tensor, or one of another kind of numbers.

    Args:
        name: What the caller calls the argument.
        value: What was given.
        kind: "real" (any floating-point precision), "integer" (bool counts as 0 and 1), "bool" or
            "any".
    Raises:
        TypeError: no tensor, or a tensor of another kind.

    >>> check_tensor("target", torch.zeros(2), "integer")
    Traceback (most recent call last):
    TypeError: target must hold integers, got torch.float32
    """
    if not isinstance(value, Tensor):
        given = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
        hint = f"; torch.as_tensor({name}) makes one" if given.startswith("numpy") else ""
        raise TypeError(f"{name} must be a torch tensor, got {given}{hint}")
    fits = {
        "real": value.is_floating_point(),
        "integer": not value.is_floating_point() and not value.is_complex(),
        "bool": value.dtype == torch.bool,
        "any": True,
    }
    if not fits[kind]:
        raise TypeError(f"{name} must hold {WORDS[kind]}, got {value.dtype}")


def check_shape(name: str, value: Tensor, wanted: Sequence[int], fit: str) -> None:
    """Refuse a tensor of another shape.

    Args:
        name: What the caller calls the argument.
        value: What was given.
        wanted: The shape it must have.
        fit: What it must fit with this shape.
    Raises:
        ValueError: another shape.

    >>> check_shape("target", torch.zeros(2, 6), (2, 7), fit="logits")
    Traceback (most recent call last):
    ValueError: target must have shape (2, 7) to fit logits, got (2, 6)
    """
    if tuple(value.shape) != tuple(wanted):
        raise ValueError(
            f"{name} must have shape {tuple(wanted)} to fit {fit}, got {tuple(value.shape)}"
        )


def check_number(name: str, value: object, low: float, high: float = math.inf) -> None:
    """Refuse what is no finite number from `low` to `high`, both included.

    Args:
        name: What the caller calls the argument.
        value: What was given; bool is no number here.
        low: The smallest allowed value.
        high: The largest; infinity where there is none.
    Raises:
        TypeError: no number.
        ValueError: outside the range, infinite or NaN.

    >>> check_number("ema_decay", 1.5, 0, 1)
    Traceback (most recent call last):
    ValueError: ema_decay must lie in 0-1, got 1.5
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    if low <= value <= high and value < math.inf:
        return
    rule = f"lie in {low:g}-{high:g}" if high < math.inf else f"be >= {low:g}"
    raise ValueError(
        f"{name} must {'be finite' if value == high == math.inf else rule}, got {value}"
    )


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of a few words.

    Args:
        name: What the caller calls the argument.
        value: What was given.
        choices: What it may be.
    Raises:
        ValueError: none of them.

    >>> check_choice("scope", "volume", ("batch", "image"))
    Traceback (most recent call last):
    ValueError: scope must be "batch" or "image", got 'volume'
    """
    if value not in choices:
        allowed = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def may_look(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be checked without making a GPU wait.

    >>> may_look(torch.zeros(3)), may_look(torch.zeros(0))
    (True, False)
    """
    return tensor.device.type == "cpu" and tensor.numel() > 0
