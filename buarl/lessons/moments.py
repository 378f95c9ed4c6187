"""What the networks of a training say of a few slices while they learn, at several moments.

Those of one training of the lessons come with the package. Others are recorded once, by a second
training with `fit`'s callback, and kept beside its weights under the same fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from buarl.data.cache import cache_root, made_once
from buarl.data.source import Source
from buarl.evaluation.predict import predict_probs
from buarl.evaluation.views import training_view
from buarl.lessons.demo import unlabeled_slice
from buarl.lessons.rows import STUDY_ROWS, lesson_row
from buarl.lessons.shipped import shipped_snapshots
from buarl.lessons.trained import fingerprint
from buarl.methods import Method
from buarl.methods.base import Step
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.loop import fit

SHARES = (0.1, 0.4, 1.0)  # of every stage: early, halfway in effect, its end
FILM_SHARES = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
SLICES = 4  # per side
STAGES = {"pretrain": "pre-training", "selftrain": "self-training"}
KEYS = ("titles", "labeled", "unlabeled", "film_titles", "film")
TITLES = ("titles", "film_titles")
LEVELS = 160  # of a square root of a probability in the package: its files stay below 10 MB
Moments = dict[str, np.ndarray]


class Film(NamedTuple):
    """One unlabeled slice while a network learns.

    Attributes:
        image: float32 (*spatial), at training size.
        label: Whole numbers (*spatial); no training sees it.
        probs: float32 (T, C, *spatial), at T moments: the student's, and the teacher's as soon as
            it supplies the pseudo-labels.
        titles: Stage and step of every moment.
    """

    image: np.ndarray
    label: np.ndarray
    probs: np.ndarray
    titles: list[str]


def lesson_film(name: str, source: Source, *, progress: bool = False) -> Film:
    """Show how the prediction of one unlabeled slice changes during a training of the lessons.

    Args:
        name: The row; "BCP + URL + CRL" comes with the package.
        source: Its data set.
        progress: Show a bar, if it has to be trained.
    Raises:
        ValueError: no such row.
    """
    found = lesson_moments(name, source, progress=progress)
    image, label = unlabeled_slice(source, config_for(lesson_row(name, source)))
    return Film(image, label, found["film"], list(map(str, found["film_titles"])))


def lesson_moments(name: str, source: Source, *, progress: bool = False) -> Moments:
    """Look up what was recorded of a row of the lessons; record it first if nothing was.

    Args:
        name: The row.
        source: Its data set.
        progress: Show a bar, if it has to be trained.
    Returns:
        "titles" of S moments and probabilities float32 (S, N, C, *spatial) for "labeled" and
        "unlabeled", see `few_slices`; "film_titles" and "film" (T, C, *spatial), see `Film`.
    Raises:
        ValueError: no such row.
    """
    if name not in STUDY_ROWS:
        raise ValueError(f"lesson must be one of {list(STUDY_ROWS)}, got {name!r}")
    row = lesson_row(name, source)
    shipped = shipped_snapshots(row, source, from_bytes)
    if shipped is not None:
        return shipped
    images = few_slices(source, config_for(row))[0]
    path = cache_root() / "snapshots" / f"{_key(row, source, images)}.npz"

    def record() -> Moments:
        found = recorded(row, source, progress=progress)
        building = path.with_suffix(".new.npz")  # complete or absent
        building.write_bytes(to_bytes(found))
        building.replace(path)
        return found

    return made_once(path, partial(_read, path), record)


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
    Raises:
        ValueError: no unlabeled image.
    """
    images, labels, names = [], [], []
    for listed in source.split_labeled(config.labeled):
        if not listed:
            raise ValueError("all training images are labeled, and there is nothing to compare")
        chosen = [listed[(2 * i + 1) * len(listed) // (2 * count)] for i in range(count)]
        views = [
            training_view(source.training_sample(name), config, seed)
            for seed, name in enumerate(chosen)
        ]
        for stack, part in zip((images, labels), zip(*views, strict=True), strict=True):
            stack.append(np.stack(part))
        names.append(chosen)
    return images, labels, names


def recorded(row: Experiment, source: Source, *, progress: bool = False) -> Moments:
    """Train a row, and ask its networks at every moment.

    Args:
        row: What to train.
        source: Its data set.
        progress: Show a bar.
    Returns:
        As `lesson_moments`.
    """
    config, recorder = config_for(row), Recorder(row, source)
    method = build_method(row, source.num_classes)
    fit(method, source, config, progress=progress, callback=recorder)
    return recorder.moments()


class Recorder:
    """A callback of `fit` that asks the networks of a training at every moment.

    Args:
        row: What is trained.
        source: Its data set.
    """

    def __init__(self, row: Experiment, source: Source) -> None:
        config = config_for(row)
        self.images = few_slices(source, config)[0]
        self.shown = unlabeled_slice(source, config)[0][None]
        self.found: dict[str, list] = {key: [] for key in KEYS}

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Look, if this step is a moment."""
        title = f"{STAGES.get(stage, stage)}, step {step.index + 1} of {step.steps}"
        if _is_moment(step, SHARES):
            sides = predict_sides(method, stage, self.images)
            for key, value in zip(KEYS[:3], (title, *sides), strict=True):
                self.found[key].append(value)
        if _is_moment(step, FILM_SHARES):
            _, probs = predict_sides(method, stage, [self.shown, self.shown])
            for key, value in zip(KEYS[3:], (title, probs[0]), strict=True):
                self.found[key].append(value)

    def moments(self) -> Moments:
        """What was found, see `lesson_moments`."""
        return {key: np.stack(values) for key, values in self.found.items()}


def _is_moment(step: Step, shares: tuple[float, ...]) -> bool:
    return step.index + 1 in [max(1, round(share * step.steps)) for share in shares]


def predict_sides(method: Method, stage: str, images: list[np.ndarray]) -> list[np.ndarray]:
    """Ask the network whose entropy cuts, in eval mode and on whole images.

    That is the student on labeled images and the teacher, once it is taught, on unlabeled ones.

    Args:
        method: In training, or trained.
        stage: Where it stands.
        images: [labeled, unlabeled], each float32 (N, *spatial).
    Returns:
        Probabilities (N, C, *spatial) of both.
    """
    taught = next(s.after_step for s in method.stages() if s.name == stage) is not None
    teacher = getattr(method, "teacher", method.student) if taught else method.student
    networks = (method.student, teacher)
    return [
        predict_probs(network, stack).numpy()
        for network, stack in zip(networks, images, strict=True)
    ]


def to_bytes(moments: Moments, *, small: bool = False) -> bytes:
    """Pack what was recorded.

    Args:
        moments: As `recorded` returns them.
        small: Keep one byte, the rounded square root, of every probability but the first class's,
            as the package does; entropies then move by 0.002 nats on average.
    """
    packed = io.BytesIO()
    arrays = {k: _coded(v) if small and k not in TITLES else v for k, v in moments.items()}
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def from_bytes(content: bytes) -> Moments:
    """Unpack it again, as float32.

    Args:
        content: As `to_bytes` packed it.
    Raises:
        ValueError: it is something else, or damaged.
    """
    try:
        with np.load(io.BytesIO(content)) as found:
            arrays = {key: found[key] for key in KEYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"no snapshots of a training ({error})") from error
    return {k: _decoded(v) if v.dtype == np.uint8 else v for k, v in arrays.items()}


def _coded(probs: np.ndarray) -> np.ndarray:
    """uint8 (..., C - 1, H, W) of probabilities (..., C, H, W)."""
    return np.round(LEVELS * np.sqrt(probs[..., 1:, :, :])).astype(np.uint8)


def _decoded(coded: np.ndarray) -> np.ndarray:
    others = (coded.astype(np.float32) / LEVELS) ** 2
    first = np.clip(1 - others.sum(-3, keepdims=True), 0, None)
    probs = np.concatenate([first, others], axis=-3)
    return probs / probs.sum(-3, keepdims=True)


def _key(row: Experiment, source: Source, images: list[np.ndarray]) -> str:
    digest = hashlib.sha256(fingerprint(row, source).encode() + Path(__file__).read_bytes())
    for stack in images:
        digest.update(stack.tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> Moments | None:
    """What was recorded; None if it is not there or damaged."""
    try:
        return from_bytes(path.read_bytes())
    except (OSError, ValueError):
        return None
