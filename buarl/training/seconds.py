"""How long the stages of a run took, read from a `run.json` that anyone may have written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def seconds_of(run: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Seconds of training by the name of the stage; none where the run is not finished.

    Args:
        run: The content of `run.json`.
        folder: The run folder, for the message.
    Raises:
        ValueError: something else stands there; the message names the file.

    >>> seconds_of({"seconds": {"pretrain": 1.5}}, Path("runs/a"))
    {'pretrain': 1.5}
    >>> seconds_of({"seconds": "x"}, Path("runs/a"))
    Traceback (most recent call last):
    ValueError: ...run.json: damaged, seconds must be a table with a number for each stage, \
got 'x'; bring the file back from a copy
    """
    found = run.get("seconds")
    found = {} if found is None else found
    if not isinstance(found, Mapping) or not all(map(_is_time, found.values())):
        raise ValueError(
            f"{Path(folder) / 'run.json'}: damaged, seconds must be a table with a "
            f"number for each stage, got {found!r:.60}; bring the file back from a copy"
        )
    return dict(found)


def _is_time(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0
