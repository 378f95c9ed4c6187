"""The networks that come with the package: what the lessons show is the same on every screen.

They were trained once, on the synthetic hearts of the lessons, by `make lesson-networks`. Weights
are stored as float16 and used as float32. `networks.json` says of every file how it was made, its
SHA-256, and how good the network in it is.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from buarl.data.source import Source
from buarl.data.synthetic import PhantomFine
from buarl.methods import Method
from buarl.training.config import Config, Experiment, build_method
from buarl.training.run import describe

FOLDER = Path(__file__).with_name("networks")
INDEX = "networks.json"
STUDENT = "student."
Content = TypeVar("Content")


class ShippedFileWarning(UserWarning):
    """A file that comes with the package is missing, damaged or another one."""


def retrain() -> bool:
    """Whether the environment asks to train the lessons' networks here: BUARL_RETRAIN=1.

    Raises:
        ValueError: another value than 0 and 1.
    """
    value = os.environ.get("BUARL_RETRAIN") or "0"
    if value not in ("0", "1"):
        raise ValueError(f"BUARL_RETRAIN must be 0 or 1, got {value!r}")
    return value == "1"


def shipped_method(
    experiment: Experiment, source: Source, stage: str | None = None, folder: Path = FOLDER
) -> Method | None:
    """Load the method of a row from the files that come with the package.

    Args:
        experiment: The row.
        source: Its data set.
        stage: An earlier stage, at whose end it is wanted; None for the end of the training. A
            teacher that only the next stage starts has its first weights there.
        folder: Where the files lie.
    Returns:
        The method, on the CPU and in float32; None if BUARL_RETRAIN=1, if this is not a row of the
        lessons on their synthetic hearts, or, after a warning that names the file, if it cannot be
        used.
    """

    def load_it() -> Method | None:
        entry = _entry(experiment, source, folder)
        if entry is not None and stage is not None:
            entry = entry["stages"].get(stage)
        if entry is None:
            return None
        method = build_method(experiment, source.num_classes)
        fill(method, checked(entry, folder), folder / entry["file"], whole=stage is None)
        return method

    return _or_warn(load_it, source)


def shipped_snapshots(
    experiment: Experiment,
    source: Source,
    read: Callable[[bytes], Content],
    folder: Path = FOLDER,
) -> Content | None:
    """Load what was recorded of a training, see `buarl.lessons.moments`.

    Args:
        experiment: The row.
        source: Its data set.
        read: Makes sense of the file's bytes; raises ValueError where it cannot.
        folder: Where the files lie.
    Returns:
        What `read` returned; None as in `shipped_method`.
    """

    def load_it() -> Content | None:
        entry = index(folder)["snapshots"]
        if not same_numbers(entry["numbers"], numbers(experiment, source)):
            return None
        content = checked(entry, folder)
        try:
            return read(content)
        except ValueError as error:
            raise ValueError(f"{folder / entry['file']}: {error}") from error

    return _or_warn(load_it, source)


def _or_warn(load_it: Callable[[], Content | None], source: Source) -> Content | None:
    """What comes with the package, or None; after a warning, if it should be there and is not."""
    if retrain() or not is_lesson_data(source):
        return None
    try:
        return load_it()
    except (OSError, ValueError) as error:
        warnings.warn(
            f"{error}. It is trained on this machine instead, in a minute or two, and what it "
            "shows may differ in detail from what the lesson says; installing buarl again brings "
            "the file back",
            ShippedFileWarning,
            stacklevel=4,
        )
        return None


def shipped_figures(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Say how good a network of the lessons is, and how it was made.

    Args:
        name: One of `buarl.lessons.rows.LESSON_ROWS`.
        folder: Where the files lie.
    Returns:
        "student" and, where there is one, "teacher", each with "dice" (mean over the validation
        volumes, per class and of all) and "errors" (share of wrong pixels on unlabeled training
        slices, and what entropy catches of them at 99, 97 and 95 %); "stages" with "errors" at the
        end of an earlier stage; "fingerprint", "seconds", "numbers".
    Raises:
        ValueError: no such network.

    >>> shipped_figures("BCP")["student"]["errors"]["99"]["recall"] < 0.5
    True
    """
    networks = index(folder)["networks"]
    if name not in networks:
        raise ValueError(f"the lessons' networks are {list(networks)}, got {name!r}")
    return networks[name]


def is_lesson_data(source: Source) -> bool:
    """Whether a data set is the synthetic hearts of the lessons, as this package draws them."""
    return type(source) is PhantomFine and source.root == PhantomFine.default_root()


def index(folder: Path = FOLDER) -> dict[str, Any]:
    """What `networks.json` says of the files.

    Raises:
        ValueError: it is missing or no such file; the message names it.
    """
    path = folder / INDEX
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not {"networks", "snapshots"} <= set(found):
            raise ValueError("it has no networks")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be read ({reason})") from error
    return found


def checked(entry: Mapping[str, Any], folder: Path = FOLDER) -> bytes:
    """Read a file that the index describes.

    Args:
        entry: Its "file" and "sha256".
        folder: Where it lies.
    Raises:
        ValueError: the file is missing, damaged or another one; the message names it.
    """
    path = folder / entry["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    if sha256(content).hexdigest() != entry["sha256"]:
        raise ValueError(f"{path}: is damaged, or not the file that came with this version")
    return content


def numbers(experiment: Experiment, source: Source) -> dict[str, Any]:
    """Everything that a row decides, as the index keeps it; no machine and no folder."""
    said = describe(experiment, source)
    return {key: said[key] for key in ("experiment", "config")}


def same_numbers(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether two rows decide the same, though one may be older than an option of the other.

    Args:
        kept: As an index keeps them.
        wanted: As `numbers` returns them.
    Returns:
        True if all that `kept` says is equal, and all that it does not know is left at its default.

    >>> same_numbers({"experiment": {}, "config": {"seed": 1}}, {
    ...     "experiment": {}, "config": {"seed": 1, "labeled_draw": None}})
    True
    """
    for part, kind in (("experiment", Experiment), ("config", Config)):
        defaults = {field.name: field.default for field in fields(kind)}
        new = {key: value for key, value in wanted[part].items() if key not in kept[part]}
        if kept[part] != {k: v for k, v in wanted[part].items() if k not in new}:
            return False
        if any(value != defaults.get(key, value is None) for key, value in new.items()):
            return False
    return True


def packed(method: Method, *, only_student: bool = False) -> bytes:
    """Write the weights of a method as safetensors, numbers with a fraction as float16.

    Args:
        method: Trained.
        only_student: Leave the teacher out, which has not begun.
    Raises:
        ValueError: a weight that float16 cannot hold.
    """
    weights: dict[str, Tensor] = {}
    for name, value in method.state_dict().items():
        if only_student and not name.startswith(STUDENT):
            continue
        half = value.detach().cpu().contiguous()
        half = half.half() if half.is_floating_point() else half
        if not torch.isfinite(half.float()).all():
            raise ValueError(f"weight {name} does not fit into float16")
        weights[name] = half.clone()
    return save(weights)


def fill(method: Method, content: bytes, path: Path, *, whole: bool) -> None:
    """Put weights into a method.

    Args:
        method: Fresh.
        content: As `packed` wrote them.
        path: Where they came from, for messages.
        whole: All of them are there, not the student's alone.
    Raises:
        ValueError: no such file, or one with the weights of another network.
    """
    try:
        weights = load(content)
    except SafetensorError as error:
        raise ValueError(f"{path}: no safetensors ({error})") from error
    own = method.state_dict()
    wanted = {name: value for name, value in own.items() if whole or name.startswith(STUDENT)}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != {name: tuple(value.shape) for name, value in wanted.items()}:
        raise ValueError(f"{path}: holds the weights of another network")
    method.load_state_dict({**own, **{k: v.to(own[k].dtype) for k, v in weights.items()}})


def _entry(experiment: Experiment, source: Source, folder: Path) -> dict[str, Any] | None:
    """What the index says of a row, or None where no such row is shipped."""
    wanted = numbers(experiment, source)
    found = index(folder)["networks"].values()
    return next((entry for entry in found if same_numbers(entry["numbers"], wanted)), None)
