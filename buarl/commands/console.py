"""Printing that never fails, whatever the code page of the terminal or of the file behind it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tqdm import tqdm

from buarl.data.errors import access_cause
from buarl.outside import own_line


def print_whatever_comes() -> None:
    """From now on a sign that the terminal cannot show is printed as its number.

    Without this, `print` raises in the middle of an evaluation as soon as a name holds a sign that
    the machine's code page lacks (cp1252 on many Windows machines), or that is no UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line on stderr, which leaves a progress bar whole."""
    tqdm.write(f"buarl: {text}", file=sys.stderr)


def sentence(error: BaseException) -> str:
    """What to say of an error: its own words, or the cause in plain ones where the machine refused.

    >>> sentence(PermissionError(13, "Permission denied", "runs/mine"))
    'runs/mine: no permission'
    """
    if isinstance(error, MemoryError):
        return f"not enough memory ({error})" if str(error) else "not enough memory"
    name, cause = getattr(error, "filename", None), access_cause(error)
    if isinstance(error, OSError) and name is not None and cause is not None:
        return f"{name}: {cause}"
    return str(error) or type(error).__name__


def own_sentence(error: BaseException, *, expected: bool) -> str | None:
    """What to say of an error that passed through a person's own code: its words, and the line.

    Args:
        error: What was raised.
        expected: Whether its own words are a sentence for people; else its kind is said as well.
    Returns:
        One line; None where the error arose without such code, or already says the line.
    """
    line = own_line(error)
    if line is None or (expected and line.filename in str(error)):
        return None
    said = " ".join(sentence(error).split())
    kind = "" if expected else f"{type(error).__name__}: "
    file = Path(line.filename)
    place = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    shown = os.environ.get("BUARL_DEBUG") == "1"
    more = "" if shown else "; BUARL_DEBUG=1 shows the traceback"
    return f"{place}, line {line.lineno}, in {line.name}: {kind}{said:.500}{more}"
