"""The short trainings that the lessons share: they come with the package, or are trained once.

What does not come with the package is trained here and kept under a fingerprint, which covers the
row, its numbers, every source file that takes part in training this method, the data and torch's
version. So a stale entry is never found, and a damaged one is trained again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType

import torch

from buarl.data import synthetic
from buarl.data.cache import cache_root, made_once
from buarl.data.source import Source
from buarl.lessons.bar import OnceBar
from buarl.lessons.rows import LESSON_ROWS, lesson_row
from buarl.lessons.shipped import shipped_method
from buarl.methods import Method
from buarl.training.checkpoint import load_state
from buarl.training.config import Experiment, build_method
from buarl.training.loop import Callback
from buarl.training.run import describe, load_run, run_experiment, stage_checkpoint

ALWAYS = ("buarl.training.loop", synthetic.__name__)  # and from there the layouts it reads
BY_VALUE = {"buarl.training.config", "buarl.methods.recipe"}
__all__ = [
    "LESSON_ROWS",
    "after_stage",
    "after_stage_here",
    "fingerprint",
    "lesson_row",
    "trained",
    "trained_here",
    "training_code",
]


def fingerprint(experiment: Experiment, source: Source) -> str:
    """Hash everything that decides the weights of a run into 16 letters.

    Args:
        experiment: The row.
        source: Its data set.
    """
    numbers = describe(experiment, source)
    decisive = [numbers[key] for key in ("experiment", "config", "data")]
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for module in training_code(build_method(experiment, source.num_classes)):
        digest.update(module.encode() + Path(sys.modules[module].__file__).read_bytes())
    if home := getattr(sys.modules[type(source).__module__], "__file__", None):
        digest.update(Path(home).read_bytes())  # a data set may live outside the package
    digest.update(torch.__version__.encode())
    return digest.hexdigest()[:16]


def training_code(method: Method) -> list[str]:
    """List the modules of buarl that take part in training a method.

    These are the loop, the data sets, the modules of the method and its networks, and from there
    every module whose names they use. Rows and numbers are left out: they count by value.

    Args:
        method: Fresh or trained.
    Returns:
        Names of modules, sorted.
    """
    found: set[str] = set()
    pending = {*ALWAYS, *(type(module).__module__ for module in method.modules())}
    while pending:
        name = pending.pop()
        if name.startswith("buarl.") and name not in found | BY_VALUE:
            found.add(name)
            pending |= {_home(value) for value in vars(sys.modules[name]).values()}
    return sorted(found)


def _home(value: object) -> str:
    """The module that an imported name comes from; empty for plain values."""
    return value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")


def trained(
    experiment: Experiment,
    source: Source,
    *,
    progress: bool = True,
    callback: Callback | None = None,
) -> Method:
    """Return the method of a row after training, on the CPU.

    The rows of the lessons come with the package, see `buarl.lessons.shipped`. Others, and those
    too if BUARL_RETRAIN=1, are trained here unless the cache has them.

    Args:
        experiment: The row; meant for presets that take a minute.
        source: Its data set.
        progress: Where it has to be trained, show a bar that says so.
        callback: Called after every step of a training, see `fit`.
    """
    if (method := shipped_method(experiment, source)) is not None:
        return method
    return trained_here(experiment, source, progress=progress, callback=callback)


def trained_here(
    experiment: Experiment,
    source: Source,
    *,
    progress: bool = False,
    callback: Callback | None = None,
) -> Method:
    """Do the same without the networks that come with the package.

    Args:
        experiment: The row.
        source: Its data set.
        progress: Show a bar while training.
        callback: Called after every step of a training, see `fit`.
    """
    folder = cache_root() / "trained" / fingerprint(experiment, source)

    def train() -> Method:
        shutil.rmtree(folder, ignore_errors=True)
        with OnceBar(experiment, callback) if progress else nullcontext(callback) as each_step:
            run_experiment(experiment, source, folder, callback=each_step)
        return load_run(folder, source.root)[2]

    return made_once(folder, partial(_kept, folder, source), train)


def _kept(folder: Path, source: Source) -> Method | None:
    """The method of a finished run, or None where there is no such run or it cannot be read."""
    try:
        return load_run(folder, source.root)[2]
    except (ValueError, KeyError, RuntimeError):
        return None


def after_stage(experiment: Experiment, source: Source, stage: str) -> Method:
    """Return the method of a row as it stood at the end of an earlier stage.

    A teacher that only the next stage starts is still an untrained copy there; BCP's is set by
    `start_selftraining()`.

    Args:
        experiment: The row; if it does not come with the package, it is trained first, unless the
            cache has it.
        source: Its data set.
        stage: Name of the stage, for example BCP's "pretrain".
    Raises:
        ValueError: no checkpoint of that stage; the message names the file.
    """
    names = [each.name for each in build_method(experiment, source.num_classes).stages()]
    if stage == names[-1]:
        return trained(experiment, source)
    shipped = shipped_method(experiment, source, stage) if stage in names else None
    return after_stage_here(experiment, source, stage) if shipped is None else shipped


def after_stage_here(experiment: Experiment, source: Source, stage: str) -> Method:
    """Do the same without the networks that come with the package.

    Args:
        experiment: The row.
        source: Its data set.
        stage: Name of the stage.
    Raises:
        ValueError: no checkpoint of that stage; the message names the file.
    """
    trained_here(experiment, source)
    folder = cache_root() / "trained" / fingerprint(experiment, source)
    method = build_method(experiment, source.num_classes)
    names = [each.name for each in method.stages()]
    path = folder / f"{stage}.pt"
    if stage in names:
        path = stage_checkpoint(folder, names.index(stage), method)
    method.load_state_dict(load_state(path)["method"])
    return method
