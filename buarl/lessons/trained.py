"""The short trainings that the lessons share: trained once, then kept under a fingerprint.

The fingerprint covers the row, its numbers, every source file that takes part in training this
method, the data and torch's version. So a stale entry is never found, and a damaged one is trained
again.
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
from buarl.methods import Method
from buarl.regions import crl, url
from buarl.training.checkpoint import load_state
from buarl.training.config import Experiment, build_method
from buarl.training.loop import Callback
from buarl.training.run import describe, load_run, run_experiment, stage_checkpoint

ALWAYS = ("buarl.training.loop", synthetic.__name__)  # and from there the layouts it reads
BY_VALUE = {"buarl.training.config", "buarl.methods.recipe"}
_URL_CRL = {"labeled_rule": url(95), "unlabeled_rule": crl(99)}
LESSON_ROWS: dict[str, dict] = {
    "supervised": {"method": "supervised"},
    "supervised + URL": {"method": "supervised", "labeled_rule": url(95)},
    "Mean Teacher": {"method": "mean_teacher"},
    "Mean Teacher, pseudo-labels": {
        "method": "mean_teacher",
        "options": {"unsupervised": "pseudo_label"},
    },
    "Mean Teacher + URL + CRL": {
        "method": "mean_teacher",
        "options": {"unsupervised": "pseudo_label"},
        **_URL_CRL,
    },
    "BCP": {"method": "bcp"},
    "BCP + URL + CRL": {"method": "bcp", **_URL_CRL},
    "BCP, URL at 99": {"method": "bcp", "labeled_rule": url(99), "unlabeled_rule": crl(99)},
}


def lesson_row(name: str, source: Source) -> Experiment:
    """Make a row of the lessons for a data set: preset toy, both terms normalized per voxel.

    Args:
        name: One of `LESSON_ROWS`, for example "BCP + URL + CRL".
        source: The data set. 3 of its patients are labeled, or 4 scans where volumes are trained
            on, as many as a batch of BCP holds there.
    """
    labeled = 3 if source.rank == 2 else 4
    return Experiment(source=source.name, labeled=labeled, preset="toy", **LESSON_ROWS[name])


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
    """Return the method of a row after training; train it first if the cache does not have it.

    Args:
        experiment: The row; meant for presets that take a minute.
        source: Its data set.
        progress: Where it has to be trained, show a bar that says so.
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
        experiment: The row; it is trained first if the cache does not have it.
        source: Its data set.
        stage: Name of the stage, for example BCP's "pretrain".
    Raises:
        ValueError: no checkpoint of that stage; the message names the file.
    """
    trained(experiment, source)
    folder = cache_root() / "trained" / fingerprint(experiment, source)
    method = build_method(experiment, source.num_classes)
    names = [each.name for each in method.stages()]
    path = folder / f"{stage}.pt"
    if stage in names:
        path = stage_checkpoint(folder, names.index(stage), method)
    method.load_state_dict(load_state(path)["method"])
    return method
