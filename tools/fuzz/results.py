"""What a result must be where a call with odd arguments returns one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import buarl

Arguments = dict[str, Any]


def finite(*values: Any) -> bool:
    parts = [v for v in values if isinstance(v, Tensor)]
    for value in values:
        if isinstance(value, list | tuple):
            parts += [
                v
                for item in value
                for v in (item if isinstance(item, tuple) else (item,))
                if isinstance(v, Tensor)
            ]
    return all(
        bool(p.double().isfinite().all()) for p in parts if not p.is_meta and not p.is_complex()
    )


def is_loss(result: Any, given: Arguments) -> str | None:
    if (
        not isinstance(result, Tensor)
        or result.ndim
        or result.dtype not in (torch.float32, torch.float64)
    ):
        return f"no scalar: {result!r}"[:200]
    huge = any(
        isinstance(v, Tensor) and v.numel() and not v.is_meta and v.double().abs().max() > 1e15
        for v in given.values()
    )
    if not result.is_meta and finite(*given.values()) and not huge and not result.isfinite():
        return f"not finite: {result}"
    loss = "values" not in given and not result.is_meta  # those may be of any sign
    return "below 0" if loss and result < -1e-5 else None


def is_map(top: float) -> Callable[[Any, Arguments], str | None]:
    def broken(result: Any, given: Arguments) -> str | None:
        first = next(iter(given.values()))
        double = isinstance(first, Tensor) and first.dtype == torch.float64  # stays what it is
        if not isinstance(result, Tensor) or result.dtype != (
            torch.float64 if double else torch.float32
        ):
            return f"no float32 map: {result!r}"[:200]
        if result.shape != (*first.shape[:1], *first.shape[2:]):
            return f"shape {tuple(result.shape)} of {tuple(first.shape)}"
        if not result.is_meta and finite(first) and not result.isfinite().all():
            return "not finite"
        return None

    return broken


def is_mask(result: Any, given: Arguments) -> str | None:
    shape = given["entropy"].shape
    return None if result.dtype == torch.bool and result.shape == shape else f"{result!r}"[:200]


def is_share(result: Any, given: Arguments) -> str | None:
    good = isinstance(result, int | float) and not isinstance(result, bool) and 0 <= result <= 1
    return None if good else f"{result!r}"


def is_scores(result: Any, given: Arguments) -> str | None:
    for scores in result if isinstance(result, list) else [result]:
        for key in ("dice", "jaccard", "hd95", "asd"):
            value, top = scores[key], 1 if key in ("dice", "jaccard") else math.inf
            if (
                type(value) is not float
                or not (math.isnan(value) or 0 <= value <= top)
                or value == math.inf
            ):
                return f"{key} = {value!r}"
    return None


def are_regions(result: Any, given: Arguments) -> str | None:
    for mask, weight in result:
        if mask.dtype != torch.bool:
            return f"mask of {mask.dtype}"
        if isinstance(weight, Tensor):
            if (
                not weight.is_meta
                and finite(*given.values())
                and not bool((weight.isfinite() & (weight >= 0)).all())
            ):
                return "a map that is not finite and >= 0"
        elif isinstance(weight, bool) or not 0 <= weight < math.inf:
            return f"weight {weight!r}"
    return None


def ruled(result: Any, given: Arguments) -> str | None:
    """A rule that was accepted must work, and come back from its dict."""
    probs = torch.tensor([[[0.7, 0.2, 0.5], [0.3, 0.8, 0.5]]])
    broken = are_regions(result(probs), {})
    if broken:
        return broken
    again = buarl.rule_from_dict(result.as_dict())
    return None if again == result else f"{again} is not {result}"


def box_fits(result: Any, given: Arguments) -> str | None:
    inside = all(a >= 0 and a + s <= n for n, a, s in zip(given["spatial"], *result, strict=True))
    return (
        None if inside and all(type(n) is int for part in result for n in part) else f"{result!r}"
    )


def weighed(result: Any, given: Arguments) -> str | None:
    return (
        None
        if result.is_meta or bool((result.isfinite() & (result >= 0)).all())
        else f"{result}"[:200]
    )
