"""A run folder: one experiment trained, with all that is needed to know how its numbers came about.

`run.json` (row, numbers, environment, rules), `history.csv`, `last.pt`, `<stage>.pt`, and after an
evaluation `metrics_<split>.csv`.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from buarl.data.source import Source, open_source
from buarl.methods import Method
from buarl.training.checkpoint import load_state, write_json, write_text
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.engine import Precision, choose_engine
from buarl.training.loop import CHECKPOINT, Callback, FitResult, fit
from buarl.training.older_runs import without_removed_precision

SECOND_STAGE_OPTIONS = ("entropy_from", "url_in_stage2", "unlabeled_weight", "ema_decay")
SELECTION = "last checkpoint; no validation or test case takes part in training or selection"


def run_experiment(
    experiment: Experiment,
    source: Source,
    out: Path,
    *,
    resume: bool = False,
    pretrained: Path | None = None,
    device: str = "auto",
    precision: Precision | None = None,
    compiler: str | None = None,
    record: bool = False,
    progress: bool = False,
    callback: Callback | None = None,
) -> FitResult:
    """Train a row into a run folder.

    Args:
        experiment: The row. source: Its data. out: The folder; must not exist, unless resumed.
        resume: Go on from the folder's last checkpoint, or return at once if the run is finished.
        pretrained: Another run folder whose first stage is taken over; what decided that stage
            (method, data, seed, labeled rule and its normaliser) must be the same.
        precision: See `choose_engine`; None is the preset's. To resume, name the same; "auto" then
            stays what it was where the run began.
        device, compiler, record, progress, callback: See `fit`.
    Raises:
        FileExistsError: the folder exists and is not resumed. ValueError: a row that differs.
    """
    out = Path(out)
    config = config_for(experiment)
    config = replace(config, precision=precision or config.precision)
    method = build_method(experiment, source.num_classes)
    description = describe(experiment, source)
    description["config"]["precision"] = config.precision
    engine = choose_engine(device, config.precision)
    description["environment"] |= {"device": str(engine.device), "precision": engine.precision}
    source.split_labeled(experiment.labeled)
    if resume:
        begun = without_removed_precision(out, read_run(out), config.precision)
        _check_same(out, description, begun, ("experiment", "config"))
        # "auto" may mean something else on this machine
        engine = replace(engine, precision=begun["environment"].get("precision", engine.precision))
    elif out.exists():
        raise FileExistsError(f"{out}: run folder exists; choose another, or resume it")
    begin_from = None if pretrained is None else _stage_end(Path(pretrained), description, method)
    if not resume:
        out.mkdir(parents=True)
        write_json(out / "run.json", description)
    try:
        result = fit(
            method,
            source,
            replace(config, precision=engine.precision),
            out=out,
            resume=resume and (out / CHECKPOINT).is_file(),
            begin_from=begin_from,
            device=device,
            compiler=compiler,
            record=record,
            progress=progress,
            callback=callback,
        )
    except (ValueError, OSError):
        if not resume and not list(out.glob("*.pt")):  # ours, and nothing to resume
            shutil.rmtree(out)
        raise
    write_text(out / "history.csv", _history_csv(result.history))
    end = {"finished": True, "seconds": result.seconds, "peak_mib": _peak_mib()}
    write_json(out / "run.json", {**read_run(out), **end})
    return result


def describe(experiment: Experiment, source: Source) -> dict[str, Any]:
    """What `run.json` says before the first step."""
    content = {
        "experiment": experiment.as_dict(),
        "config": vars(config_for(experiment)),
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


def load_run(out: Path, root: Path | None = None) -> tuple[Experiment, Source, Method]:
    """A finished run back: its row, its data and the method with the last weights.

    Args:
        out: The folder. root: Where the data lie, if they have moved.
    """
    run = read_run(out)
    experiment = _finished(out, run)
    if root is None and not experiment.source.startswith("phantom"):  # phantoms are made anew
        root = run["data"]["root"]
    source = open_source(experiment.source, root)
    return experiment, source, load_method(out, source.num_classes)


def load_method(out: Path, num_classes: int) -> Method:
    """The method of a finished run with the last weights; its data need not be here.

    Args:
        out: The folder. num_classes: C, background included.
    """
    method = build_method(_finished(out, read_run(out)), num_classes)
    method.load_state_dict(load_state(Path(out) / CHECKPOINT)["method"])
    return method


def _finished(out: Path, run: dict[str, Any]) -> Experiment:
    if not run["finished"]:
        raise ValueError(f"{out}: the run is not finished; resume it first")
    return Experiment.from_dict(run["experiment"])


def _check_same(
    folder: Path, ours: dict[str, Any], theirs: dict[str, Any], parts: Sequence[str]
) -> None:
    for part in parts:
        for key, value in ours[part].items():
            if key == "checkpoint_every":  # decides nothing
                continue
            if theirs[part].get(key) != value:
                found = theirs[part].get(key)
                raise ValueError(f"{folder}: {part} has {key} = {found}, now it is {value}")


def _stage_end(folder: Path, description: dict[str, Any], method: Method) -> Path:
    """The checkpoint after the first stage of another run that began as this one would."""
    stages = method.stages()
    if len(stages) < 2:
        raise ValueError(
            f"pretrained needs two stages, got {description['experiment']['method']!r}"
        )
    path = folder / f"{stages[0].name}.pt"
    ours, theirs = (_first_stage(run) for run in (description, read_run(folder)))
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint; has that run finished its first stage?")
    _check_same(folder, {"first stage": ours}, {"first stage": theirs}, ("first stage",))
    return path


def _first_stage(run: dict[str, Any]) -> dict[str, Any]:
    """What decides the weights after the first stage."""
    keys = ("method", "labeled_rule", "labeled_reduction", "source", "labeled", "preset", "seed")
    row = {key: run["experiment"][key] for key in keys}
    options = run["experiment"]["options"]
    row["options"] = {k: v for k, v in options.items() if k not in SECOND_STAGE_OPTIONS}
    config = {k: v for k, v in run["config"].items() if k != "stages"}
    return {**row, **config, "first stage": run["config"]["stages"][0], "root": run["data"]["root"]}


def _peak_mib() -> int | None:
    """Largest memory of the process so far: on the GPU if one was used, else resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() >> 20
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20


def _history_csv(history: list[dict]) -> str:
    columns = list(dict.fromkeys(key for row in history for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
