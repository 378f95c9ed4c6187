"""What is wrong with a file, in one sentence: the rule that it breaks, or why it cannot be reached.

Two kinds are kept apart. A `DataError` is about content. Its child `AccessError` is about the
machine: locked, no permission, a full disk. Such a file may be perfectly right, so nobody should
replace it.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


class DataError(ValueError):
    """Data that breaks a rule; the message names the file, the rule and the value found."""


class AccessError(DataError):
    """A file that cannot be read or written here and now; its content may be right."""


LOCKED = "locked, another program has it open for writing; close that program and try again"
CAUSES = {
    errno.EAGAIN: LOCKED,
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the disk can only be read",
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk is full (quota); make room",
    errno.EFBIG: "larger than this system lets a file become (ulimit -f)",
    errno.EISDIR: "a folder, not a file",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file stands where a folder should be",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "links that lead in a circle",
    errno.EMFILE: "too many files are open (ulimit -n)",
    errno.ENFILE: "too many files are open",
    errno.EIO: "the disk reports an error",
    errno.ENOMEM: "not enough memory",
}
LOOKS_LIKE = {  # how files begin that often lie where an image should
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"\x89HDF": "an h5 file",
    b"\x89PNG": "a PNG picture",
    b"NRRD": "an NRRD file",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<": "a web page or XML",
}


def access_cause(error: BaseException) -> str | None:
    """What the machine has against a file, in plain words; None if it has nothing.

    >>> access_cause(PermissionError(13, "Permission denied"))
    'no permission'
    >>> access_cause(OSError("file signature not found")) is None
    True
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    if not isinstance(error, OSError | RuntimeError):
        return None
    number = getattr(error, "errno", None)
    inner = re.search(r"errno = (\d+)", str(error))  # HDF5 often has it in its text only
    if number is None and inner:
        number = int(inner[1])
    if "unable to lock file" in str(error) or "already open for" in str(error):
        return LOCKED
    return CAUSES.get(number)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence about the file.

    Args:
        path: The file that is read.
        what: Its kind, such as "h5 file".
    Raises:
        AccessError: the machine is the reason. DataError: anything else; it calls the file damaged
            or cut short and says in brackets what the reader said.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if cause := access_cause(error):
            raise AccessError(f"{path}: {cause}") from error
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: not a readable {what}, damaged or cut short ({said[:300]}{_looks(path)})"
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while writing into one sentence: `AccessError` with file and cause."""
    try:
        yield
    except (OSError, MemoryError) as error:
        cause = access_cause(error) or getattr(error, "strerror", None) or str(error)
        raise AccessError(f"{path}: cannot be written: {cause}") from error


def require_file(path: Path, missing: str = "no such file") -> None:
    """Refuse what is not an ordinary file, and say what is there instead.

    Args:
        path: What should be a file.
        missing: What to say if nothing is there.
    Raises:
        AccessError: a folder, a device, or a place that cannot be looked into.
        DataError: nothing there; a name that differs only in its case or Unicode form is named.
    """
    with reading(path, "file"):
        if path.is_file():
            return
        refuse_folder(path)
        if path.exists():
            raise AccessError(f"{path}: not an ordinary file")
        raise DataError(f"{path}: {missing}{_twin(path)}")


def refuse_folder(path: Path) -> None:
    """Refuse a folder where a file should be; some copies of public data unpack files to folders.

    Raises:
        AccessError: it is a folder; what it holds is named.
    """
    if path.is_dir():
        inside = sorted(os.listdir(path))[:1]
        hint = f"; it holds {inside[0]!a}: move that file up" if inside else ""
        raise AccessError(f"{path}: a folder that is named like a file{hint}")


def require_folder(path: Path) -> None:
    """Refuse what is not a folder.

    Raises:
        DataError: nothing there. AccessError: a file, or a place that cannot be looked into.
    """
    with reading(path, "folder"):
        if path.is_dir():
            os.listdir(path)
            return
        if path.exists():
            raise AccessError(f"{path}: a file, not a folder")
        raise DataError(f"{path}: no such folder{_twin(path)}")


def require_module(path: Path, name: str, package: str, *, extra: str = "io") -> ModuleType:
    """A module of an extra.

    Args:
        path: The file that needs it.
        name: The name of the module.
        package: What pip calls it.
        extra: The extra of buarl that brings it.
    Raises:
        AccessError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise AccessError(f"{path}: needs {package}: pip install 'buarl[{extra}]'") from error


def same_name(name: str) -> str:
    """A name in the one Unicode form (NFC) in which names are compared here.

    >>> same_name("Mu\\u0308ller") == same_name("M\\u00fcller")
    True
    """
    return unicodedata.normalize("NFC", name)


def _twin(path: Path) -> str:
    """A note on a neighbor whose name differs in case or Unicode form only."""
    wanted = same_name(path.name).casefold()
    try:
        names = [name for name in os.listdir(path.parent) if name != path.name]
    except OSError:
        return ""
    twins = [name for name in names if same_name(name).casefold() == wanted]
    return f"; there is {twins[0]!a}, the name differs in case or Unicode form" if twins else ""


def _looks(path: Path) -> str:
    """A note on what a file seems to be, by its first bytes."""
    try:
        with path.open("rb") as file:
            begin = file.read(32)
    except OSError:
        return ""
    suffixes = {"an h5 file": ".h5", "a gzip file": ".gz", "an NRRD file": ".nrrd"}
    for mark, kind in LOOKS_LIKE.items():
        if begin.lstrip().startswith(mark) and not path.name.lower().endswith(
            suffixes.get(kind, "\0")
        ):
            return f"; it begins like {kind}"
    return "; the file is empty" if not begin else ""
