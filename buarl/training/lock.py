"""One process at a time trains into a run folder."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, OWNER = ".lock", ".owner.json"
GRACE = 2.0  # seconds; an owner has said its name long before
NAMED = 0.1  # seconds; the name may be that of a killed process, and the lock that of a looker


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a run folder while inside; the system lets go of it when the process ends, however.

    Args:
        folder: An existing run folder.
    Raises:
        ValueError: another living process holds it; the message says which and since when.
    """
    folder = Path(folder)
    lock = FileLock(folder / LOCK)
    if not _acquired(lock, folder):
        raise ValueError(
            f"{folder}: another process trains into this folder ({_owner(folder)}); wait for it, "
            "stop it, or choose another folder"
        )
    try:
        owner = {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def trained_by(folder: Path) -> str | None:
    """Who trains into a run folder at this moment; None if nobody does, or nobody can tell.

    Args:
        folder: Any folder; nothing is written there.
    """
    folder = Path(folder)
    if not (folder / LOCK).is_file():
        return None
    lock = FileLock(folder / LOCK)
    try:
        if not _acquired(lock, folder):
            return _owner(folder)
    except OSError:  # a folder that can only be read: nobody trains there either
        return None
    lock.release()
    return None


def _acquired(lock: FileLock, folder: Path) -> bool:
    """Whether the lock could be had; one that only looks holds it for a moment and says no name."""
    begun = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0)
            return True
        except Timeout:
            patience = NAMED if (folder / OWNER).is_file() else GRACE
            if time.monotonic() - begun > patience:
                return False
        time.sleep(0.005)


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {owner['process']} on {owner['machine']}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not said which"
