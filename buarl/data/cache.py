"""Things made once and kept: the user's cache, and folders that are complete or absent.

Several processes may ask for the same thing at the same moment, and any of them may be killed
while it writes. Nothing here leaves half a result behind under the final name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from filelock import FileLock

from buarl.data.errors import DataError

Made = TypeVar("Made")


def cache_root() -> Path:
    """The folder for everything that can be made again: $BUARL_CACHE, or ~/.cache/buarl."""
    return Path(os.environ.get("BUARL_CACHE") or Path.home() / ".cache" / "buarl")


def made_once(path: Path, read: Callable[[], Made | None], make: Callable[[], Made]) -> Made:
    """Return what is kept at a path of the cache, and make it first if it is missing.

    Of several processes that find it missing, one makes it and the others wait for that one.

    Args:
        path: Where it is kept. The lock is a file beside it, `<path>.lock`.
        read: Reads it from there; returns None if it is missing or damaged.
        make: Makes it there and returns it.
    Returns:
        What `read` found, or what `make` returned.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> note = Path(folder.name) / "note.txt"
    >>> def read():
    ...     return note.read_text() if note.is_file() else None
    >>> def make():
    ...     note.write_text("made")
    ...     return "made just now"
    >>> made_once(note, read, make), made_once(note, read, make)
    ('made just now', 'made')
    >>> folder.cleanup()
    """
    found = read()
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            found = read()  # another process may have made it while we waited
            if found is None:
                found = make()
    return found


def is_new_or_empty(folder: Path) -> bool:
    """Whether a folder can be filled without losing or mixing anything: it is absent or empty.

    >>> is_new_or_empty(Path("no such folder")), is_new_or_empty(Path(__file__))
    (True, False)
    """
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextmanager
def built_beside(root: Path) -> Iterator[Path]:
    """Build a folder under a temporary name beside its final place, then rename it.

    After an error the half-built folder is removed, so `root` is complete or absent.

    Args:
        root: The final place, new or an empty folder (see `is_new_or_empty`).
    Yields:
        The folder to build in.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> root = Path(folder.name) / "data"
    >>> with built_beside(root) as built:
    ...     _ = (built / "train.list").write_text("a\\n")
    ...     print("there already" if root.exists() else "not yet there")
    not yet there
    >>> [path.name for path in root.iterdir()]
    ['train.list']
    >>> folder.cleanup()
    """
    if os.path.ismount(root):  # cannot be replaced by what is built beside it
        raise DataError(f"{root}: is a mount point; name a new folder inside it")
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = root.parent / f".{root.name}-{token_hex(4)}"
    built = scratch / "built"
    try:  # around the making too: a signal may come between two lines
        scratch.mkdir(mode=0o700)
        built.mkdir()
        yield built
        if root.exists():
            root.rmdir()  # renaming onto an empty folder is not portable
        built.rename(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
