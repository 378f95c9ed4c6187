"""What the commands share: KEY=VALUE, how the program is called, a path as one word."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

Words = tuple[str, ...]

Pairs = Annotated[
    tuple[tuple[str, ...], ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="KEY=VALUE [KEY=VALUE ...]"),
]
"""An option that takes any number of KEY=VALUE, and may stand there several times."""

Places = Annotated[
    tuple[str, ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="FILE.py:NAME|PACKAGE.MODULE:NAME"),
]
"""Where code from outside the package lies; see `buarl.outside`."""


Raw = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RAW")]
Images = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Run = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]")]
"""Words without the name of an option, by their names in usage, help and errors."""


def pairs(groups: Sequence[Sequence[str]], option: str) -> dict[str, Any]:
    """The values of KEY=VALUE words; KEY VALUE in two words means the same.

    Args:
        groups: The words, one group for each time that the option stands there.
        option: Its name, for the message.
    Raises:
        ValueError: a key without a value, or named twice.

    >>> pairs([["steps=2000", "image_size=192,192"], ["schedule=poly"]], "--set")
    {'steps': 2000, 'image_size': [192, 192], 'schedule': 'poly'}
    """
    words = [word for group in groups for word in group]
    found: dict[str, Any] = {}
    while words:
        key, mark, text = words.pop(0).partition("=")
        if not mark and (not words or "=" in words[0]):
            raise ValueError(f"{option} takes KEY=VALUE, got {key!r} without a value")
        if key in found:
            raise ValueError(f"{option} takes every key once, got {key!r} twice")
        found[key] = value_of(text if mark else words.pop(0))
    return found


def value_of(text: str) -> Any:
    """A number, True, False, None or a list of them if a word reads as one, else the word.

    >>> value_of("0.03"), value_of("8,8"), value_of("lnC"), value_of("true")
    (0.03, [8, 8], 'lnC', True)
    """
    constants = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return json.loads(json.dumps(ast.literal_eval(text)))  # tuples become lists
    except (ValueError, SyntaxError, TypeError):
        return text


def program() -> str:
    """How a person calls this program from here, as it works when typed or pasted.

    `buarl` where that is on the path, and is this one; else the place of the script beside this
    Python, `.venv/bin/buarl`; else that Python itself, `.venv/bin/python -m buarl`.
    """
    script = shutil.which("buarl", path=str(Path(sys.executable).parent))
    if script is None:
        return python_module("buarl")
    found = shutil.which("buarl")
    if found is not None and Path(found).resolve() == Path(script).resolve():
        return "buarl"
    return _typed(script)


def python_module(name: str) -> str:
    """How a person starts a module with the Python at hand: `python -m NAME` where that is it."""
    return f"{_typed(sys.executable)} -m {name}"


def _typed(executable: str) -> str:
    """An executable as a word: its name where the path leads there, else its shortest place."""
    place = Path(executable)
    found = shutil.which(place.name)
    if found is not None and Path(found).absolute() == place:
        return place.name
    near = Path(".venv") / place.parent.name / place.name  # perhaps by a link
    if near.is_file() and near.parent.resolve() == place.parent.resolve():
        return quoted(near)
    here = Path.cwd()
    return quoted(place.relative_to(here) if place.is_relative_to(here) else place)


def command_line(words: Sequence[str]) -> str:
    """A whole command of this program, as a line to paste.

    >>> command_line(["evaluate", "my runs/1"]).endswith('buarl evaluate "my runs/1"')
    True
    """
    return " ".join([program(), *(quoted_word(word) for word in words)])


def quoted(path: Path | str | int) -> str:
    """A path as one word of a command line.

    >>> quoted("runs/mine"), quoted("my runs/1"), quoted("-x")
    ('runs/mine', '"my runs/1"', './-x')
    """
    text = str(path)
    return quoted_word(f"./{text}" if text.startswith("-") else text)  # else it were an option


def quoted_word(text: str) -> str:
    """Any text as one word of a command line.

    >>> quoted_word("--out"), quoted_word(""), quoted_word("a b")
    ('--out', '""', '"a b"')
    """
    if re.fullmatch(r"[\w@%+=:,./\\-]+", text) and (os.name == "nt" or "\\" not in text):
        return text
    return shlex.quote(text) if os.name != "nt" and set(text) & set('"$`!\\') else f'"{text}"'
