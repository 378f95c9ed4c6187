"""The bytes of a raw file, unpacked on the way: exactly as many as its header asks for.

Nothing is unpacked beyond that, so a small file that unpacks to gigabytes costs no more than the
voxels that its header states (`buarl.data.limits` bounds those).
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from buarl.arguments import counted
from buarl.data.errors import DataError

PIECE = 2**20  # bytes at a time


class Stream:
    """A file read from its beginning to its end, once."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.unpacked = path, file

    def take(self, count: int) -> bytearray:
        """The next `count` bytes.

        Raises:
            DataError: the file ends before.
        """
        content = bytearray()
        while len(content) < count:
            piece = self.unpacked.read(min(PIECE, count - len(content)))
            if not piece:
                raise DataError(
                    f"{self.path}: damaged or cut short, {counted(count, 'byte')} must follow "
                    f"where the file "
                    f"has {len(content)}"
                )
            content += piece
        return content

    def end(self) -> None:
        """Check that nothing follows; for a packed file this also checks its checksum.

        Raises:
            DataError: bytes follow, or the packed part ends and other bytes follow.
        """
        try:
            more = self.unpacked.read(1)
        except gzip.BadGzipFile as error:
            if "Not a gzipped file" not in str(error):
                raise
            raise DataError(
                f"{self.path}: other bytes follow the end of the gzip stream; pack the file again"
            ) from error
        if more:
            raise DataError(
                f"{self.path}: damaged, more bytes follow than the header's size and type ask for"
            )


@contextmanager
def open_stream(path: Path, file: BinaryIO, packing: str = "raw") -> Iterator[Stream]:
    """A stream over an open file, from where it stands.

    Args:
        path: For messages.
        file: Open for reading bytes.
        packing: "raw", "gzip" or "bzip2".
    """
    if packing == "raw":
        yield Stream(path, file)
        return
    kinds = {"gzip": lambda: gzip.GzipFile(fileobj=file), "bzip2": lambda: bz2.BZ2File(file)}
    with kinds[packing]() as unpacked:
        yield Stream(path, unpacked)
