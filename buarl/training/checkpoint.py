"""Files that are whole or absent: a crash leaves the old one or the new one, never half of one.

A checkpoint is also checked: it holds finite numbers only, and every part of it carries a checksum
(those of its zip archive) which is compared before a number of it is used.
"""

from __future__ import annotations

import json
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from buarl.data.errors import access_cause

NOT_FINITE = (
    "try a smaller learning rate, or look for images whose values are far from those of the others"
)
FOLDER = 0x10  # bit of a part's attributes in a zip archive
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError)
LEFTOVER = ".new"  # ending of a file that is being written


UMASK = os.umask(0o022)
os.umask(UMASK)  # can only be read by setting it


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there in one step.

    Args:
        path: The file; an old one stays until the new one is complete and on the disk.
        write: Gets the temporary path and fills it.
    Raises:
        OSError: the disk is full, the folder is gone or not ours; the message names the file.
    """
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=LEFTOVER)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with temporary.open("rb+") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~UMASK)  # as any new file; mkstemp lets nobody else read
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        if "inline_container" in reason:  # all that torch says of a write that failed
            reason = f"the disk is full, or a limit of this system is reached; torch: {reason}"
        raise OSError(f"{path}: could not be written ({reason})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Refuse a folder that nothing can be written into, before minutes of work are lost on it.

    Args:
        folder: Made if missing.
    Raises:
        OSError: it cannot be made or written into; the message names it.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = access_cause(error) or error.strerror
        raise OSError(f"{folder}: nothing can be written there ({reason})") from error


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete what killed writers left in a folder; call it only where no one else writes.

    Args:
        folder: Where `write_atomic` wrote.
    Returns:
        The files that were deleted.
    """
    found = sorted(Path(folder).glob(f".*{LEFTOVER}"))
    for path in found:
        path.unlink(missing_ok=True)
    return found


def write_text(path: Path, text: str) -> None:
    """A UTF-8 text file with Unix line ends, whatever the machine's code page, atomically."""
    write_atomic(path, lambda temporary: temporary.write_bytes(text.encode("utf-8")))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """A checkpoint of tensors and plain types only, so that it loads with `weights_only=True`.

    The old file stays until the new one has been read back and found whole.

    Args:
        path: The file. state: Nested dicts and lists of tensors, numbers and texts.
    Raises:
        FloatingPointError: a tensor holds NaN or an infinite number; nothing is written.
        OSError: see `write_atomic`.
    """
    for name, tensor in _tensors(state):
        if not _is_finite(tensor):
            raise FloatingPointError(
                f"{path}: not written, as {name} holds NaN or an infinite number; a checkpoint "
                f"from before stays: {NOT_FINITE}"
            )

    def write(temporary: Path) -> None:
        torch.save(state, temporary)
        if (damaged := _damage(temporary)) is not None:
            raise OSError(f"read back damaged, {damaged}")

    write_atomic(path, write)


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint back, after its checksums have been compared.

    Args:
        path: A file of `save_state`. device: Where its tensors go.
    Raises:
        ValueError: no such file, damaged, not a checkpoint of ours, or one that holds NaN or an
            infinite number; the message names the file and what is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    if (damaged := _damage(path)) is not None:
        raise ValueError(f"{path}: damaged, {damaged}; take an earlier checkpoint or train again")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{path}: not a checkpoint of buarl ({reason})") from error
    if not isinstance(state, dict):
        raise ValueError(
            f"{path}: not a checkpoint of buarl (a {type(state).__name__}, not a dict)"
        )
    for name, tensor in _tensors(state):
        if not _is_finite(tensor):
            raise ValueError(
                f"{path}: {name} holds NaN or an infinite number, so this network computes nothing"
            )
    return state


def _damage(path: Path) -> str | None:
    """What is wrong with a zip archive, or None: the CRC-32 of every part is computed anew."""
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
            parts = archive.infolist()
            # One flipped bit calls a part a folder, and torch then takes for its numbers whatever
            # stands in the memory, without a word.
            odd = [part.filename for part in parts if part.external_attr & FOLDER]
            if odd or len({part.filename for part in parts}) < len(parts):
                return f"a part is a folder or stands twice, {(odd or archive.namelist())[0]!r:.80}"
            part = archive.testzip()
        except (*ZIP_ERRORS, EOFError, OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())  # a wild offset in its directory: OSError
            return f"not a whole zip archive ({said})"
    return None if part is None else f"its part {part!r:.80} does not match its checksum"


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of nested dicts and lists, with their places as names."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, Mapping | list | tuple):
        items = state.items() if isinstance(state, Mapping) else enumerate(state)
        for key, value in items:
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
