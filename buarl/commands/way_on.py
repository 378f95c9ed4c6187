"""What to say of a training that has ended before its end, and the command that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buarl.commands.words import program, quoted
from buarl.training.loop import CHECKPOINT, StopTraining

if TYPE_CHECKING:
    from buarl.commands.train import Train


def after_interruption(train: Train, reason: BaseException, folder: Path) -> str:
    """Say to whoever interrupted where the run stands.

    Args:
        train: The command. reason: What it was interrupted by. folder: The run folder.
    """
    if not folder.is_dir():
        return "interrupted before anything was begun"
    state = "saved after the last step" if isinstance(reason, StopTraining) else "stopped"
    return f"interrupted, {state}; go on with: {_command_on(train, folder)}"


def after_failure(train: Train) -> str:
    """Say of a run whose processes have ended before it was finished where it stands.

    Args:
        train: The command.
    """
    folder = train.out or train.resume
    if folder is None or not (folder / "run.json").is_file():
        return "nothing was begun"
    state = "its last checkpoint" if (folder / CHECKPOINT).is_file() else "its beginning"
    return f"it goes on from {state}, with these devices or others: {_command_on(train, folder)}"


def _command_on(train: Train, folder: Path) -> str:
    places = dict.fromkeys(train.places())
    words = [f"--resume {quoted(folder)}", *(f"--code {quoted(place)}" for place in places)]
    saved = (folder / CHECKPOINT).is_file()
    options = {
        "root": train.root,
        "pretrained": None if saved else train.pretrained,
        "device": None if train.device == "auto" else train.device,
        "validate": train.validate or None,
        "memory-budget": train.memory_budget,
        "log": train.log,
        "threads": train.threads or None,
        "devices": train.devices if train.devices > 1 else None,
        "nodes": train.nodes if train.nodes > 1 else None,
        "batch-norm": None if train.batch_norm == "synchronized" else train.batch_norm,
    }
    words += [f"--{name} {quoted(value)}" for name, value in options.items() if value]
    words += [f"--{name}" for name in ("record", "compile") if getattr(train, name)]
    return f"{program()} train {' '.join(words)}"
