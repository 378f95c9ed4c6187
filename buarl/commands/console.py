"""Printing that never fails, whatever the code page of the terminal or of the file behind it."""

from __future__ import annotations

import sys


def print_whatever_comes() -> None:
    """From now on a sign that the terminal cannot show is printed as its number.

    Without this, `print` raises in the middle of an evaluation as soon as a name holds a sign that
    the machine's code page lacks (cp1252 on many Windows machines), or that is no UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
