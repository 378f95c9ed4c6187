"""What a run folder says: `run.json`, and the way back from it to row, data and weights.

A run folder is data and may come from anyone. Loading one never imports a file, module or class
that the caller did not name, see `buarl.outside`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from buarl.arguments import counted
from buarl.capsule import IDS, ROLES, VERSION, digests, fingerprint
from buarl.data.errors import DataError
from buarl.data.source import Source, open_source
from buarl.data.text import read_json, read_text
from buarl.methods import Method
from buarl.outside import Code, require_code
from buarl.training.checkpoint import load_state, write_json, write_text
from buarl.training.config import Config, Experiment, build_method, config_for
from buarl.training.environment import Environment, environment, environments_of
from buarl.training.experiment import rule_name
from buarl.training.identity import changed_words
from buarl.training.lock import trained_by
from buarl.training.loop import CHECKPOINT
from buarl.training.state import csv_text, load_weights, position_in, require_run

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
        "config": (config or config_for(experiment)).as_dict(),
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
    return json.loads(json.dumps(content))


def keep_ids(out: Path, source: Source, labeled: int | None) -> None:
    """Write `ids.csv`, who is used for what; a resumed run must find the same.

    Args:
        out: The run folder. source: Its data. labeled: Labeled patients, None for all.
    Raises:
        ValueError: the folder has an `ids.csv`, and it says something else.
    """
    roles = dict(zip(ROLES, source.split_labeled(labeled), strict=False))
    with suppress(DataError):  # data without a validation list can be trained on
        roles["validation"] = source.listed("val")
    rows = [
        {"role": role, "patient": source.patient(name), "name": name}
        for role, names in roles.items()
        for name in names
    ]
    text, path = csv_text(rows), out / IDS
    if path.is_file() and read_text(path) != text:
        raise ValueError(
            f"{path}: the labeled, unlabeled or validation images are no longer those that this "
            "run began with; bring back the data it knows, or train into a new folder"
        )
    write_text(path, text)


def keep_environment(out: Path, here: Environment) -> None:
    """Write into `run.json` where a run goes on, if that is not as before.

    Args:
        out: The run folder, of an unfinished run. here: Where it is resumed.
    """
    run = read_run(out)
    here = {**here, "precision": run["environment"].get("precision", here["precision"])}  # it stays
    if not run["finished"] and environments_of(run)[-1] != here:
        write_json(out / "run.json", {**run, "resumed": [*run.get("resumed", ()), here]})


def end_run(out: Path, **facts: Any) -> None:
    """Mark a run as finished, and list its files with their checksums, see `buarl.capsule`.

    Args:
        out: The run folder. facts: More for `run.json`.
    """
    run = read_run(out)
    seal = {"capsule": VERSION, "fingerprint": fingerprint(run), "parts": digests(out)}
    write_json(out / "run.json", {**run, "finished": True, **facts, **seal})


_PARTS = {
    "experiment": dict,
    "config": dict,
    "data": dict,
    "environment": dict,
    "finished": bool,
    "experiment.method": str,
    "experiment.source": str,
    "experiment.preset": str,
    "experiment.seed": int,
    "experiment.labeled": (int, type(None)),
    "experiment.options": dict,
    "experiment.labeled_rule": dict,
    "experiment.unlabeled_rule": dict,
    "config.precision": str,
    "config.stages": list,
    "data.root": str,
}
"""What `run.json` must hold; the other keys are newer, or only written."""


def _way_out(folder: Path) -> str:
    """What to do with a folder that is no run: never delete what may hold results."""
    if not folder.is_dir():
        return ""
    if runs := sorted(path.parent.name for path in folder.glob("*/run.json")):
        return f", but it holds {counted(len(runs), 'run')}; name one, such as {folder / runs[0]}"
    if any(not path.name.startswith(".") and path.name != IDS for path in folder.iterdir()):
        return ""
    return "; if a run was killed there before its first step, delete the folder and train again"


def read_run(out: Path) -> dict[str, Any]:
    """`run.json` of a folder.

    Raises:
        ValueError: no run there, or a file that is none of ours; the message names the file and
            the key.
    """
    path = Path(out) / "run.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; {out} is not a run folder{_way_out(Path(out))}")
    run = read_json(path)
    if not isinstance(run, dict):
        raise ValueError(f"{path}: must hold a run, got a {type(run).__name__}")
    for key, kind in _PARTS.items():
        part, found = key.split("."), run
        for name in part:
            if name not in found:
                raise ValueError(f"{path}: damaged, it has no {key}")
            found = found[name]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if type(found) not in kinds:  # True is an int to isinstance, and not here
            names = " or ".join(k.__name__ for k in kinds)
            raise ValueError(f"{path}: {key} must be a {names}, got {found!r:.60}")
    resumed = run.get("resumed", [])
    if not (isinstance(resumed, list) and all(isinstance(each, dict) for each in resumed)):
        raise ValueError(f"{path}: resumed must be a list of environments, got {resumed!r:.60}")
    return run


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
    except (TypeError, KeyError, AttributeError) as error:  # a value of another type
        raise ValueError(f"{Path(out) / 'run.json'}: experiment is no row ({error})") from error


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
        ValueError: no finished run, one in training, a checkpoint that is damaged, of another run
            or not the last, or code that was not named.
        DataError: its data are not there.
    """
    run = read_run(out)
    experiment = _finished(out, run, code)
    if root is None and not experiment.source.startswith("phantom"):  # phantoms are made anew
        root = run["data"]["root"]
    try:
        draw = config_for(experiment, code).labeled_draw
        source = open_source(experiment.source, root).drawn(draw)
    except DataError as error:
        raise DataError(f"{out}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{out}: {error}") from error
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
    run = read_run(out)
    experiment, path = _finished(out, run, code), Path(out) / CHECKPOINT
    try:
        method = build_method(experiment, num_classes, code)
    except ValueError as error:
        raise ValueError(f"{out}: {error}") from error
    state = load_state(path)
    require_run(path, state, fingerprint(run))
    steps = [plan.steps for plan in config_for(experiment, code).stages]
    if (position := position_in(path, state, steps)) != (len(steps), 0):
        raise ValueError(
            f"{path}: stands in stage {position[0] + 1} after {counted(position[1], 'step')}, "
            f"though run.json "
            f"says that the run is finished; `train --resume {out}` trains the rest"
        )
    load_weights(method, path, state)
    return method


def stage_checkpoint(out: Path, stage: int, method: Method) -> Path:
    """Find the checkpoint at the end of an earlier stage of a run, and check that it is that.

    Args:
        out: The folder. stage: Number of the stage, from 0. method: Of that run, for its stages.
    Returns:
        Its path.
    Raises:
        ValueError: none there, damaged, of another run, or of another place.
    """
    run, path = read_run(out), Path(out) / f"{method.stages()[stage].name}.pt"
    if not path.is_file():
        lender = run.get("pretrained")
        why = f"it began from {lender['run']}" if lender else "has it finished its first stage?"
        raise ValueError(f"{path}: no such checkpoint of that run; {why}")
    state = load_state(path)
    require_run(path, state, fingerprint(run))
    if list(state.get("position") or ()) != [stage + 1, 0]:
        raise ValueError(
            f"{path}: its position must be [{stage + 1}, 0], the end of stage {stage + 1}, got "
            f"{state.get('position')}"
        )
    return path


def _finished(out: Path, run: dict[str, Any], code: Code) -> Experiment:
    if (owner := trained_by(out)) is not None:
        raise ValueError(f"{out}: is being trained at this moment ({owner}); wait for its end")
    if not run["finished"]:
        raise ValueError(f"{out}: the run is not finished; resume it first")
    row = row_of_run(out, code)
    if said := changed_words(run, code):
        raise ValueError(f"{out}: {said}")
    return row
