"""The public lists of ACDC and LA: which files they name, in which order, and what these hold.

`manifest.csv` holds figures, no data: 1312 training slices and 20 validation volumes of ACDC, 80
training scans of LA. It knows nothing of the test cases.
"""

from __future__ import annotations

import csv
import math
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from buarl.data.source import Source

MANIFEST = Path(__file__).with_name("manifest.csv")
SLACK_BYTES = 2**20  # an h5 file's own structure beside its voxels


class Entry(NamedTuple):
    """What is known of a case: shape, and SHA-256 of its float32 image and uint8 label."""

    shape: tuple[int, ...]
    image_sha256: str
    label_sha256: str

    @property
    def max_bytes(self) -> int:
        """The most that a file of this case can need: its voxels unpacked, and a little more."""
        return 5 * math.prod(self.shape) + SLACK_BYTES  # float32 image, uint8 label


def read_manifest(source_name: str) -> dict[str, Entry]:
    """Entries of a data set by file, relative to its root, in the order of the public lists.

    Args:
        source_name: "acdc" or "la"; any other name has no entries.
    """
    with MANIFEST.open(newline="", encoding="utf-8") as lines:
        return {
            row["file"]: Entry(
                tuple(map(int, row["shape"].split("x"))), row["image_sha256"], row["label_sha256"]
            )
            for row in csv.DictReader(lines)
            if row["source"] == source_name
        }


def check_public_lists(source: Source) -> None:
    """Stop where a data set names other training or validation cases than the public lists do.

    Another order labels other patients. What the files hold is not looked at.

    Args:
        source: The data set; one that has no public lists, such as a phantom, passes.
    Raises:
        ValueError: the first place where they differ.
    """
    public = list(read_manifest(source.name))
    if not public:
        return
    paths = [*source.files("train"), *source.files("val")]
    ours = [path.relative_to(source.root).as_posix() for path in paths]
    for place, (our, their) in enumerate(zip_longest(ours, public, fillvalue="nothing"), 1):
        if our != their:
            raise ValueError(
                f"{source.root}: its lists are not the public ones of {source.name}; case {place} "
                f"of training and validation is {our} here and {their} there"
            )
