"""Progress: a bar in a terminal or a notebook, a line every half minute in a file."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

SECONDS = 30.0


class _Lines:
    """A stream for tqdm that makes a line of what would have been drawn over the last one."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def bar(items: Iterable[Any], title: str, total: int, *, shown: bool, **more: Any) -> Any:
    """A bar of tqdm over items.

    Args:
        items: What is gone through.
        title: What stands before the bar.
        total: How many items there are.
        shown: Whether there is a bar; TQDM_DISABLE=1 hides it all the same.
        more: Other arguments of tqdm.
    Returns:
        Goes through the items. Where nobody watches, as under nohup or in a job of a cluster, it
        writes a line when it begins, every 30 seconds, and at the end, so that a log can be read.
    """
    if not shown:
        more["disable"] = True
    if not (sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")):
        more |= {"file": _Lines(), "mininterval": SECONDS, "maxinterval": SECONDS, "ncols": 100}
    return tqdm(items, title, total, **more)
