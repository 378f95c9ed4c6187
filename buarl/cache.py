"""Short trainings that several lessons share: trained once, kept under a fingerprint.

The fingerprint covers the row, every source file of the package, the data and torch's version, so a
stale entry is never found; a damaged one is trained again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch

from buarl.config import Experiment, build_method
from buarl.data.phantom_files import cache_root
from buarl.data.source import Source
from buarl.methods import Method
from buarl.run import load_run, run_experiment


def fingerprint(experiment: Experiment, source: Source) -> str:
    """A short hash of all that decides the weights of a toy run."""
    package = Path(__file__).parent
    digest = hashlib.sha256(json.dumps(experiment.as_dict(), sort_keys=True).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    digest.update(f"{source.root.resolve()} {torch.__version__}".encode())
    return digest.hexdigest()[:16]


def trained(experiment: Experiment, source: Source, *, progress: bool = False) -> Method:
    """A method trained by this row, from the cache if it is there.

    Args:
        experiment: The row; meant for presets of a minute. source: Its data.
        progress: Show a bar while training.
    """
    folder = cache_root() / "trained" / fingerprint(experiment, source)
    try:
        return load_run(folder, source.root)[2]
    except (ValueError, KeyError, RuntimeError):
        shutil.rmtree(folder, ignore_errors=True)
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    building.parent.mkdir(parents=True, exist_ok=True)
    run_experiment(experiment, source, building, progress=progress)
    try:
        building.rename(folder)
    except OSError:  # another process was faster; the runs are the same
        shutil.rmtree(building, ignore_errors=True)
    return load_run(folder, source.root)[2]


def after_stage(experiment: Experiment, source: Source, stage: str) -> Method:
    """The same method as it stood at the end of an earlier stage, e.g. BCP after "pretrain"."""
    from buarl.checkpoint import load_state

    trained(experiment, source)
    folder = cache_root() / "trained" / fingerprint(experiment, source)
    method = build_method(experiment, source.num_classes)
    method.load_state_dict(load_state(folder / f"{stage}.pt")["method"])
    return method
