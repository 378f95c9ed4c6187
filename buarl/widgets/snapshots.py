"""Both halves of a batch at several moments of a training, as the scrubber shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from buarl.data.source import Source
from buarl.lessons.moments import STAGES, few_slices, lesson_moments, predict_sides
from buarl.lessons.rows import lesson_row
from buarl.outside import Code
from buarl.training.checkpoint import load_state
from buarl.training.config import config_for
from buarl.training.run import CHECKPOINT, load_run, stage_checkpoint
from buarl.widgets.scrub_pack import Side


def sides_of_lesson(name: str, source: Source, *, progress: bool = False) -> list[Side]:
    """Show both halves of a batch at several moments of a lesson's training.

    Args:
        name: One of the rows of the lessons; "BCP + URL + CRL" comes with the package.
        source: Its data set.
        progress: Show a bar, if it has to be trained.
    Raises:
        ValueError: no such lesson.
    """
    found = lesson_moments(name, source, progress=progress)
    images, labels, names = few_slices(source, config_for(lesson_row(name, source)))
    probs = [found["labeled"], found["unlabeled"]]
    return _sides(images, labels, names, probs, list(map(str, found["titles"])), source)


def sides_of_run(folder: Path, root: str | Path | None = None, code: Code = ()) -> list[Side]:
    """Record both halves of a batch at the end of every stage of a finished run.

    Args:
        folder: Folder of the run.
        root: Where its data lie, if they have moved.
        code: What the run may use from outside the package, see `load_run`.
    Raises:
        ValueError: no finished run there.
    """
    row, source, method = load_run(folder, None if root is None else Path(root), code)
    config = config_for(row, code)
    images, labels, names = few_slices(source, config)
    probs, titles = ([], []), []
    stages = method.stages()
    for index, stage in enumerate(stages):
        last = index == len(stages) - 1
        path = folder / CHECKPOINT if last else stage_checkpoint(folder, index, method)
        state = load_state(path)
        method.load_state_dict(state["method"])
        for side, found in zip(probs, predict_sides(method, stage.name, images), strict=True):
            side.append(found)
        titles.append(f"{STAGES.get(stage.name, stage.name)}, end")
    return _sides(images, labels, names, [np.stack(p) for p in probs], titles, source)


def _sides(images, labels, names, probs, titles, source: Source) -> list[Side]:
    return [
        Side(rule, *arrays, titles, title, source.class_names)
        for rule, *arrays, title in zip(("url", "crl"), images, labels, probs, names, strict=True)
    ]
