"""Judges of lesson 13, shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off
from buarl.methods.signed_distance.maps import signed_distance


@exercise(
    "13.1",
    hint="each side over its own maximum, outside minus inside, then 0 where inside is 1.",
    praise="That is what DTC and SASSNet regress.",
)
def signed(answer: Callable[..., Any]) -> str | None:
    """The signed distance map of one mask."""
    from scipy.ndimage import distance_transform_edt  # half a second, needed here only

    row, column = np.mgrid[:20, :24]
    mask = (row - 9) ** 2 + (column - 11) ** 2 < 40
    right = signed_distance(torch.from_numpy(mask)[None].long(), 2)[0, 1].numpy()
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    scaled = outside / outside.max() - inside / inside.max()
    mistakes = {
        "the sign is turned round: inside is below 0.": -right,
        "the inner boundary, where the distance inside is 1, should be 0.": scaled,
        "that is in pixels; divide each side by its own maximum.": np.where(
            inside == 1, 0, outside - inside
        ),
        "that has no sign: inside and outside look alike.": abs(right),
        "that divides both sides by the same maximum.": np.where(
            inside == 1, 0, (outside - inside) / max(outside.max(), inside.max())
        ),
    }
    return off(answer(mask.copy()), right, mistakes=mistakes, what="the map")


@exercise(
    "13.2",
    hint="solve 1 / (1 + exp(k / 40)) = 0.1 for k.",
    praise="At 1500 the same pixel gets a probability of 5e-17, and no gradient.",
)
def steepness(answer: Any) -> str | None:
    """The steepness that turns a distance of 1/40 into p = 0.1."""
    right = 40 * math.log(9)
    mistakes = {
        "outside is positive, so p falls below one half for a positive k.": -right,
        "that forgets the 1 in the sigmoid's denominator: the odds are 9, not 10.": 40
        * math.log(10),
        "that takes z = 40; the distance is 1/40.": math.log(9) / 40,
        "that takes the logarithm to base 10.": 40 * math.log10(9),
    }
    return off(answer, right, mistakes=mistakes, tolerance=0.01, what="the steepness")


@exercise(
    "13.3",
    hint="scores.topk(...) gives the places of the largest, but only as many as there are.",
    praise="The public code keeps those of lowest score.",
)
def remembered(answer: Callable[..., Any]) -> str | None:
    """The candidates of highest score."""
    random = torch.Generator().manual_seed(0)
    vectors, scores = torch.randn(30, 4, generator=random), torch.rand(30, generator=random)
    order = scores.argsort(descending=True)
    right, lowest = (vectors[places].numpy() for places in (order[:8], order[-8:]))
    given = answer(vectors.clone(), scores.clone(), 8)
    mistakes = {
        "those are the candidates of lowest score, as the public code has it.": _sorted(lowest),
        "those are the first candidates, whatever their score.": _sorted(vectors[:8].numpy()),
    }
    if wrong := off(_sorted(given), _sorted(right), mistakes=mistakes, what="the memory"):
        return wrong
    few = answer(vectors[:3].clone(), scores[:3].clone(), 8)
    if wrong := off(_sorted(few), _sorted(vectors[:3].numpy()), what="the memory of 3"):
        return f"with 3 candidates and size 8 all three should stay: {wrong}"
    return None


def _sorted(rows: Any) -> Any:
    """Rows in a fixed order, as a memory has none; what is not a table stays as it is."""
    array = rows.detach().numpy() if isinstance(rows, torch.Tensor) else rows
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        return rows
    return array[np.lexsort(array.T[::-1])]
