"""What a run folder says: `run.json`, and the way back from it to row, data and weights.

A run folder is data and may come from anyone. Loading one never imports a file, module or class
that the caller did not name, see `buarl.outside`.
"""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from buarl.data.source import Source, open_source
from buarl.methods import Method
from buarl.outside import Code, require_code
from buarl.training.checkpoint import load_state
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.experiment import rule_name
from buarl.training.loop import CHECKPOINT

SELECTION = "last checkpoint; no validation or test case takes part in training or selection"


def describe(
    experiment: Experiment, source: Source, config: Config | None = None
) -> dict[str, Any]:
    """What `run.json` says before the first step.

    Args:
        experiment: The row.
        source: Its data.
        config: The row's numbers where they are at hand; else `config_for` looks them up.
    """
    content = {
        "experiment": experiment.as_dict(),
        "config": vars(config or config_for(experiment)),
        "selection": SELECTION,
        "data": {
            "root": str(source.root.resolve()),
            "licence": source.licence,
            "classes": source.class_names,
            "normalisation": getattr(source, "normalisation", None),  # None: the recipe's
        },
        "environment": environment(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": False,
    }
    return json.loads(
        json.dumps(content, default=lambda data: {"type": type(data).__name__, **vars(data)})
    )


def environment() -> dict[str, Any]:
    """Versions, machine, threads, and the commit if the code lies in a git checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {capability}",
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "commit": commit,
    }


def read_run(out: Path) -> dict[str, Any]:
    """`run.json` of a folder.

    Raises:
        ValueError: no run there; the message names the file.
    """
    path = Path(out) / "run.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {out} is not a run folder")
    return json.loads(path.read_text())


def row_of_run(out: Path, code: Code = ()) -> Experiment:
    """The row of a run, finished or not.

    Args:
        out: The folder.
        code: What may be used from outside the package, see `buarl.outside`.
    Raises:
        ValueError: no run there, or it uses something from outside that `code` does not name.
    """
    row = read_run(out)["experiment"]
    names = {key: row.get(key) for key in ("method", "network")}
    names |= {key: rule_name(row.get(key)) for key in ("labeled_rule", "unlabeled_rule")}
    try:
        require_code(names, code)
        return Experiment.from_dict(row, code)
    except ValueError as error:
        raise ValueError(f"{out}: {error}") from error


def load_run(
    out: Path, root: Path | None = None, code: Code = ()
) -> tuple[Experiment, Source, Method]:
    """A finished run back: its row, its data and the method with the last weights.

    Args:
        out: The folder.
        root: Where the data lie, if they have moved.
        code: Method, network and rules from outside the package that the run may use: classes and
            functions, or where they lie, such as "my_method.py:MyMethod".
    Raises:
        ValueError: no finished run, or it needs code that was not named.
    """
    run = read_run(out)
    experiment = _finished(out, run, code)
    if root is None and not experiment.source.startswith("phantom"):  # phantoms are made anew
        root = run["data"]["root"]
    source = open_source(experiment.source, root)
    return experiment, source, load_method(out, source.num_classes, code)


def load_method(out: Path, num_classes: int, code: Code = ()) -> Method:
    """The method of a finished run with the last weights; its data need not be here.

    Args:
        out: The folder.
        num_classes: C, background included.
        code: As in `load_run`.
    Raises:
        ValueError: as `load_run`.
    """
    experiment = _finished(out, read_run(out), code)
    try:
        method = build_method(experiment, num_classes, code)
    except ValueError as error:
        raise ValueError(f"{out}: {error}") from error
    method.load_state_dict(load_state(Path(out) / CHECKPOINT)["method"])
    return method


def _finished(out: Path, run: dict[str, Any], code: Code) -> Experiment:
    if not run["finished"]:
        raise ValueError(f"{out}: the run is not finished; resume it first")
    return row_of_run(out, code)
