"""Every option of every method is checked here, once, against the type it is annotated with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from inspect import get_annotations
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


@dataclass(frozen=True)
class Range:
    """The numbers from low to high, both included.

    >>> 0.5 in Range(0, 1), 1 in Range(0, 1), -1 in Range(0)
    (True, True, False)
    """

    low: float
    high: float = math.inf

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    def __str__(self) -> str:
        least = f"of at least {self.low}"
        return least if math.isinf(self.high) else f"from {self.low} to {self.high}"


@dataclass(frozen=True)
class Above:
    """The numbers above low, which is not one of them.

    >>> 0 in Above(0), 0.1 in Above(0)
    (False, True)
    """

    low: float

    def __contains__(self, number: float) -> bool:
        return number > self.low

    def __str__(self) -> str:
        return f"above {self.low}"


Share = Annotated[float, Range(0, 1)]
"""A part of a whole."""
Weight = Annotated[float, Range(0)]
"""A factor that cannot turn a loss around."""
Positive = Annotated[float, Above(0)]
"""A number above 0."""
Count = Annotated[int, Range(1)]
"""How many of something there are."""


def check_options(owner: Any, name: str) -> None:
    """Compare the fields of a dataclass with their annotations.

    Understood are bool, int, float (an int will do, NaN and infinity will not), `Literal`,
    `X | None` and other unions, `Callable`, classes, and `Annotated` with a `Range` or `Above`.
    A bool is no number.

    Args:
        owner: The object whose fields are checked.
        name: What the object is called in the message.
    Raises:
        ValueError: the first option that does not fit; it is named with its rule and its value.
        TypeError: an annotation that names something its module does not know.

    >>> @dataclass
    ... class Noise:
    ...     std: Annotated[float, Range(0)] = 0.1
    >>> check_options(Noise(2), "noise")
    >>> check_options(Noise(-1), "noise")
    Traceback (most recent call last):
    ...
    ValueError: noise.std must be a number of at least 0, got -1
    """
    for option, kind in _annotations(type(owner)).items():
        value = getattr(owner, option)
        if not fits(value, kind):
            raise ValueError(f"{name}.{option} must be {described(kind)}, got {value!r}")


def check_unused(owner: Any, name: str, unused: Sequence[str]) -> None:
    """Refuse values for fields that are never looked at: they would be recorded and change nothing.

    Args:
        owner: The dataclass object whose fields are checked.
        name: What the object is called in the message.
        unused: Fields that must keep their default.
    Raises:
        ValueError: the first such field with another value; both are named.
        TypeError: an unused field that the dataclass does not have.

    >>> @dataclass
    ... class Noise:
    ...     std: float = 0.1
    ...     seed: int = 0
    >>> check_unused(Noise(std=2), "noise", ["seed"])
    >>> check_unused(Noise(seed=1), "noise", ["seed"])
    Traceback (most recent call last):
    ...
    ValueError: noise does not use seed, so it must stay 0, got 1
    """
    defaults = {field.name: field.default for field in fields(owner)}
    for option in unused:
        if option not in defaults:
            raise TypeError(f"{name}.unused must name its options {list(defaults)}, got {option!r}")
        default, value = defaults[option], getattr(owner, option)
        if value != default:
            raise ValueError(
                f"{name} does not use {option}, so it must stay {_called(default)}, "
                f"got {_called(value)}"
            )


def _called(value: Any) -> str:
    """A rule by its name, as it stands in rows and on the command line; anything else as it is."""
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else f"{value!r:.200}"


@cache
def _annotations(owner: type) -> dict[str, Any]:
    """The type of every field of a dataclass, those of its base classes included."""
    kinds: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if is_dataclass(base) and "__dataclass_fields__" in vars(base):
            try:
                kinds |= get_annotations(base, eval_str=True)
            except NameError as error:
                raise TypeError(
                    f"the annotations of {base.__name__} must be names of its module: {error}"
                ) from error
    return {field.name: kinds[field.name] for field in fields(owner)}


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the annotated kind; a kind that is not understood takes everything.

    >>> fits(1, float), fits(True, int), fits(2.0, Share)
    (True, False, False)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return fits(value, parts[0]) and all(
            value in limit for limit in parts[1:] if isinstance(limit, Range | Above)
        )
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in parts)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if kind is None or kind is NoneType:
        return value is None
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if kind is Callable or origin is Callable:
        return callable(value)
    kind = origin or kind
    return isinstance(value, kind) if isinstance(kind, type) else True


def described(kind: Any) -> str:
    """The kind in words, as they stand after "must be".

    >>> described(Share)
    'a number from 0 to 1'
    >>> described(Literal["mse", "pseudo_label"])
    '"mse" or "pseudo_label"'
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = [str(limit) for limit in parts[1:] if isinstance(limit, Range | Above)]
        return " ".join([described(parts[0]), *limits])
    if origin is Literal:
        choices = [f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in parts]
        return " or ".join(choices)
    if origin in (Union, UnionType):
        return " or ".join(described(part) for part in parts)
    if kind is None or kind is NoneType:
        return "None"
    if kind is Callable or origin is Callable:
        return "a function or another callable"
    words = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    if kind in words:
        return words[kind]
    name = getattr(origin or kind, "__name__", str(kind))
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
