"""Writing files so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there in one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, atomically."""
    write_atomic(path, lambda temporary: temporary.write_text(text))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """A checkpoint of tensors and plain types only, so that it loads with `weights_only=True`."""
    write_atomic(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint back.

    Raises:
        ValueError: no such file, or not a checkpoint of ours; the message names the file.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: not a readable checkpoint ({error})") from error
