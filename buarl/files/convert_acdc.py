"""ACDC as officially released (NIfTI) to the public h5 layout that `buarl.data.acdc` reads."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from buarl.arguments import counted
from buarl.data.acdc import Acdc
from buarl.data.errors import DataError, reading, require_file
from buarl.data.h5 import read_list
from buarl.data.h5_writer import write_list
from buarl.data.text import read_text
from buarl.files.layout import (
    Report,
    check_disjoint,
    complete_or_absent,
    minmax,
    read_pair,
    split_patients,
    write_h5,
    write_slices,
)
from buarl.files.listing import check_name, image_named

CLASSES = len(Acdc.class_names)
TREE = """  RAW/[training/|testing/]patient001/Info.cfg   with lines `ED: 1` and `ES: 12`
  RAW/[training/|testing/]patient001/patient001_frame01.nii.gz and ..._frame01_gt.nii.gz
  RAW/[training/|testing/]patient001/patient001_frame12.nii.gz and ..._frame12_gt.nii.gz"""
Frames = dict[str, tuple[Path, Path]]  # case -> image, label


def convert_acdc(
    raw: Path,
    out: Path,
    *,
    lists: Path | None = None,
    val: float = 0.1,
    test: float = 0.2,
    seed: int = 1337,
    check_affine: bool = True,
) -> Report:
    """Write volumes, training slices and list files; `out` is complete or absent.

    As in the public files (docs/protocol.md 1.1): (v - min) / (max - min) per volume, float32, axes
    (z, y, x), no resampling, no cropping, slices numbered from 1. Our inference, since no public
    script writes the files as they are: `frame01` and `frame02` are the two annotated frames by
    rising number, whichever of them is the end of diastole.

    Args:
        raw: Folder of the official release.
        out: New or empty folder.
        lists: Folder with train_slices.list or train.list, val.list and test.list, such as the
            public split of SSL4MIS; None draws the patients by the seed.
        val, test: Shares of the patients, without `lists`.
        seed: Decides which patients are drawn.
        check_affine: Refuse a label that lies elsewhere than its image.
    Raises:
        DataError: any file that breaks a rule; the message names it.
        AccessError: a file that cannot be read or written here, such as a full disk.
    """
    raw, out = Path(raw), Path(out)
    frames = find_frames(raw)
    patients = {case.split("_")[0] for case in frames}
    if lists is None:
        chosen = split_patients(patients, val, test, seed, where=raw)
        splits = {k: [f"{p}_frame{n:02d}" for p in v for n in (1, 2)] for k, v in chosen.items()}
        listed_slices = None
    else:
        splits, listed_slices = _read_lists(Path(lists), frames)
    with complete_or_absent(out) as built:
        slices: list[str] = []
        for split, names in splits.items():
            for case in names:
                written = _write_case(built, case, frames[case], split == "train", check_affine)
                if split == "train":
                    _ordered(written, _of_case(case, listed_slices), lists)  # told by the first one
                slices += written
            if names:
                write_list(built / f"{split}.list", names)
        write_list(built / "train_slices.list", _ordered(slices, listed_slices, lists))
    used = {case.split("_")[0] for names in splits.values() for case in names}
    notes = [
        f"{counted(len(slices), 'training slice')}",
        f"split {'by seed' if lists is None else lists}",
    ]
    if left := sorted(patients - used):
        notes.append(
            f"{counted(len(left), 'patient')} stand in no list and were left out, first {left[0]}"
        )
    return Report(out, "acdc", {k: len(v) for k, v in splits.items()}, tuple(notes))


def find_frames(raw: Path) -> Frames:
    """The two annotated frames of every patient, as Info.cfg names them.

    Returns:
        `patient001_frame01` -> its image and its label file, patients in order.
    Raises:
        DataError: no patients, one patient twice, Info.cfg absent or without ED and ES, or a
            frame's file absent, of another format, or a folder.
    """
    parts = (".", "training", "testing")
    with reading(raw, "folder"):
        paths = [path for part in parts for path in (raw / part).glob("patient*")]
        folders = sorted((path for path in paths if path.is_dir()), key=lambda path: path.name)
    if not folders:
        raise DataError(f"{raw}: no patient folders; the official release looks like\n{TREE}")
    for one, other in pairwise(folders):
        if one.name == other.name:
            raise DataError(f"{other}: patient stands twice, here and in {one.parent}")
    frames: Frames = {}
    for folder in folders:
        check_name(folder, folder.name)
        for rank, number in enumerate(_annotated(folder / "Info.cfg"), start=1):
            stem = f"{folder.name}_frame{number:02d}"
            pair = (_volume_file(folder, stem), _volume_file(folder, f"{stem}_gt"))
            frames[f"{folder.name}_frame{rank:02d}"] = pair
    return frames


def check_all_classes(path: Path, label: np.ndarray) -> None:
    """Both frames of every ACDC patient show all three structures, and nothing else is labeled."""
    values = np.unique(label).tolist()
    if values != list(range(CLASSES)):
        raise DataError(
            f"{path}: an ACDC label must hold exactly the values 0 to {CLASSES - 1}, got "
            f"{values[:10]}"
        )


def _annotated(path: Path) -> list[int]:
    """Numbers of the annotated frames, rising."""
    require_file(path, "every patient needs an Info.cfg that names its frames ED and ES")
    text = read_text(path, errors="replace")
    fields = dict(re.findall(r"^\s*(\w+)\s*:\s*(\S+)", text, re.M))
    numbers = []
    for key in ("ED", "ES"):
        if not fields.get(key, "").isdecimal():
            raise DataError(f"{path}: needs a line `{key}: number`, found {fields.get(key)}")
        numbers.append(int(fields[key]))
    if numbers[0] == numbers[1]:
        raise DataError(f"{path}: ED and ES must be two frames, both are {numbers[0]}")
    return sorted(numbers)


def _volume_file(folder: Path, stem: str) -> Path:
    if path := image_named(folder, stem):
        return path
    raise DataError(f"{folder / stem}.nii.gz: Info.cfg names this frame, the file does not exist")


def _write_case(
    built: Path, case: str, pair: tuple[Path, Path], training: bool, check_affine: bool
) -> list[str]:
    """The volume, and the slices of a training volume; their names."""
    volume, label = read_pair(*pair, check_affine=check_affine)
    check_all_classes(pair[1], label)
    image = minmax(pair[0], volume.array).transpose(2, 1, 0)  # (z, y, x)
    label = label.transpose(2, 1, 0)
    write_h5(
        built / "data" / f"{case}.h5",
        image,
        label,
        spacing=volume.spacing[::-1],
        affine=volume.affine,
        source=pair[0].name,
    )
    if not training:
        return []
    return write_slices(built / "data" / "slices", case, image, label, volume, pair[0].name)


def _read_lists(lists: Path, frames: Frames) -> tuple[dict[str, list[str]], list[str] | None]:
    """Cases per split, and the training slices if they are listed; all of them must be in raw."""
    slices_path, train_path = lists / "train_slices.list", lists / "train.list"
    slices = read_list(slices_path) if slices_path.is_file() else None
    of_slices = list(dict.fromkeys(name.partition("_slice_")[0] for name in slices or []))
    train = of_slices if slices and not train_path.is_file() else read_list(train_path)
    if slices and set(of_slices) != set(train):
        odd = sorted(set(of_slices) ^ set(train))[0]
        raise DataError(f"{slices_path}: must list the volumes of train.list, differs in {odd!r}")
    splits = {"train": train} | {k: read_list(lists / f"{k}.list") for k in ("val", "test")}
    check_disjoint(lists, splits, Acdc.patient)
    for split, names in splits.items():
        if missing := [name for name in names if name not in frames]:
            raise DataError(
                f"{lists / f'{split}.list'}: {len(missing)} of {len(names)} volumes are not in the "
                f"release, first {missing[0]!r}"
            )
    return splits, slices


def _of_case(case: str, listed: list[str] | None) -> list[str] | None:
    """The listed slices of one volume."""
    return listed and [name for name in listed if name.partition("_slice_")[0] == case]


def _ordered(slices: list[str], listed: list[str] | None, lists: Path | None) -> list[str]:
    """The slices as listed, if they are; they must be the slices there are."""
    if listed is None:
        return slices
    if odd := sorted(set(slices) ^ set(listed)):
        raise DataError(
            f"{Path(lists) / 'train_slices.list'}: must list every slice of the training volumes, "
            f"{len(odd)} differ, first {odd[0]!r}"
        )
    return listed
