"""Script and style of the widgets, beside the code that packs what they show."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def read(*names: str) -> str:
    """Files of this folder, one after the other; a module of JavaScript may be cut into several.

    Args:
        names: Of the files.
    """
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
