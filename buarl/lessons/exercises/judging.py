"""What judges share: comparing numbers and arrays, and saying how an answer is off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def off(
    answer: Any,
    right: Any,
    *,
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float = 1e-4,
    what: str = "the answer",
) -> str | None:
    """Say how a number or an array is off, or None if it is close enough.

    Args:
        answer: What the reader gave: a number, an array or a tensor.
        right: What it should be.
        mistakes: Typical wrong values, each under the sentence that tells the reader what happened.
        tolerance: Largest relative difference, and absolute near 0.
        what: What the answer is called in the sentence.
    Returns:
        One sentence that never gives the right value away, or None.

    >>> off(0.5, 0.5) is None
    True
    >>> off(2.0, 0.5, mistakes={"that is the inverse.": 2.0})
    'that is the inverse.'
    >>> off(0.7, 0.5)
    'the answer is not 0.7.'
    >>> off([1.0, 2.0], [1.0, 2.0, 3.0])
    'the answer has shape (2,), not (3,).'
    """
    given = _array(answer)
    if given is None:
        return f"{what} should be a number or an array, not {type(answer).__name__}."
    if _close(given, right, tolerance):
        return None
    for sentence, mistake in (mistakes or {}).items():
        if _close(given, mistake, tolerance):
            return sentence
    wanted = _array(right)
    if given.shape != wanted.shape:
        return f"{what} has shape {given.shape}, not {wanted.shape}."
    if given.ndim == 0:
        return f"{what} is not {given.item():g}."
    apart = ~np.isclose(given, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    return f"{what} differs in {apart.sum()} of {apart.size} values."


def _array(value: Any) -> np.ndarray | None:
    """A float64 array, or None of what is not numbers."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
        return None if array.dtype.kind not in "biuf" else array.astype(np.float64)
    except (TypeError, ValueError):
        return None


def _close(given: np.ndarray, right: Any, tolerance: float) -> bool:
    wanted = _array(right)
    return given.shape == wanted.shape and np.allclose(
        given, wanted, rtol=tolerance, atol=tolerance, equal_nan=True
    )
