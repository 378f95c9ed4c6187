"""A first stage that another run lends: what decides it, and the check that it is the one named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from buarl.arguments import where_different
from buarl.data.contents import check_contents
from buarl.methods import Method
from buarl.training.loop import CHECKPOINT
from buarl.training.run_folder import read_run, stage_checkpoint

SECOND_STAGE_OPTIONS = (
    *("entropy_from", "url_in_stage2", "unlabeled_weight", "ema_decay"),
    "strong_views",
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


def stage_end(folder: Path, description: dict[str, Any], method: Method) -> Path:
    """The checkpoint after the first stage of another run that began as this one would.

    Args:
        folder: The other run. description: What `run.json` of this one will say.
        method: Of this run, for its stages.
    Raises:
        ValueError: a method of one stage, or a run that was decided by anything else.
    """
    stages = method.stages()
    if len(stages) < 2:
        raise ValueError(
            f"pretrained needs two stages, got {description['experiment']['method']!r}"
        )
    theirs = read_run(folder)
    parts = [{"first stage": first_stage(run)} for run in (description, theirs)]
    check_same(folder, *parts, ("first stage",))
    check_contents(folder, theirs["data"], description["data"]["contents"])
    return stage_checkpoint(folder, 0, method)


def lent(path: Path) -> dict[str, str]:
    """What run.json says of another run's first stage; a path would tell of a machine.

    Args:
        path: The checkpoint at its end.
    """
    digest = sha256(path.read_bytes()).hexdigest()
    return {"run": path.resolve().parent.name, "file": path.name, "sha256": digest}


def check_lent(out: Path, begun: Mapping[str, Any], now: Mapping[str, Any] | None) -> None:
    """A run that began from another's first stage goes on from it, and from no other.

    Args:
        out: The run folder. begun: Its `run.json`. now: What `lent` says of the run named now.
    Raises:
        ValueError: none is named, or another one.
    """
    then = begun.get("pretrained")
    if then is None or (out / CHECKPOINT).is_file():  # all of it is in the checkpoint
        return
    if now is None or now["sha256"] != then["sha256"]:
        raise ValueError(
            f"{out}: this run begins from {then['run']}/{then['file']} (sha256 "
            f"{then['sha256'][:12]}), "
            + ("which must be named: pretrained" if now is None else "which is another file now")
        )


def check_same(
    folder: Path, ours: dict[str, Any], theirs: dict[str, Any], parts: Sequence[str]
) -> None:
    """Stop where two descriptions of a run differ in anything that decides its weights.

    Args:
        folder: Where theirs stands, for the message. ours, theirs: As in `run.json`.
        parts: Which keys of both are compared.
    Raises:
        ValueError: the first value that differs; the message has both.
    """
    for part in parts:
        keys = [*ours[part], *(key for key in theirs[part] if key not in ours[part])]
        for key in keys if part == "experiment" else ours[part]:
            if key == "checkpoint_every":  # decides nothing
                continue
            value, found = ours[part].get(key), theirs[part].get(key)
            if value != found:
                key, found, value = where_different(key, found, value)
                raise ValueError(f"{folder}: {part} has {key} = {found}, now it is {value}")
