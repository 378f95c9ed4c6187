"""Which file of a folder is an image, which its label, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from buarl.data.h5 import DataError
from buarl.files.volume import SUFFIXES, volume_stem

ENDINGS = ("_gt", "_label")


class Scan(NamedTuple):
    """One image file, its label file or None, and whose it is."""

    image: Path
    label: Path | None
    patient: str


def find_scans(images: Path, labels: Path | None, patient: str | None) -> dict[str, Scan]:
    """Every image by its case name, in order of the names, with its label if there is one.

    Raises:
        DataError: no folder or no image, two files of one name, a label without an image or two
            labels for one, a name that cannot be a case, or a name without a patient.
    """
    beside, others = _by_stem(images), {}
    if labels is not None and labels.resolve() != images.resolve():
        others = _by_stem(labels)
    found = {stem: path for stem, path in beside.items() if not stem.endswith(ENDINGS)}
    if not found:
        raise DataError(f"{images}: no images; they must end in one of {SUFFIXES}")
    owner, unused = _owner(patient), {*others.values()} | {*beside.values()} - {*found.values()}
    scans = {}
    for stem, path in found.items():
        _check_name(path, stem)
        places = [others.get(stem)]
        places += [files.get(stem + end) for files in (beside, others) for end in ENDINGS]
        mine = [place for place in places if place is not None]
        if len(mine) > 1:
            raise DataError(f"{path}: an image may have one label, found {mine[0]} and {mine[1]}")
        scans[stem] = Scan(path, mine[0] if mine else None, owner(path, stem))
        unused -= set(mine)
    if unused:
        raise DataError(f"{min(unused)}: label without an image of that name in {images}")
    return scans


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = volume_stem(path)
        if stem is not None and files.setdefault(stem, path) != path:
            raise DataError(f"{path}: stands twice, also as {files[stem].name}")
    return files


def _check_name(path: Path, stem: str) -> None:
    """What a list file cannot hold (`read_list`)."""
    plain = stem.strip().removesuffix(".h5") == stem and ".." not in stem and stem.isprintable()
    if not plain or stem in ("", ".") or set(stem) & set("/\\:"):
        raise DataError(f"{path}: a case needs a plain name, without .. / \\ or :, got {stem!r}")


def _owner(pattern: str | None) -> Callable[[Path, str], str]:
    """The rule that finds the patient in a file name."""
    try:
        compiled = re.compile(pattern if pattern is not None else r"([^_]+)")
    except re.error as error:
        raise DataError(
            f"patient must be a regular expression ({error}), got {pattern!r}"
        ) from error
    if compiled.groups != 1:
        raise DataError(f"patient needs one group, the patient, got {pattern!r}")

    def owner(path: Path, stem: str) -> str:
        match = compiled.match(stem)
        if match is None or not match[1]:
            raise DataError(f"{path}: no patient in the name by the pattern {compiled.pattern!r}")
        return match[1]

    return owner
