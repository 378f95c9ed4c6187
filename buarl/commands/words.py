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
    """How a person calls this program: `buarl` where that is on the path, and is this one."""
    found = shutil.which("buarl")
    ours = found is not None and Path(found).parent == Path(sys.executable).parent
    return "buarl" if ours else "python -m buarl"


def quoted(path: Path | str | int) -> str:
    """As one word of a command line.

    >>> quoted("runs/mine"), quoted("my runs/1")
    ('runs/mine', '"my runs/1"')
    """
    text = str(path)
    if text.startswith("-"):
        text = f"./{text}"  # else it would be an option
    if re.fullmatch(r"[\w@%+=:,./\\-]+", text) and (os.name == "nt" or "\\" not in text):
        return text
    return shlex.quote(text) if os.name != "nt" and set(text) & set('"$`!\\') else f'"{text}"'
