"""A run folder: one experiment trained, with all that is needed to know how its numbers came about.

`run.json` (row, numbers, environment, rules), `history.csv`, `last.pt`, `<stage>.pt`, and after an
evaluation `metrics_<split>.csv`.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from buarl.data.source import Source
from buarl.fast.memory import peak_mib
from buarl.methods import Method
from buarl.outside import Code
from buarl.training.checkpoint import remove_leftovers, write_json, write_text
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.devices import Devices, NotStarted, started
from buarl.training.engine import Engine, Precision, choose_engine
from buarl.training.group import ALONE, Group
from buarl.training.lock import owned
from buarl.training.loop import CHECKPOINT, Callback, FitResult, fit
from buarl.training.older_runs import without_removed_precision
from buarl.training.run_folder import (
    SELECTION,
    describe,
    environment,
    fingerprint,
    load_method,
    load_run,
    read_run,
    row_of_run,
    stage_checkpoint,
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
    devices: Devices = Devices(),
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
        devices: How many devices share the run. It is not a part of the row: a run may be resumed
            with more of them or fewer.
    Raises:
        FileExistsError: the folder exists and is not resumed.
        ValueError: a row that differs from the folder's, that sets what cannot be, or that needs
            code that was not named.
        NotStarted: several devices, in a process that was not started for them, such as a
            notebook. The folder is begun, and the message is the command that trains into it.
    """
    out = Path(out)
    config = _with_precision(experiment, config_for(experiment, code), precision)
    method = build_method(experiment, source.num_classes, code, config)
    description = describe(experiment, source, config)
    devices = replace(devices, device=device) if devices.count > 1 else devices
    alone = devices.count > 1 and not started()
    group = ALONE if alone else devices.join()
    engine = choose_engine(group.device or device, config.precision)
    description["environment"] |= {"device": str(engine.device), "precision": engine.precision}
    if devices.count > 1:
        description["environment"] |= {"devices": devices.count, "batch_norm": devices.batch_norm}
    source.split_labeled(experiment.labeled)
    if resume:
        read_run(out)
    elif out.exists() and group.first:
        raise FileExistsError(_exists(out))
    begin_from = None if pretrained is None else _stage_end(Path(pretrained), description, method)
    if begin_from is not None:
        description["pretrained"] = _lent(begin_from)
    learn = partial(
        fit,
        method,
        source,
        out=out,
        begin_from=begin_from,
        device=device,
        compiler=compiler,
        record=record,
        progress=progress and group.first,
        callback=callback,
        group=group,
    )
    train = partial(_train_in, out, config, engine, resume, learn, group)
    if not group.first:
        return train()
    command = devices.command(out, pretrained, code) if alone else None
    return _train_and_write(out, description, config, resume, train, command)


def _train_and_write(
    out: Path,
    description: dict[str, Any],
    config: Config,
    resume: bool,
    train: Callable[[], FitResult],
    command: str | None,
) -> FitResult:
    """What the first process does: the folder is its own while it trains."""
    if not resume:
        out.mkdir(parents=True)
    with owned(out):
        remove_leftovers(out)  # of writers that were killed
        try:
            if resume:
                _check_begun(out, description, config.precision)
            else:
                write_json(out / "run.json", description)
            result = None if command is not None else train()
        except (ValueError, OSError, FloatingPointError) as error:
            _leave(out, error, ours=not resume)
            raise
        if result is None:
            raise NotStarted(command)
        write_text(out / "history.csv", _history_csv(result.history))
        end = {"finished": True, "seconds": result.seconds, "peak_mib": peak_mib()}
        write_json(out / "run.json", {**read_run(out), **end})
    return result


def _check_begun(out: Path, description: dict[str, Any], precision: str) -> None:
    """Check that the run to resume is the one at hand."""
    begun = without_removed_precision(out, read_run(out), precision)
    _check_same(out, description, begun, ("experiment", "config"))
    _check_lent(out, begun, description.get("pretrained"))


def _train_in(
    out: Path,
    config: Config,
    engine: Engine,
    resume: bool,
    learn: Callable[..., FitResult],
    group: Group,
) -> FitResult:
    """Train into a folder that has its run.json, with the precision with which it began.

    "auto" may mean something else on this machine.
    """
    group.wait()  # for the folder, which the first process makes
    begun = without_removed_precision(out, read_run(out), config.precision)
    precision = begun["environment"].get("precision", engine.precision)
    return learn(
        config=replace(config, precision=precision),
        run=fingerprint(begun),
        resume=resume and (out / CHECKPOINT).is_file(),
    )


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
    parts = [{"first stage": _first_stage(run)} for run in (description, read_run(folder))]
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


def _first_stage(run: dict[str, Any]) -> dict[str, Any]:
    """What decides the weights after the first stage."""
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


def _history_csv(history: list[dict]) -> str:
    columns = list(dict.fromkeys(key for row in history for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
