"""The worst cases of an evaluation as pictures: the slice with most errors, its errors outlined."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from buarl.capsule import Capsule
from buarl.data.resample import resize_nearest
from buarl.evaluation.evaluate import predict_volume
from buarl.figures.inline import slice_picture
from buarl.figures.views import planes
from buarl.outside import Code
from buarl.training.config import config_for
from buarl.training.run import load_run

WORST = 3
ACROSS = 256  # pixels of a slice that are shown, at most


class WorstCase(NamedTuple):
    """A case that scored low: its words, and pictures of the label and of the prediction."""

    case: str
    dice: float
    wrong: float
    place: str
    label: np.ndarray
    prediction: np.ndarray


def worst_cases(run: Capsule, root: Path | None = None, code: Code = ()) -> list[WorstCase]:
    """Predict the cases of lowest Dice once more, and draw the slice with most errors.

    Args:
        run: A finished and evaluated run whose checkpoint and data are there.
        root: Where its data lie, if they have moved.
        code: What the run may use from outside the package, see `load_run`.
    Returns:
        Up to three cases, the worst first; none where the run was not evaluated.
    Raises:
        ValueError: no checkpoint, no data, or code that was not named.
    """
    if not run.metrics:
        return []
    rows = run.metrics.get("val") or next(iter(run.metrics.values()))
    dice = {
        case: float(np.nanmean([row["dice"] for row in rows if row["case"] == case]))
        for case in dict.fromkeys(row["case"] for row in rows)
        if not all(np.isnan(row["dice"]) for row in rows if row["case"] == case)
    }
    row, source, method = load_run(run.folder, root, code)
    config, found = config_for(row, code), []
    for case in sorted(dice, key=dice.get)[:WORST]:
        sample = source.volume(case)
        said = predict_volume(method.student, sample.image, source.rank, config)[0]
        stacks = [planes(array, source.rank) for array in (sample.image, sample.label, said)]
        errors = (stacks[1] != stacks[2]).sum((1, 2))
        z = int(errors.argmax())
        image, label, said = (_shrunk(stack[z]) for stack in stacks)
        pictures = slice_picture(image, label), slice_picture(image, said, said != label)
        wrong = float((stacks[1] != stacks[2])[z].mean())
        place = f"slice {z + 1} of {len(errors)}"
        found.append(WorstCase(case, dice[case], wrong, place, *pictures))
    return found


def _shrunk(array: np.ndarray) -> np.ndarray:
    """A slice of at most 256 pixels either way."""
    share = min(1.0, ACROSS / max(array.shape))
    size = tuple(max(1, round(share * n)) for n in array.shape)
    return array if share == 1 else resize_nearest(array[None], size)[0]
