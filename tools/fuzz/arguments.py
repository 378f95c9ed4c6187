"""Wrong arguments: of another type, shape or kind of numbers, NaN, out of range."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from buarl import copy_paste, rule

from .mutate import NUMBERS, WORDS, hostile


def spoil(value: Any, rng: Random) -> tuple[Any, str, bool]:
    """Another value, what it is in words, and whether it means the same."""
    if isinstance(value, Tensor) and rng.random() < 0.75:
        how = rng.choice(sorted(TENSORS))
        return TENSORS[how](value, rng), how, how in ALIKE
    if isinstance(value, np.ndarray) and rng.random() < 0.6:
        how = rng.choice(sorted(ARRAYS))
        return ARRAYS[how](value, rng), how, how == "not contiguous"
    if isinstance(value, list) and value and isinstance(value[0], tuple) and rng.random() < 0.7:
        return _spoil_regions(list(value), rng)
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.2:
        kind = rng.choice(
            (np.float64, Fraction, np.float32) if isinstance(value, float) else (np.int64, Fraction)
        )
        return kind(value), f"{kind.__name__}({value})", kind is not np.float32
    if isinstance(value, tuple) and not hasattr(value, "_fields") and rng.random() < 0.5:
        changed = list(value)
        changed[rng.randrange(len(changed))] = any_value(rng)
        return (changed if rng.random() < 0.5 else tuple(changed)), f"{_said(changed)}", False
    if isinstance(value, copy_paste.Box) and rng.random() < 0.7:
        part = [list(value.start), list(value.size)]
        part[rng.randrange(2)][rng.randrange(2)] = any_value(rng)
        return copy_paste.Box(*map(tuple, part)), f"Box{_said(part)}", False
    other = any_value(rng)
    return other, _said(other), False


def _said(value: Any) -> str:
    return f"{type(value).__name__} {' '.join(repr(value).split())[:80]}"


def any_value(rng: Random) -> Any:
    """Some object."""
    return rng.choice(
        (
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(WORDS),
            lambda: hostile(rng),
            lambda: rng.choice(
                (
                    None,
                    True,
                    False,
                    b"x",
                    object(),
                    int,
                    Path("x"),
                    ...,
                    1j,
                    Decimal("0.5"),
                    Decimal("NaN"),
                    Fraction(1, 3),
                    10**400,
                    range(3),
                    np.nan,
                    {1, 2},
                )
            ),
            lambda: np.array(
                rng.choice(([], [1.0], [[0, 1]], [np.nan], ["x"], [None], [1j], 0.5, [True]))
            ),
            lambda: rng.choice(
                (
                    torch.tensor(0.5),
                    torch.zeros(0),
                    torch.ones(2, 3),
                    torch.tensor([1, 2]),
                    torch.tensor(True),
                    torch.tensor(float("nan")),
                    torch.zeros(2, 3, 0, 4),
                )
            ),
            lambda: rng.choice(
                (np.float64("nan"), np.float32(0.5), np.int64(-3), np.bool_(True), np.str_("batch"))
            ),
        )
    )()


def _spoil_regions(regions: list, rng: Random) -> tuple[Any, str, bool]:
    at, how = (
        rng.randrange(len(regions)),
        rng.choice(("mask", "weight", "twice", "gone", "none", "pair", "all off")),
    )
    mask, weight = regions[at]
    if how == "mask":
        kind = rng.choice(sorted(TENSORS))
        mask, how = TENSORS[kind](mask, rng), f"mask {kind}"
    elif how == "weight":
        weight, said, _ = spoil(weight, rng)
        how = f"weight {said}"
    elif how in ("twice", "gone", "none"):
        return {"twice": regions * 2, "gone": regions[:1], "none": []}[how], f"regions {how}", False
    elif how == "pair":
        return (
            rng.choice((regions[0], tuple(regions), iter(regions), [(mask, weight, 1)], [mask])),
            "no list of regions",
            False,
        )
    else:
        return (
            [rule.Region(torch.zeros_like(m), w) for m, w in regions],
            "regions without voxels",
            False,
        )
    regions[at] = rule.Region(mask, weight)
    return regions, how, False


def _poked(tensor: Tensor, rng: Random, value: float) -> Tensor:
    spoiled = tensor.clone()
    if spoiled.numel():
        spoiled.view(-1)[rng.randrange(spoiled.numel())] = (
            value
            if spoiled.is_floating_point()
            else max(-9, min(int(value), 9))
            if math.isfinite(value)
            else -1
        )
    return spoiled


TENSORS: dict[str, Callable[[Tensor, Random], Any]] = {
    "not contiguous": lambda t, r: (
        t.transpose(0, -1).contiguous().transpose(0, -1) if t.ndim else t
    ),
    "a copy": lambda t, r: t.clone(),
    "with gradient": lambda t, r: (
        t.clone().requires_grad_() if t.is_floating_point() else t.clone()
    ),
    **{
        str(kind): (lambda t, r, kind=kind: t.to(kind))
        for kind in (
            torch.float64,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.uint8,
            torch.bool,
            torch.complex64,
            torch.int8,
            torch.uint16,
            torch.float8_e4m3fn,
        )
    },
    "NaN": lambda t, r: _poked(t, r, math.nan),
    "inf": lambda t, r: _poked(t, r, math.inf),
    "-inf": lambda t, r: _poked(t, r, -math.inf),
    "-1": lambda t, r: _poked(t, r, -1),
    "1e30": lambda t, r: _poked(t, r, 1e30),
    "all NaN": lambda t, r: (
        torch.full_like(t, math.nan)
        if t.is_floating_point()
        else t - 1
        if t.dtype != torch.bool
        else ~t
    ),
    "zeros": lambda t, r: torch.zeros_like(t),
    "empty": lambda t, r: t[:0] if t.ndim else torch.zeros(0),
    "empty at the end": lambda t, r: t[..., :0] if t.ndim else torch.zeros(0),
    "no class": lambda t, r: t[:, :0] if t.ndim > 1 else t[:0],
    "one class": lambda t, r: t[:, :1] if t.ndim > 1 else t,
    "an axis more": lambda t, r: t[None],
    "an axis less": lambda t, r: t[0] if t.ndim else t,
    "scalar": lambda t, r: t.reshape(-1)[0],
    "flat": lambda t, r: t.reshape(-1),
    "longer": lambda t, r: torch.cat([t, t]),
    "swapped": lambda t, r: t.transpose(0, -1) if t.ndim else t,
    "sparse": lambda t, r: t.to_sparse(),
    "numpy": lambda t, r: t.detach().numpy(),
    "list": lambda t, r: t.tolist(),
    "None": lambda t, r: None,
    "negated": lambda t, r: -t if t.dtype not in (torch.bool,) else ~t,
    "times 1000": lambda t, r: t * 1000,
    "parameter": lambda t, r: nn.Parameter(t) if t.is_floating_point() else t,
}
ALIKE = ("not contiguous", "a copy")
ARRAYS: dict[str, Callable[[np.ndarray, Random], Any]] = {
    "not contiguous": lambda a, r: np.asfortranarray(a),
    **{
        kind: (lambda a, r, kind=kind: a.astype(kind))
        for kind in ("f4", "f8", "u1", "i8", "c8", "O", "U3", "S3", "f2")
    },
    "NaN": lambda a, r: np.where(a, np.nan, 0),
    "2": lambda a, r: a * 2,
    "-1": lambda a, r: a * -1.0,
    "empty": lambda a, r: a[:0],
    "an axis more": lambda a, r: a[None],
    "two axes more": lambda a, r: a[None, None],
    "flat": lambda a, r: a.ravel(),
    "zeros": lambda a, r: np.zeros_like(a),
    "tensor": lambda a, r: torch.from_numpy(a.copy()),
    "list": lambda a, r: a.tolist(),
    "date": lambda a, r: a.astype("i8").astype("M8[s]"),
    "swapped": lambda a, r: a.T,
    "record": lambda a, r: np.zeros(a.shape, [("a", "f4")]),
    "0.5": lambda a, r: a * 0.5,
    "masked": lambda a, r: np.ma.masked_array(a, mask=a > 0),
    "meta tensor": lambda a, r: torch.from_numpy(a.copy()).to("meta"),
    "with gradient": lambda a, r: torch.from_numpy(a.astype("f4")).requires_grad_(),
}
