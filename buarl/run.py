"""A run folder: one experiment trained, with all that is needed to know how its numbers came about.

`run.json` (row, numbers, environment, rules), `history.csv`, `last.pt`, `<stage>.pt`, and after an
evaluation `metrics_<split>.csv`.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from buarl.checkpoint import load_state, write_json, write_text
from buarl.config import Experiment, build_method, config_for
from buarl.data.source import Source, open_source
from buarl.methods import Method
from buarl.train import CHECKPOINT, Callback, FitResult, fit

SELECTION = "last checkpoint; no validation or test case takes part in training or selection"


def run_experiment(
    experiment: Experiment,
    source: Source,
    out: Path,
    *,
    resume: bool = False,
    pretrained: Path | None = None,
    device: str = "auto",
    progress: bool = False,
    callback: Callback | None = None,
) -> FitResult:
    """Train a row into a run folder.

    Args:
        experiment: The row. source: Its data. out: The folder; must not exist, unless resumed.
        resume: Go on from the folder's last checkpoint, or return at once if the run is finished.
        pretrained: Another run folder whose first stage is taken over; what decided that stage
            (method, data, seed, labeled rule and its normaliser) must be the same.
        device, progress, callback: See `fit`.
    Raises:
        FileExistsError: the folder exists and is not resumed. ValueError: a row that differs.
    """
    out = Path(out)
    config = config_for(experiment)
    method = build_method(experiment, source.num_classes)
    if resume:
        _check_same(experiment, read_run(out))
    elif out.exists():
        raise FileExistsError(f"{out}: run folder exists; choose another, or resume it")
    begin_from = None if pretrained is None else _stage_end(Path(pretrained), experiment, method)
    if not resume:
        out.mkdir(parents=True)
        write_json(out / "run.json", describe(experiment, source))
    result = fit(
        method,
        source,
        config,
        out=out,
        resume=resume and (out / CHECKPOINT).is_file(),
        begin_from=begin_from,
        device=device,
        progress=progress,
        callback=callback,
    )
    write_text(out / "history.csv", _history_csv(result.history))
    write_json(out / "run.json", {**read_run(out), "finished": True, "seconds": result.seconds})
    return result


def describe(experiment: Experiment, source: Source) -> dict[str, Any]:
    """What `run.json` says before the first step."""
    return {
        "experiment": experiment.as_dict(),
        "config": json.loads(json.dumps(asdict(config_for(experiment)), default=str)),
        "selection": SELECTION,
        "data": {"root": str(source.root.resolve()), "licence": source.licence},
        "environment": environment(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": False,
    }


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


def load_run(out: Path, root: Path | None = None) -> tuple[Experiment, Source, Method]:
    """A finished run back: its row, its data and the method with the last weights.

    Args:
        out: The folder. root: Where the data lie, if they have moved.
    """
    run = read_run(out)
    if not run["finished"]:
        raise ValueError(f"{out}: the run is not finished; resume it first")
    experiment = Experiment.from_dict(run["experiment"])
    source = open_source(experiment.source, root or run["data"]["root"])
    method = build_method(experiment, source.num_classes)
    method.load_state_dict(load_state(Path(out) / CHECKPOINT)["method"])
    return experiment, source, method


def _check_same(experiment: Experiment, run: dict[str, Any]) -> None:
    wanted, found = json.loads(json.dumps(experiment.as_dict())), run["experiment"]
    for key, value in wanted.items():
        if found[key] != value:
            raise ValueError(
                f"resume needs the row of the run: {key} was {found[key]}, got {value}"
            )


def _stage_end(folder: Path, experiment: Experiment, method: Method) -> Path:
    stages = method.stages()
    if len(stages) < 2:
        raise ValueError(f"pretrained needs a method with two stages, got {experiment.method!r}")
    theirs, ours = read_run(folder)["experiment"], json.loads(json.dumps(experiment.as_dict()))
    for key in (
        "method",
        "labeled_rule",
        "labeled_reduction",
        "source",
        "labeled",
        "preset",
        "seed",
    ):
        if theirs[key] != ours[key]:
            raise ValueError(
                f"{folder}: pretrained with {key} {theirs[key]}, but the row says {ours[key]}"
            )
    return folder / f"{stages[0].name}.pt"


def _history_csv(history: list[dict]) -> str:
    columns = list(dict.fromkeys(key for row in history for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
