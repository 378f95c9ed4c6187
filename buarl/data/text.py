"""Small text files, whoever wrote them: UTF-8, with or without a mark, or marked UTF-16."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from buarl.data.errors import DataError, reading, require_file

MAX_BYTES = 2**26  # of a list or a table; ours have a few kilobytes
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def decoded(content: bytes, errors: str = "strict") -> str:
    """Text of bytes by their mark, UTF-8 without one; the mark itself is no part of the text.

    >>> decoded(b"\\xef\\xbb\\xbfED: 1"), decoded("ED: 1".encode("utf-16"))
    ('ED: 1', 'ED: 1')
    """
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, errors)
    return content.decode("utf-8", errors)


def read_text(path: Path, what: str = "text file", *, errors: str = "strict") -> str:
    """A text file of at most 64 MiB, independent of the machine's code page.

    Args:
        path: The file.
        what: Its kind, for messages.
        errors: "replace" keeps going where a byte is no text, for files of which only a few plain
            words matter.
    Raises:
        DataError: no such file, too large, or no text. AccessError: it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "Info.cfg"
    ...     _ = path.write_bytes(b"\\xef\\xbb\\xbfED: 1")
    ...     read_text(path)
    'ED: 1'
    """
    path = Path(path)
    require_file(path, f"the {what} does not exist")
    with reading(path, what):
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataError(f"{path}: a {what} may have {MAX_BYTES} bytes, got {size}")
        content = path.read_bytes()
        try:
            return decoded(content, errors)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: a {what} must be UTF-8 text ({error})") from error


def read_json(path: Path, way_out: str = "") -> Any:
    """What a JSON file of ours holds.

    Args:
        path: The file.
        way_out: What to do about a damaged one, for its message.
    Raises:
        ValueError: no JSON; or as `read_text` raises.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, it is no JSON ({error}){way_out}") from error
