"""Training samples within a memory budget: the first stay in memory, the others lie on disk.

A sample is read from its source and checked once, before the first step, whether it stays in memory
or not. What does not fit is written to a scratch file as plain numbers and read back whenever a
batch draws it. Labeled samples come first, because they are drawn most often. Batches are the same,
bit for bit, whatever the budget.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterable, Sequence
from typing import IO, NamedTuple

import numpy as np

from buarl.arguments import check_count, short
from buarl.data.cache import cache_root
from buarl.data.errors import DataError, writing
from buarl.data.h5 import Sample

UNITS = {
    **{"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40},
}


def size_in_bytes(size: str | int) -> int:
    """A size such as "2GB" or "512 MiB" in bytes.

    Args:
        size: A number with its unit, or a whole number of bytes.
    Raises:
        ValueError: another text, or less than one byte. TypeError: neither text nor number.

    >>> size_in_bytes("2GB"), size_in_bytes("1.5 MiB"), size_in_bytes(4096)
    (2000000000, 1572864, 4096)
    """
    if not isinstance(size, str):
        return check_count("memory_budget", size, 1)
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", size)
    unit = UNITS.get(parts[2].upper()) if parts else None
    found = int(float(parts[1]) * unit) if unit and len(parts[1]) < 20 else 0
    if found < 1:
        raise ValueError(
            f"memory_budget must be a size with its unit, such as 2GB or 512MiB, got {short(size)}"
        )
    return found


class _Place(NamedTuple):
    """Where a sample lies in the scratch file; `begin` counts bytes."""

    sample: Sample  # with arrays that hold nothing, for names and spacing
    shapes: tuple[tuple[int, ...], ...]
    types: tuple[np.dtype, ...]
    begin: int
    size: int


class Store:
    """Keeps samples in memory up to a budget, and those after that in a scratch file.

    The file lies in the user's cache (`buarl.data.cache.cache_root`), takes 5 bytes a voxel and is
    gone when the store is, also if the process is killed (on Linux and macOS).

    Args:
        budget: Bytes that samples may take in memory; None keeps all.
    """

    def __init__(self, budget: int | None) -> None:
        self.budget, self.in_memory = budget, 0
        self._file: IO[bytes] | None = None
        self._end = 0
        self._lock = threading.Lock()

    @property
    def streams(self) -> bool:
        """Whether some samples lie on disk."""
        return self._file is not None

    def kept(self, samples: Iterable[Sample]) -> Sequence[Sample]:
        """The samples as a sequence that reads from disk what is not in memory.

        Args:
            samples: They are taken one after the other, so that only one waits in memory.
        Raises:
            AccessError: the scratch file cannot be written, such as on a full disk.
        """
        entries = [self._keep(sample) for sample in samples]
        return Streamed(self, entries) if any(type(e) is _Place for e in entries) else entries

    def _keep(self, sample: Sample) -> Sample | _Place:
        arrays = [array for array in (sample.image, sample.label) if array is not None]
        size = sum(array.nbytes for array in arrays)
        fits = self.budget is None or self.in_memory + size <= self.budget
        if fits and not self.streams:  # the first that does not fit ends what stays
            self.in_memory += size
            return sample
        self._write(arrays)
        empty = sample._replace(image=np.empty(0, np.float32), label=None)
        shapes, types = zip(*((array.shape, array.dtype) for array in arrays), strict=True)
        return _Place(empty, shapes, types, self._end - size, size)

    def _write(self, arrays: Sequence[np.ndarray]) -> None:
        folder = cache_root() / "stream"
        with writing(folder):
            if self._file is None:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            for array in arrays:
                left = memoryview(np.ascontiguousarray(array)).cast("B")
                while left:  # a system writes 2 GiB at a time
                    written = self._file.write(left)
                    left, self._end = left[written:], self._end + written

    def read(self, place: _Place) -> Sample:
        """A sample back from the scratch file, with the very bits it had.

        Raises:
            DataError: the file has been cut short by someone else.
        """
        buffer = np.empty(place.size, np.uint8)
        left = memoryview(buffer)
        with self._lock:
            self._file.seek(place.begin)
            while left:
                if not (count := self._file.readinto(left)):
                    raise DataError(f"{place.sample.case}: the scratch file of this run was cut")
                left = left[count:]
        arrays, begin = [], 0
        for shape, kind in zip(place.shapes, place.types, strict=True):
            count = int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(buffer, kind, count, begin).reshape(shape))
            begin += arrays[-1].nbytes
        image, label = (*arrays, None)[:2]
        return place.sample._replace(image=image, label=label)

    def expect(self, places: Iterable[_Place]) -> None:
        """Tell the system what is read next, so that a disk works while a step computes."""
        if hasattr(os, "posix_fadvise"):  # not on macOS and Windows
            for place in places:
                number = self._file.fileno()
                os.posix_fadvise(number, place.begin, place.size, os.POSIX_FADV_WILLNEED)


class Streamed(Sequence[Sample]):
    """Samples of which some are read from disk when they are asked for.

    Args:
        store: Where they lie.
        entries: Samples in memory, and places of the others.
    """

    def __init__(self, store: Store, entries: Sequence[Sample | _Place]) -> None:
        self._store, self._entries = store, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        """One sample; slices are not needed."""
        entry = self._entries[index]
        return self._store.read(entry) if type(entry) is _Place else entry

    def expect(self, indices: Iterable[int]) -> None:
        """Say which samples are drawn next."""
        chosen = (self._entries[index] for index in indices)
        self._store.expect(entry for entry in chosen if type(entry) is _Place)
