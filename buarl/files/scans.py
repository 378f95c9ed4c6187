"""Which file of a folder is an image, which its label, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from buarl.arguments import counted
from buarl.data.errors import DataError
from buarl.files.listing import check_name, image_files
from buarl.files.volume import SUFFIXES

ENDINGS = ("_gt", "_label")
CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net: case_0000 is the first channel of case
PATTERN = r"([^_]+)"  # of the patient in a file name: what stands before the first "_"
PAIR = re.compile(r"(?<![A-Za-z])(?:E[DS]|frame\d+)(?![A-Za-z])", re.IGNORECASE)


class Scan(NamedTuple):
    """One image file, its label file or None, and whose it is."""

    image: Path
    label: Path | None
    patient: str


def find_scans(images: Path, labels: Path | None, patient: str | None) -> dict[str, Scan]:
    """Every image by its case name, in order of the names, with its label if there is one.

    The label of NAME is NAME, NAME_gt or NAME_label; that of nnU-Net's NAME_0000 is also NAME, as
    long as NAME has no second channel.

    Raises:
        DataError: no folder or no image, an image that cannot be read here, two files of one name,
            a label without an image, two labels for one image or two channels for one label, a
            name that cannot be a case, or a name without a patient.
    """
    beside, others = image_files(images), {}
    if labels is not None and labels.resolve() != images.resolve():
        others = image_files(labels)
    found = {stem: path for stem, path in beside.items() if not stem.endswith(ENDINGS)}
    if not found:
        raise DataError(f"{images}: no images; they must end in one of {SUFFIXES}")
    owner, unused = _owner(patient), {*others.values()} | {*beside.values()} - {*found.values()}
    scans = {}
    for stem, path in found.items():
        check_name(path, stem)
        mine = _labels_of(stem, beside, others) or _labels_of_channel(path, stem, beside, others)
        if len(mine) > 1:
            raise DataError(f"{path}: an image may have one label, found {mine[0]} and {mine[1]}")
        scans[stem] = Scan(path, mine[0] if mine else None, owner(path, stem))
        unused -= set(mine)
    if unused:
        raise DataError(f"{min(unused)}: label without an image of that name in {images}")
    return scans


def pattern_hint(scans: dict[str, Scan], patient: str | None) -> str:
    """What to say where file names give too few patients: the pattern, an example, a better one."""
    first = next(iter(scans))
    text = (
        f"by the pattern {patient or PATTERN!r} {counted(len(scans), 'file')} are "
        f"{counted(len({scan.patient for scan in scans.values()}), 'patient')}, e.g. {first!r} "
        f"is of patient "
        f"{scans[first].patient!r}"
    )
    better = r"([^_]+_[^_]+)"
    matches = [re.match(better, stem) for stem in scans]
    if patient is None and all(matches):
        count = len({match[1] for match in matches if match})
        return (
            f"{text}; if that is wrong, --patient '{better}' makes it {counted(count, 'patient')}"
        )
    return f"{text}; --patient PATTERN names another, its one group is the patient"


def torn_pairs(scans: dict[str, Scan], splits: dict[str, list[str]]) -> list[str]:
    """Sentences on cases that look like two times of one heart but stand in two splits.

    Names that differ only in ED and ES, or in the number of a frame, are probably of one patient.
    """
    home = {case: split for split, cases in splits.items() for case in cases}
    seen: dict[str, str] = {}
    warnings = []
    for case in scans:
        if not PAIR.search(case):
            continue
        other = seen.setdefault(PAIR.sub("", case), case)
        if home[other] != home[case]:
            warnings.append(
                f"warning: {other!r} and {case!r} look like one patient at two times but stand in "
                f"{home[other]} and {home[case]}; if so, name the patient with --patient"
            )
    return warnings


def _labels_of(stem: str, beside: dict[str, Path], others: dict[str, Path]) -> list[Path]:
    places = [others.get(stem)]
    places += [files.get(stem + end) for files in (beside, others) for end in ENDINGS]
    return [place for place in places if place is not None]


def _labels_of_channel(
    path: Path, stem: str, beside: dict[str, Path], others: dict[str, Path]
) -> list[Path]:
    match = CHANNEL.fullmatch(stem)
    labels = _labels_of(match[1], beside, others) if match else []
    if not match or not labels or match[1] in beside:
        return []
    channels = [name for name in beside if name[:-5] == match[1] and CHANNEL.fullmatch(name)]
    if len(channels) > 1:
        raise DataError(
            f"{path}: an image must have one channel, but the label {labels[0].name} belongs to "
            f"{counted(len(channels), 'file')}, {' and '.join(sorted(channels)[:2])}; "
            "keep one of them"
        )
    return labels


def _owner(pattern: str | None) -> Callable[[Path, str], str]:
    """The rule that finds the patient in a file name."""
    try:
        compiled = re.compile(pattern if pattern is not None else PATTERN)
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
