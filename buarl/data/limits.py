"""How much one array may ask for: checked against the file before anything is allocated.

This bounds what a file from a stranger can cost. Reading takes memory for the voxels as they are
declared, 8 GiB at most, and time in proportion; a file of a few kilobytes gets 1 GiB at most.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from buarl.data.errors import DataError

MAX_VOXELS = 2**31
MAX_BYTES = 2**33  # as declared
LARGE_BYTES = 2**30  # above this a file must store at least a thousandth of what it declares


def check_declared(
    path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, stored: int
) -> int:
    """Refuse an array that is too large, empty, or out of proportion to what the file holds.

    Args:
        path: The file.
        name: What the array is called in messages.
        shape, dtype: As the file declares them.
        stored: Bytes that the file really has for it.
    Returns:
        The declared size in bytes.
    Raises:
        DataError: a rule is broken; the message names it.

    >>> check_declared(Path("a.nii"), "the volume", (2, 3, 4), np.dtype("i2"), 48)
    48
    """
    voxels, itemsize = math.prod(map(int, shape)), np.dtype(dtype).itemsize
    declared = voxels * itemsize
    if min(shape, default=1) < 1 or voxels > MAX_VOXELS or declared > MAX_BYTES:
        raise DataError(
            f"{path}: of {name} 1 to {MAX_VOXELS} voxels can be read, {MAX_BYTES} bytes at most, "
            f"got shape {tuple(map(int, shape))} of {dtype}"
        )
    if declared > max(LARGE_BYTES, 1000 * stored):
        raise DataError(
            f"{path}: {name} of shape {tuple(map(int, shape))} declares {declared} bytes, but only "
            f"{stored} are stored; a large array must store at least a thousandth of what it "
            "declares"
        )
    return declared
