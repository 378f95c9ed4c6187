"""Checks of what a function was given: one sentence that names the argument, the rule, the value.

Types and shapes are always checked. Values are looked at on the CPU only: on a GPU the host would
have to wait for them, in every step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal

import torch
from torch import Tensor

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
NOT_SET = "not set"
MOST = 2**62  # whole numbers beyond fit into no tensor
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
    if value.is_floating_point() and value.element_size() < 2:
        raise TypeError(f"{name} must have 16 bits a number or more, got {value.dtype}")
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got one of layout {value.layout}")


def check_axes(
    name: str,
    value: Tensor,
    shape: str = "(B, C, *spatial)",
    least: int = 2,
    most: float = math.inf,
) -> None:
    """Refuse a tensor with too few axes or too many, or with no class.

    Args:
        name: What the caller calls the argument.
        value: What was given.
        shape: The shape it must have, in words.
        least: How many axes that is at least; the second, if there is one, may not be empty.
        most: And at most.
    Raises:
        ValueError: another number of axes, or an empty second one.

    >>> check_axes("probs", torch.zeros(4))
    Traceback (most recent call last):
    ValueError: probs must have shape (B, C, *spatial), got (4,)
    """
    if not least <= value.ndim <= most or (least > 1 and value.shape[1] == 0):
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


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


def check_classes(name: str, value: Tensor, num_classes: int) -> None:
    """Refuse classes out of range, which torch calls "index out of bounds"; not on a GPU.

    Args:
        name: What the caller calls the argument.
        value: Classes, integer.
        num_classes: C; classes are 0 to C-1.
    Raises:
        ValueError: a class below 0 or above.

    >>> check_classes("target", torch.tensor([0, 4]), 4)
    Traceback (most recent call last):
    ValueError: target must lie in 0 to 3, got 0 to 4
    """
    if may_look(value):
        known = (
            value.long() if value.dtype in UNSIGNED else value
        )  # torch has few kernels for those
        low, high = (int(bound) for bound in known.aminmax())
        if low < 0 or high >= num_classes:
            raise ValueError(f"{name} must lie in 0 to {num_classes - 1}, got {low} to {high}")


def check_number(name: str, value: object, low: float, high: float = math.inf) -> int | float:
    """Refuse what is no finite number from `low` to `high`, both included.

    Args:
        name: What the caller calls the argument.
        value: What was given; bool is no number here.
        low: The smallest allowed value.
        high: The largest; infinity where there is none.
    Returns:
        The number as Python's own int or float, whatever kind of number was given.
    Raises:
        TypeError: no number.
        ValueError: outside the range, infinite or NaN.

    >>> import numpy as np
    >>> check_number("ema_decay", np.float64(0.5), 0, 1)
    0.5
    >>> check_number("ema_decay", 1.5, 0, 1)
    Traceback (most recent call last):
    ValueError: ema_decay must lie in 0-1, got 1.5
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {short(value)}")
    if low <= value <= high and value < math.inf:
        return _plain(name, value)
    rule = f"lie in {low:g}-{high:g}" if high < math.inf else f"be >= {low:g}"
    raise ValueError(
        f"{name} must {'be finite' if value == high == math.inf else rule}, got {value!s:.80}"
    )


def plain_number(value: float) -> float:
    """A whole number as an int: 95 and 95.0 are one in a row, and must be one in its text.

    >>> plain_number(95.0), plain_number(97.5)
    (95, 97.5)
    """
    return int(value) if float(value).is_integer() else value


def check_count(name: str, value: object, low: int, high: int = MOST) -> int:
    """Refuse what is no whole number from `low` to `high`, both included.

    Args:
        name: What the caller calls the argument.
        value: What was given; bool is no number here.
        low: The smallest allowed value.
        high: The largest.
    Returns:
        The number as Python's own int.
    Raises:
        TypeError: no whole number.
        ValueError: outside the range.

    >>> check_count("size", 2.5, 1)
    Traceback (most recent call last):
    TypeError: size must be a whole number, got float 2.5
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {type(value).__name__} {short(value)}")
    number = int(check_number(name, value, low, math.inf if high == MOST else high))
    if number > MOST:
        raise ValueError(f"{name} must be at most {MOST}, got {short(value)}")
    return number


def _plain(name: str, value: Real) -> int | float:
    try:
        number = float(value)
        return int(value) if isinstance(value, Integral) else number
    except OverflowError:
        raise ValueError(f"{name} must fit into a float, got {short(value)}") from None


def short(value: object) -> str:
    """What was given, in one line of at most 80 signs.

    >>> short("x" * 1000).endswith("...")
    True
    """
    said = " ".join(repr(value).split())
    return said if len(said) <= 80 else f"{said[:77]}..."


def where_different(name: str, then: Any, now: Any) -> tuple[str, Any, Any]:
    """The one entry in which two nested values differ first, instead of both values whole.

    Of a key that one of them lacks, the other's value stands beside "not set".

    Args:
        name: What the values are called.
        then: Plain types, as JSON holds them; differs from `now`.
        now: The same of today.
    Returns:
        The name with the keys that lead there, and the two values.

    >>> where_different("rule", {"name": "url", "percentile": 95}, {"name": "url", "percentile": 9})
    ('rule.percentile', 95, 9)
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            was, is_now = then.get(key, NOT_SET), now.get(key, NOT_SET)
            if was != is_now:
                return where_different(f"{name}.{key}", was, is_now)
    return name, then, now


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """How many of something there are, in words that agree.

    Args:
        number: How many.
        noun: What one of them is called.
        plural: What several are called, where an s is not enough.

    >>> counted(1, "volume"), counted(0, "volume"), counted(2, "class", "classes")
    ('1 volume', '0 volumes', '2 classes')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


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
    if not isinstance(value, str) or value not in choices:
        allowed = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {allowed}, got {short(value)}")


def widest_float(device: torch.device) -> torch.dtype:
    """The floats with the most digits that a device can compute with: float64, on Apple's float32.

    >>> widest_float(torch.device("cpu")), widest_float(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64


def at_least_float32(tensor: Tensor) -> Tensor:
    """The precision in which losses and entropies are computed: float32, and float64 where given.

    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def may_look(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be checked without making a GPU wait.

    >>> may_look(torch.zeros(3)), may_look(torch.zeros(0))
    (True, False)
    """
    return tensor.device.type == "cpu" and tensor.numel() > 0
