"""A run folder: one experiment trained, with all that is needed to know how its numbers came about.

`run.json` (row, numbers, environment, rules), `history.csv`, `last.pt`, `<stage>.pt`, and after an
evaluation `metrics_<split>.csv`.
"""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from buarl.data.source import Source
from buarl.methods import Method
from buarl.outside import Code
from buarl.training.checkpoint import write_json, write_text
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.engine import Precision, choose_engine
from buarl.training.loop import CHECKPOINT, Callback, FitResult, fit
from buarl.training.older_runs import without_removed_precision
from buarl.training.run_folder import (
    SELECTION,
    describe,
    environment,
    load_method,
    load_run,
    read_run,
    row_of_run,
)

__all__ = [
    "CHECKPOINT",
    "SELECTION",
    "describe",
    "environment",
    "load_method",
    "load_run",
    "read_run",
    "row_of_run",
    "run_experiment",
]
SECOND_STAGE_OPTIONS = ("entropy_from", "url_in_stage2", "unlabeled_weight", "ema_decay")


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
    code: Code = (),
) -> FitResult:
    """Train a row into a run folder.

    Args:
        experiment: The row.
        source: Its data.
        out: The folder; must not exist, unless resumed.
        resume: Go on from the folder's last checkpoint, or return at once if the run is finished.
        pretrained: Another run folder whose first stage is taken over; what decided that stage
            (method, network, data, seed, labeled rule and its normaliser) must be the same.
        device: See `fit`.
        precision: See `choose_engine`; None is the row's. To resume, name the same; "auto" then
            stays what it was where the run began.
        compiler: See `fit`.
        record: See `fit`.
        progress: See `fit`.
        callback: See `fit`.
        code: Method, network and rules from outside the package that the row may use, see
            `load_run`.
    Raises:
        FileExistsError: the folder exists and is not resumed.
        ValueError: a row that differs from the folder's, that sets what cannot be, or that needs
            code that was not named.
    """
    out = Path(out)
    config = _with_precision(experiment, config_for(experiment, code), precision)
    method = build_method(experiment, source.num_classes, code, config)
    description = describe(experiment, source, config)
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


def _with_precision(experiment: Experiment, config: Config, asked: Precision | None) -> Config:
    said = experiment.set.get("precision")
    if None not in (said, asked) and said != asked:
        raise ValueError(f"precision must be the one that the row sets, {said!r}, got {asked!r}")
    return replace(config, precision=asked or config.precision)


def _check_same(
    folder: Path, ours: dict[str, Any], theirs: dict[str, Any], parts: Sequence[str]
) -> None:
    for part in parts:
        keys = [*ours[part], *(key for key in theirs[part] if key not in ours[part])]
        for key in keys if part == "experiment" else ours[part]:
            if key == "checkpoint_every":  # decides nothing
                continue
            value, found = ours[part].get(key), theirs[part].get(key)
            if value != found:
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
    row |= {key: run["experiment"].get(key) for key in ("network", "network_options")}
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
