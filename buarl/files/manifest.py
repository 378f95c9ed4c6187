"""Is this the data that papers report on? Shapes and SHA-256 of every public case (manifest.csv).

The figures stand in `buarl.data.public`. There are none of the test cases: those are only looked at
for being readable cases of a likely shape, and whoever reports them says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from buarl.arguments import counted
from buarl.data.errors import AccessError, DataError
from buarl.data.h5 import read_case
from buarl.data.public import Entry, read_manifest
from buarl.data.source import SPLITS, Source

NO_FIGURES = "no figures known"
Status = Literal["identical", "different", "missing", "damaged", "unreadable", "no figures known"]


class Check(NamedTuple):
    """One case compared. file: relative to the root. reason: a sentence, empty if identical."""

    split: str
    file: str
    status: Status
    reason: str


def check_case(path: Path, entry: Entry) -> tuple[Status, str]:
    """Compare one file with its entry, as the loaders read it: float32 image, uint8 label.

    Hashed are the bytes of the arrays in C order, so compression and layout of the file are free.

    Returns:
        status and reason. "damaged": the file breaks a rule of `read_case`, the reason says which.
        "unreadable": it is locked, a folder, or may not be read; its content may be right.
    """
    if not path.exists():
        return "missing", f"{path}: no such file"
    try:
        sample = read_case(path, path.stem, len(entry.shape), num_classes=256)
    except AccessError as error:
        return "unreadable", str(error)
    except DataError as error:
        return "damaged", str(error)
    if sample.image.shape != entry.shape:
        return "different", f"{path}: shape {sample.image.shape}, public file {entry.shape}"
    for key, want in (("image", entry.image_sha256), ("label", entry.label_sha256)):
        if (got := _sha256(getattr(sample, key))) != want:
            return "different", f"{path}: {key} has SHA-256 {got[:12]}, public file {want[:12]}"
    return "identical", ""


def check_unknown(
    path: Path,
    source: Source | type[Source],
    entries: dict[str, Entry],
    rank: int = 3,
    *,
    labeled: bool = True,
) -> tuple[Status, str]:
    """Look at a case without figures: readable, and of as many slices as all that have figures?

    The public training scans of LA all have 88 slices along z, so its test scans must have them
    too; volumes of ACDC have any number.

    Args:
        path: The file.
        source: Its data set.
        entries: The manifest of that.
        rank: 2 for a slice.
        labeled: Whether it must have a label.
    Returns:
        status and reason; "no figures known" is the best that can be said.
    """
    if not path.exists():
        return "missing", f"{path}: no such file"
    try:
        sample = read_case(path, path.stem, rank, len(source.class_names), labeled=labeled)
    except AccessError as error:
        return "unreadable", str(error)
    except DataError as error:
        return "damaged", str(error)
    shapes = {entry.shape for entry in entries.values()}
    if source.rank == 3 and sample.image.shape[2] not in {shape[2] for shape in shapes}:
        public = sorted({shape[2] for shape in shapes})
        depth = " or ".join(counted(count, "slice") for count in public)
        found = f"{path}: shape {sample.image.shape}, public scans have {depth}"
        return "different", found
    return NO_FIGURES, f"{path}: not in the manifest"


def check_root(source: Source) -> Iterator[Check]:
    """Compare every listed case of a data set, one in memory at a time.

    A split without a list, or without any of its files, is absent and left out.
    """
    entries = read_manifest(source.name)
    for split in SPLITS:
        try:
            files = source.files(split)
        except DataError:
            continue
        if not any(path.is_file() for path in files):
            continue
        names = source.training_names() if split == "train" else []
        known = set(source.samples_with_label()) if names else set()
        bare = {path for name, path in zip(names, files, strict=False) if name not in known}
        for path in files:
            file = path.relative_to(source.root).as_posix()
            if file in entries:
                yield Check(split, file, *check_case(path, entries[file]))
            else:
                rank, labeled = (source.rank, path not in bare) if split == "train" else (3, True)
                found = check_unknown(path, source, entries, rank, labeled=labeled)
                yield Check(split, file, *found)


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
