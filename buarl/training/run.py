"""A run folder: one experiment trained, with all that is needed to know how its numbers came about.

What lies there stands in `buarl.capsule`, which reads it; a run is resumed and evaluated from the
checkpoints `last.pt` and `<stage>.pt`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from buarl.capsule import HISTORY
from buarl.data.contents import check_contents, contents_of
from buarl.data.source import Source
from buarl.fast.memory import peak_mib
from buarl.outside import Code, code_digests
from buarl.training.checkpoint import remove_leftovers, write_json, write_text
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.devices import Devices, NotStarted, PeerLost, started
from buarl.training.engine import Engine, Precision, choose_engine
from buarl.training.first_stage import (
    check_lent,
    check_same,
    first_stage,
    lent,
    stage_end,
)
from buarl.training.group import ALONE, Group
from buarl.training.lock import owned
from buarl.training.loop import CHECKPOINT, Callback, FitResult, fit
from buarl.training.older_runs import without_removed_precision
from buarl.training.run_folder import (
    SELECTION,
    describe,
    end_run,
    environment,
    fingerprint,
    keep_environment,
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
    "stage_checkpoint",
]


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
        resume: Go on from the folder's last checkpoint. Of a finished run nothing is written.
        pretrained: Another run folder whose first stage is taken over; what decided that stage
            (method, network, data, seed, labeled rule and its normalizer) must be the same.
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
    source = _with_draw(source, config)
    method = build_method(experiment, source.num_classes, code, config)
    description = describe(experiment, source, config)
    devices = replace(devices, device=device) if devices.count > 1 else devices
    alone = devices.count > 1 and not started()
    group = ALONE if alone else devices.join()
    engine = choose_engine(group.device or device, config.precision)
    description["environment"] |= {"device": str(engine.device), "precision": engine.precision}
    if devices.count > 1:
        description["environment"] |= {"devices": devices.count, "batch_norm": devices.batch_norm}
    if code:
        description["environment"]["code"] = code_digests(code)
    description["data"]["contents"] = contents_of(source, experiment.labeled)
    if resume:
        read_run(out)
    elif out.exists() and group.first:
        raise FileExistsError(_exists(out))
    begin_from = None if pretrained is None else stage_end(Path(pretrained), description, method)
    if begin_from is not None:
        description["pretrained"] = lent(begin_from)
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
    keep = partial(keep_ids, out, source, experiment.labeled)
    return _train_and_write(out, description, config, resume, keep, train, command)


def _with_draw(source: Source, config: Config) -> Source:
    """The data with the labeled patients that the row says; another draw is not lost silently."""
    ours, asked = source.labeled_draw, config.labeled_draw
    if ours not in (None, asked):
        theirs = "the first of the list" if asked is None else f"those of draw {asked}"
        raise ValueError(
            f"the source labels the patients of draw {ours}, the row {theirs}; a row says which by "
            f"set labeled_draw={ours}, and the source is given undrawn"
        )
    return source.drawn(asked)


def _train_and_write(
    out: Path,
    description: dict[str, Any],
    config: Config,
    resume: bool,
    keep: Callable[[], None],
    train: Callable[[], FitResult],
    command: str | None,
) -> FitResult:
    """What the first process does: the folder is its own while it trains."""
    if not resume:
        out.mkdir(parents=True)
    with owned(out):
        remove_leftovers(out)  # of writers that were killed
        before: Mapping[str, Any] = {}
        try:
            if resume:
                before = _check_begun(out, description, config.precision)
            else:
                write_json(out / "run.json", description)
            keep()
            if resume:  # after every check: what is refused here was trained elsewhere
                keep_environment(out, description["environment"])
            result = None if command is not None else train()
        except PeerLost:  # the folder stays: the run goes on from where it stands
            raise
        except Exception as error:  # of whatever kind: code from outside may raise any
            _leave(out, error, ours=not resume)
            raise
        if result is None:
            raise NotStarted(command)
        ended = before.get("finished") and "parts" in before
        if ended and before.get("seconds") == result.seconds:
            return result  # nothing was trained: what was sealed stays as it is
        write_text(out / HISTORY, csv_text(result.history))
        end_run(out, seconds=result.seconds, peak_mib=peak_mib())
    return result


def _check_begun(out: Path, description: dict[str, Any], precision: str) -> dict[str, Any]:
    """Check that the run to resume is the one at hand, and return it."""
    begun = without_removed_precision(out, read_run(out), precision)
    check_same(out, description, begun, ("experiment", "config"))
    check_contents(out, begun["data"], description["data"]["contents"])
    check_lent(out, begun, description.get("pretrained"))
    return begun


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
        shutil.rmtree(out, ignore_errors=True)  # its lock may be held; the error comes first
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
