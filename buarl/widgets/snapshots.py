"""What the networks of a run say of a few slices, at several moments of training.

A lesson's snapshots are recorded once, by a second training with `fit`'s callback, and kept beside
its weights under the same fingerprint.
"""

from __future__ import annotations

import hashlib
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from buarl.data.cache import cache_root, made_once
from buarl.data.source import Source
from buarl.evaluation.monitor import SHARES, pseudo_labeler
from buarl.evaluation.predict import predict_probs
from buarl.evaluation.views import evenly_spaced, training_view
from buarl.evaluation.watched import PICTURES
from buarl.lessons.trained import LESSON_ROWS, fingerprint, lesson_row
from buarl.methods import Method
from buarl.methods.base import Step
from buarl.training.checkpoint import load_state
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.loop import fit
from buarl.training.run import CHECKPOINT, load_run, stage_checkpoint
from buarl.widgets.scrub_pack import Side

SLICES = PICTURES  # per side
STAGES = {"pretrain": "pre-training", "selftrain": "self-training"}


def sides_of_lesson(name: str, source: Source, *, progress: bool = False) -> list[Side]:
    """Record both halves of a batch at several moments of a lesson's training.

    Args:
        name: One of `buarl.lessons.trained.LESSON_ROWS`.
        source: Its data set.
        progress: Show a bar while training.
    Raises:
        ValueError: no such lesson.
    """
    if name not in LESSON_ROWS:
        raise ValueError(f"lesson must be one of {list(LESSON_ROWS)}, got {name!r}")
    row = lesson_row(name, source)
    config = config_for(row)
    images, labels, names = few_slices(source, config)
    path = cache_root() / "snapshots" / f"{_key(row, source, images)}.npz"

    def record() -> dict:
        found = _record(row, source, images, progress)
        _save(path, found)
        return found

    found = made_once(path, partial(_read, path), record)
    probs = [found["labeled"], found["unlabeled"]]
    return _sides(images, labels, names, probs, list(map(str, found["titles"])), source)


def sides_of_run(folder: Path, root: str | Path | None = None) -> list[Side]:
    """Record both halves of a batch at the end of every stage of a finished run.

    Args:
        folder: Folder of the run.
        root: Where its data lie, if they have moved.
    Raises:
        ValueError: no finished run there.
    """
    row, source, method = load_run(folder, None if root is None else Path(root))
    config = config_for(row)
    images, labels, names = few_slices(source, config)
    probs, titles = ([], []), []
    stages = method.stages()
    for index, stage in enumerate(stages):
        last = index == len(stages) - 1
        path = folder / CHECKPOINT if last else stage_checkpoint(folder, index, method)
        state = load_state(path)
        method.load_state_dict(state["method"])
        for side, found in zip(probs, _predict(method, stage.name, images), strict=True):
            side.append(found)
        titles.append(f"{STAGES.get(stage.name, stage.name)}, end")
    return _sides(images, labels, names, [np.stack(p) for p in probs], titles, source)


def few_slices(
    source: Source, config: Config, count: int = SLICES
) -> tuple[list[np.ndarray], list[np.ndarray], list[list[str]]]:
    """Pick training images of both sides, evenly spaced in the list, at training size.

    Args:
        source: The data set.
        config: Numbers of the run: which patients are labeled, and the training size.
        count: How many of each side.
    Returns:
        Images (N, *spatial), labels (N, *spatial) and names, each for [labeled, unlabeled].
    """
    images, labels, names = [], [], []
    for listed in source.split_labeled(config.labeled):
        chosen = evenly_spaced(listed, count)
        views = [
            training_view(source.training_sample(name), config, seed)
            for seed, name in enumerate(chosen)
        ]
        for stack, part in zip((images, labels), zip(*views, strict=True), strict=True):
            stack.append(np.stack(part))
        names.append(chosen)
    return images, labels, names


def _record(row: Experiment, source: Source, images: list, progress: bool) -> dict:
    """Train, and at every moment ask the networks."""
    config, method = config_for(row), build_method(row, source.num_classes)
    probs, titles = ([], []), []

    def look(stage: str, step: Step, method: Method) -> None:
        moments = [max(1, round(share * step.steps)) for share in SHARES]
        if step.index + 1 in moments:
            titles.append(f"{STAGES.get(stage, stage)}, step {step.index + 1} of {step.steps}")
            for side, found in zip(probs, _predict(method, stage, images), strict=True):
                side.append(found)

    fit(method, source, config, progress=progress, callback=look)
    return {"titles": titles, "labeled": np.stack(probs[0]), "unlabeled": np.stack(probs[1])}


def _predict(method: Method, stage: str, images: list[np.ndarray]) -> list[np.ndarray]:
    """Whose entropy cuts: the student's on labeled images, the teacher's, once it is taught, on
    unlabeled ones. In eval mode, on whole images."""
    networks = (method.student, pseudo_labeler(method, stage)[1])
    return [
        predict_probs(network, stack).numpy()
        for network, stack in zip(networks, images, strict=True)
    ]


def _sides(images, labels, names, probs, titles, source: Source) -> list[Side]:
    return [
        Side(rule, *arrays, titles, title, source.class_names)
        for rule, *arrays, title in zip(("url", "crl"), images, labels, probs, names, strict=True)
    ]


def _key(row: Experiment, source: Source, images: list[np.ndarray]) -> str:
    digest = hashlib.sha256(fingerprint(row, source).encode() + Path(__file__).read_bytes())
    for stack in images:
        digest.update(stack.tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> dict | None:
    """What was recorded; None if it is not there or damaged."""
    try:
        with np.load(path) as found:
            return {key: found[key] for key in ("titles", "labeled", "unlabeled")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, arrays: dict) -> None:
    """Complete or absent."""
    building = path.with_suffix(".new.npz")
    np.savez_compressed(building, **arrays)
    building.replace(path)
