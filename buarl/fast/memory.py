"""Memory that stays with the process, so that tensors need not be fetched from the system anew.

This saves 0.4 s of a BCP step of 3.4 s (two AVX2 cores, 12 + 12 slices of 256x256). Results are the
same: only where tensors lie is another matter.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # numbers of glibc's malloc.h


def hold_memory(hold: bool = True) -> bool:
    """Let this process keep freed memory instead of handing it back after every tensor (glibc).

    Tensors over 32 MiB otherwise come fresh from the system each time, and every page of them
    costs a fault: 0.4 s of a 3.4 s training step, measured. The process stays at its peak.
    BUARL_HOLD_MEMORY=0 in the environment turns this off.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if os.environ.get("BUARL_HOLD_MEMORY") == "0" or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # False: where glibc's own adjustment ends up once a large tensor has been freed.
    most_maps, map_from, trim_above = (0, 2**25, -1) if hold else (65536, 2**25, 2**26)
    numbers = {M_MMAP_MAX: most_maps, M_MMAP_THRESHOLD: map_from, M_TRIM_THRESHOLD: trim_above}
    accepted = [library.mallopt(*setting) for setting in numbers.items()]
    if not hold:
        library.malloc_trim(0)  # what is kept already
    return all(accepted)


def peak_mib() -> int | None:
    """Largest memory of the process so far in MiB: on the GPU if one was used, else resident.

    >>> peak_mib() != 0  # None on Windows
    True
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() >> 20
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20
