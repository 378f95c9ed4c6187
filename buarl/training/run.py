"""A run folder: one experiment trained, with all that is needed to know how its numbers came about.

What lies there stands in `buarl.capsule`, which reads it; a run is resumed and evaluated from the
checkpoints `last.pt` and `<stage>.pt`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from buarl.capsule import HISTORY
from buarl.data.source import Source
from buarl.methods import Method
from buarl.outside import Code
from buarl.training.checkpoint import remove_leftovers, write_json, write_text
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.engine import Engine, Precision, choose_engine
from buarl.training.lock import owned
from buarl.training.loop import CHECKPOINT, Callback, FitResult, fit
from buarl.training.older_runs import without_removed_precision
from buarl.training.run_folder import (
    SELECTION,
    describe,
    end_run,
    environment,
    fingerprint,
    keep_ids,
    load_method,
    load_run,
    read_run,
    row_of_run,
    stage_checkpoint,
)
from buarl.training.state import csv_text

__all__ = [
    "CHECKPOINT",
    "SELECTION",
    "describe",
    "environment",
    "first_stage",
    "load_method",
    "load_run",
    "read_run",
    "row_of_run",
    "run_experiment",
]
SECOND_STAGE_OPTIONS = (
    *("entropy_from", "url_in_stage2", "unlabeled_weight", "ema_decay"),
    "strong_views",
)


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
        callback: See `fit`; `buarl.evaluation.watch.watch_run` makes the one that fills the
            capsule.
        code: Method, network and rules from outside the package that the row may use, see
            `load_run`.
    Raises:
        FileExistsError: the folder exists and is not resumed.
        ValueError: a row that differs from the folder's, that sets what cannot be, or that needs
            code that was not named.
    """
    out = Path(out)
    config = _with_precision(experiment, config_for(experiment, code), precision)
    source = source.drawn(config.labeled_draw)
    method = build_method(experiment, source.num_classes, code, config)
    description = describe(experiment, source, config)
    engine = choose_engine(device, config.precision)
    description["environment"] |= {"device": str(engine.device), "precision": engine.precision}
    source.split_labeled(experiment.labeled)
    if resume:
        read_run(out)
    elif out.exists():
        raise FileExistsError(_exists(out))
    begin_from = None if pretrained is None else _stage_end(Path(pretrained), description, method)
    if begin_from is not None:
        description["pretrained"] = _lent(begin_from)
    if not resume:
        out.mkdir(parents=True)
    with owned(out):
        remove_leftovers(out)  # of writers that were killed
        try:
            if resume:
                engine = _go_on(out, description, config.precision, engine)
            else:
                write_json(out / "run.json", description)
            keep_ids(out, source, experiment.labeled)
            result = fit(
                method,
                source,
                replace(config, precision=engine.precision),
                out=out,
                run=fingerprint(read_run(out)),
                resume=resume and (out / CHECKPOINT).is_file(),
                begin_from=begin_from,
                device=device,
                compiler=compiler,
                record=record,
                progress=progress,
                callback=callback,
            )
        except Exception as error:  # of whatever kind: code from outside may raise any
            _leave(out, error, ours=not resume)
            raise
        write_text(out / HISTORY, csv_text(result.history))
        end_run(out, seconds=result.seconds, peak_mib=_peak_mib())
    return result


def _go_on(out: Path, description: dict[str, Any], precision: str, engine: Engine) -> Engine:
    """Check that the run to resume is the one at hand; the engine with the precision it had."""
    begun = without_removed_precision(out, read_run(out), precision)
    _check_same(out, description, begun, ("experiment", "config"))
    _check_lent(out, begun, description.get("pretrained"))
    # "auto" may mean something else on this machine
    return replace(engine, precision=begun["environment"].get("precision", engine.precision))


def _exists(out: Path) -> str:
    """Why a folder cannot be trained into, and the way out."""
    if (out / "run.json").is_file() or not out.is_dir():
        return f"{out}: run folder exists; choose another, or resume it"
    return (
        f"{out}: run folder exists, without a run.json to resume from; choose another, or delete "
        "it if it is what a killed run left"
    )


def _leave(out: Path, error: Exception, *, ours: bool) -> None:
    """After an error: remove a folder that we made and that holds nothing to go on from."""
    saved = bool(list(out.glob("*.pt")))
    if ours and not saved:
        shutil.rmtree(out)
    if isinstance(error, FloatingPointError):
        if saved:
            state = "to resume it would end there again, so train into a new folder"
        elif ours:
            state = "nothing had been saved, so the folder was removed"
        else:
            state = "nothing was ever saved there, so delete the folder and train anew"
        raise FloatingPointError(f"{error} ({out}: {state})") from error


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
    parts = [{"first stage": first_stage(run)} for run in (description, read_run(folder))]
    _check_same(folder, *parts, ("first stage",))
    return stage_checkpoint(folder, 0, method)


def _lent(path: Path) -> dict[str, str]:
    """What run.json says of another run's first stage; a path would tell of a machine."""
    digest = sha256(path.read_bytes()).hexdigest()
    return {"run": path.resolve().parent.name, "file": path.name, "sha256": digest}


def _check_lent(out: Path, begun: Mapping[str, Any], now: Mapping[str, Any] | None) -> None:
    """A run that began from another's first stage goes on from it, and from no other."""
    then = begun.get("pretrained")
    if then is None or (out / CHECKPOINT).is_file():  # all of it is in the checkpoint
        return
    if now is None or now["sha256"] != then["sha256"]:
        raise ValueError(
            f"{out}: this run begins from {then['run']}/{then['file']} (sha256 "
            f"{then['sha256'][:12]}), "
            + ("which must be named: pretrained" if now is None else "which is another file now")
        )


def first_stage(run: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the weights after the first stage: runs in which it is equal may share them.

    Args:
        run: What `run.json` says, or will say: "experiment", "config" and "data" with its "root".
    """
    keys = ("method", "labeled_rule", "labeled_reduction", "source", "labeled", "preset", "seed")
    row = {key: run["experiment"].get(key) for key in keys}
    row |= {key: run["experiment"].get(key) for key in ("network", "network_options")}
    options = run["experiment"]["options"]
    row["options"] = {k: v for k, v in options.items() if k not in SECOND_STAGE_OPTIONS}
    config = {k: v for k, v in run["config"].items() if k != "stages"}
    row |= {**config, "first stage": run["config"]["stages"][:1]}
    if not row["source"].startswith("phantom"):  # those are made anew, wherever the cache lies
        row["root"] = run["data"]["root"]
    return row


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
