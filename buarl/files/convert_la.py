"""LA as released for the 2018 challenge (NRRD) to the public h5 layout of `buarl.data.la`."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from buarl.arguments import counted
from buarl.data.errors import DataError, reading
from buarl.data.h5 import read_list
from buarl.data.h5_writer import write_list
from buarl.data.la import La, scan_path
from buarl.files.layout import (
    Report,
    check_disjoint,
    complete_or_absent,
    read_pair,
    shifted,
    split_patients,
    write_h5,
    zscore,
)
from buarl.files.listing import check_name, image_named

Crop = Literal["label", "none"]
HELD_OUT = La.held_out
PATCH = (112, 112)  # the crop never falls below the training patch, docs/protocol.md 1.2
MARGIN = (10, 20)  # drawn from 10 to 19
TREE = """  RAW/<scan>/lgemri.nrrd   the image
  RAW/<scan>/laendo.nrrd   its label, 0 and 255"""


def convert_la(
    raw: Path,
    out: Path,
    *,
    crop: Crop = "label",
    lists: Path | None = None,
    test: float = 0.2,
    seed: int = 1337,
    check_affine: bool = True,
) -> Report:
    """Write the scans and the two lists; `out` is complete or absent.

    Recipe of the public files (docs/protocol.md 1.2): label = [mask == 255], (v - mean) / std over
    the whole volume, float32, axes (x, y, z).

    crop="label" is compatible with the published numbers: x and y are cut around the *label* with
    margins of 10 to 19 voxels, z is kept. This leaks the label, test scans included: the cut tells
    where the atrium lies (docs/protocol.md 6.8), and an unlabeled scan cannot be prepared this way.
    The public margins were drawn without a seed, so shapes differ from the public files; here seed
    and scan name decide them. crop="none" is honest: the whole volume, and labels may be absent.

    Args:
        raw: Folder of scans.
        out: New or empty folder.
        crop: See above.
        lists: Folder with train.list and test.list; None draws them by the seed: labeled scans
            first, then unlabeled, last the 10 labeled ones that `La` holds out.
        test: Share of the labeled scans, without `lists`.
        seed: Decides the split and the margins.
        check_affine: Refuse a label that lies elsewhere than its image.
    Raises:
        DataError: any file that breaks a rule; the message names it.
        AccessError: a file that cannot be read or written here, such as a full disk.
    """
    raw, out = Path(raw), Path(out)
    if crop not in get_args(Crop):
        raise DataError(f"crop must be one of {get_args(Crop)}, got {crop!r}")
    scans = _find_scans(raw)
    bare = [case for case, (_, label) in scans.items() if label is None]
    if bare and crop == "label":
        raise DataError(
            f"{raw / bare[0] / 'laendo.nrrd'}: no such file; crop='label' needs the label of every "
            f"scan, {len(bare)} have none; crop='none' takes them as unlabeled"
        )
    splits = _drawn(raw, scans, test, seed) if lists is None else _read_lists(Path(lists), scans)
    _check_held_out(raw, splits, set(bare))
    with complete_or_absent(out) as built:
        for split, names in splits.items():
            for case in names:
                _write_case(built, case, scans[case], crop, seed, check_affine)
            if names:
                write_list(built / f"{split}.list", names)
    notes = [f"{counted(len(bare), 'scan')} without a label", f"crop {crop!r}"]
    notes.append(f"split {'by seed' if lists is None else lists}")
    return Report(out, "la", {k: len(v) for k, v in splits.items()}, tuple(notes))


def crop_box(label: np.ndarray, case: str, seed: int) -> tuple[slice, slice, slice]:
    """The public crop around a label: x and y with a margin, all of z.

    Args:
        label: (x, y, z), with at least one voxel set.
        case: Makes the margins independent of the order of the scans.
    """
    rng = np.random.default_rng([seed, zlib.crc32(case.encode())])
    box = []
    for axis, patch in enumerate(PATCH):
        there = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = int(there[0]), int(there[-1])
        deficit = max(patch - (high - low), 0) // 2
        before, after = (int(margin) + deficit for margin in rng.integers(*MARGIN, size=2))
        box.append(slice(max(low - before, 0), min(high + after, label.shape[axis])))
    return box[0], box[1], slice(0, label.shape[2])


def _find_scans(raw: Path) -> dict[str, tuple[Path, Path | None]]:
    with reading(raw, "folder"):
        if not raw.is_dir():
            raise DataError(
                f"{raw}: no such folder; the release of the challenge looks like\n{TREE}"
            )
        folders = sorted(path for path in raw.iterdir() if path.is_dir())
    scans = {}
    for folder in folders:
        image, label = (image_named(folder, stem) for stem in ("lgemri", "laendo"))
        if label and not image:
            raise DataError(f"{label}: label without an image lgemri.nrrd beside it")
        if image:
            check_name(folder, folder.name)
            scans[folder.name] = (image, label)
    if not scans:
        raise DataError(f"{raw}: no scans; the release of the challenge looks like\n{TREE}")
    return scans


def _drawn(raw: Path, scans: dict, test: float, seed: int) -> dict[str, list[str]]:
    labeled = [case for case, pair in scans.items() if pair[1]]
    chosen = split_patients(labeled, 0, test, seed, where=raw)
    ours, bare = chosen["train"], sorted(case for case, pair in scans.items() if not pair[1])
    return {"train": ours[:-HELD_OUT] + bare + ours[-HELD_OUT:], "test": chosen["test"]}


def _read_lists(lists: Path, scans: dict) -> dict[str, list[str]]:
    splits = {split: read_list(lists / f"{split}.list") for split in ("train", "test")}
    check_disjoint(lists, splits, str)
    for split, names in splits.items():
        if missing := [name for name in names if name not in scans]:
            raise DataError(
                f"{lists / f'{split}.list'}: {len(missing)} of {len(names)} scans are not there, "
                f"first {missing[0]!r}"
            )
    return splits


def _check_held_out(raw: Path, splits: dict[str, list[str]], bare: set[str]) -> None:
    """`La` trains on all but the last 10 of the list; those and the test scans need labels."""
    train = splits["train"]
    if train[0] in bare or len(train) <= HELD_OUT:
        raise DataError(
            f"{raw}: more than {HELD_OUT} labeled training scans are needed, {HELD_OUT} are held "
            f"out as val, got {sum(case not in bare for case in train)}"
        )
    for case in train[-HELD_OUT:] + splits["test"]:
        if case in bare:
            raise DataError(f"{raw / case}: a scan to evaluate on needs a laendo.nrrd")


def _write_case(
    built: Path, case: str, pair: tuple[Path, Path | None], crop: Crop, seed: int, check: bool
) -> None:
    volume, mask = read_pair(*pair, check_affine=check)
    image = zscore(pair[0], volume.array)  # over the whole volume, before the cut
    box = (slice(0, None),) * 3
    label = None
    if mask is not None:
        values = np.unique(mask).tolist()
        if values != [0, 255]:
            raise DataError(f"{pair[1]}: an LA mask must hold 0 and 255, got {values[:10]}")
        label = mask == 255
        if crop == "label":
            box = crop_box(label, case, seed)
    write_h5(
        scan_path(built, case),
        image[box],
        None if label is None else label[box],
        spacing=volume.spacing,
        affine=shifted(volume.affine, [part.start for part in box]),
        source=pair[0].name,
    )
