"""A folder of one's own images, some with labels, to the source `own` (`buarl.data.own`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from buarl.arguments import counted
from buarl.data.errors import DataError
from buarl.data.h5_writer import write_list
from buarl.files.layout import (
    NORMALISATIONS,
    Report,
    complete_or_absent,
    read_pair,
    split_patients,
    whole_numbers,
    write_csv,
    write_h5,
    write_slices,
)
from buarl.files.scans import Scan, find_scans, pattern_hint, torn_pairs
from buarl.files.volume import read_volume

NORMALISATION = {2: "minmax", 3: "zscore"}  # those of the recipes that the ranks follow
MAX_CLASSES = 256  # labels are stored in a byte


def convert_folder(
    images: Path,
    out: Path,
    *,
    labels: Path | None = None,
    classes: Sequence[str] = (),
    rank: int = 3,
    val: float = 0.1,
    test: float = 0.2,
    seed: int = 1337,
    patient: str | None = None,
    label_values: Sequence[int] = (),
    check_affine: bool = True,
) -> Report:
    """Write volumes (rank 2: training slices too), lists, dataset.json and the table cases.csv.

    Images are .nii, .nii.gz or .nrrd directly in `images`, in any case; an image of another format
    among them is an error, never left out. The label of NAME is NAME, NAME_gt or NAME_label in
    `labels`, or NAME_gt or NAME_label beside the image; an image without one is unlabeled. The
    NAME_0000 of nnU-Net takes the label NAME if it is the only channel. A label without an image is
    an error, since its name is probably misspelt. Label values within a thousandth of a whole
    number count as that number.

    Axes are (z, y, x) with rank 2 and (x, y, z) with rank 3. Grey values: (v - min) / (max - min)
    with rank 2, (v - mean) / std with rank 3, over each volume, as the recipes for ACDC and LA. No
    resampling, no cropping. A patient whose scans all have labels may go to val or test; the seed
    and the patients' names alone decide. In train.list, scans with labels come first.

    Args:
        images: Folder that holds the images.
        out: New or empty folder.
        labels: Folder that holds the labels.
        classes: Names of the classes, background first; empty gives them numbers.
        rank: 2 or 3, see above.
        val, test: Shares of the patients with labels.
        seed: Decides which patients are drawn.
        patient: Regular expression with one group, the patient, that matches from the beginning of
            every file name; None takes what stands before the first "_".
        label_values: Values in the label files in order of the classes; empty: 0, 1, 2, ...
        check_affine: Refuse a label that lies elsewhere than its image.
    Returns:
        Cases per split; the notes count what is labeled, say which pattern found the patients, and
        warn of two times of one heart (ED, ES) that came into two splits.
    Raises:
        DataError: any file that breaks a rule; the message names it.
        AccessError: a file that cannot be read or written here, such as a full disk.
    """
    images, out = Path(images), Path(out)
    if rank not in NORMALISATION:
        raise DataError(f"rank must be 2 or 3, got {rank}")
    scans = find_scans(images, None if labels is None else Path(labels), patient)
    values = check_label_values(scans, classes, label_values)
    names = tuple(classes) or ("background", *(f"class {k}" for k in range(1, len(values))))
    splits = _split(scans, val, test, seed, pattern_hint(scans, patient))
    with complete_or_absent(out) as built:
        rows = []
        for split, cases in splits.items():
            for case in cases:
                pair = read_pair(*scans[case][:2], check_affine=check_affine)
                row = _write_case(built, case, scans[case], pair, values, rank, split)
                rows.append({"case": case, "patient": scans[case].patient, "split": split} | row)
            if cases:
                write_list(built / f"{split}.list", cases)
        write_csv(built / "cases.csv", rows)
        about = {"rank": rank, "class_names": names, "normalisation": NORMALISATION[rank]}
        about |= {"seed": seed, "label_values": values, "cases": _facts(rows, rank)}
        (built / "dataset.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    notes = (*_notes(scans, splits, names), pattern_hint(scans, patient))
    notes += tuple(torn_pairs(scans, splits))
    return Report(out, f"own_{rank}d", {k: len(v) for k, v in splits.items()}, notes)


def check_label_values(
    scans: dict[str, Scan], classes: Sequence[str], label_values: Sequence[int]
) -> list[int]:
    """The value of every class in the label files, read from all of them before any is written.

    Raises:
        DataError: no label at all, values beside the expected, gaps, or a class that never occurs.
    """
    if twice := [name for name in classes if list(classes).count(name) > 1]:
        raise DataError(f"classes must differ from one another, got {twice[0]!r} twice")
    found: dict[int, Path] = {}  # value -> a file that has it
    for scan in scans.values():
        if scan.label is not None:
            array = whole_numbers(scan.label, read_volume(scan.label).array)
            for value in np.unique(array).tolist():
                found.setdefault(value, scan.label)
    folder = next(iter(scans.values())).image.parent if not found else min(found.values()).parent
    if not found:
        raise DataError(
            f"{folder}: no image has a label; name their folder (--labels), or put NAME_gt or "
            "NAME_label beside the images"
        )
    if len(found) < 2:
        raise DataError(f"{folder}: labels need two values or more, found {list(found)}")
    if len(set(label_values)) != len(label_values):
        raise DataError(f"label_values must differ from one another, got {list(label_values)}")
    if classes and label_values and len(classes) != len(label_values):
        raise DataError(
            f"{counted(len(classes), 'class', 'classes')} need as many "
            f"label_values, got {label_values}"
        )
    values = sorted(found)
    wanted = list(label_values) or list(range(len(classes or values)))
    if set(values) == set(wanted) and len(wanted) <= MAX_CLASSES:
        return wanted
    odd = [value for value in values if value not in wanted]
    where = f"; {odd[0]} stands in {found[odd[0]]}" if odd else ""
    rule = str(wanted) if label_values else f"0 to {len(wanted) - 1} without gap"
    more = f" and {len(values) - 10} more" if values[10:] else ""
    raise DataError(
        f"{folder}: label values must be {rule}, one per class, each in some file, found "
        f"{values[:10]}{more}{where}; label_values names the value of every class, e.g. 0 255"
    )


def _split(
    scans: dict[str, Scan], val: float, test: float, seed: int, hint: str
) -> dict[str, list[str]]:
    bare = {scan.patient for scan in scans.values() if scan.label is None}
    complete = {scan.patient for scan in scans.values()} - bare
    hint = f"choose smaller shares val and test, or look at the names: {hint}"
    folder = next(iter(scans.values())).image.parent
    chosen = split_patients(complete, val, test, seed, where=folder, hint=hint)
    splits = {
        split: [case for p in patients for case, scan in scans.items() if scan.patient == p]
        for split, patients in chosen.items()
    }
    rest = [case for case, scan in scans.items() if scan.patient in bare]
    splits["train"] += sorted(rest, key=lambda case: scans[case].label is None)  # stable
    return splits


def _write_case(
    built: Path, case: str, scan: Scan, pair: tuple, values: list[int], rank: int, split: str
) -> dict[str, object]:
    """The files of a case; its row in the table."""
    volume, mask = pair
    image = NORMALISATIONS[NORMALISATION[rank]](scan.image, volume.array)
    label = None if mask is None else _mapped(mask, values)
    spacing = volume.spacing
    if rank == 2:
        image, label = image.T, None if label is None else label.T  # (z, y, x)
        spacing = spacing[::-1]
    name = scan.image.name
    path = built / "data" / f"{case}.h5"
    write_h5(path, image, label, spacing=spacing, affine=volume.affine, source=name)
    if rank == 2 and split == "train":
        write_slices(built / "data" / "slices", case, image, label, volume, name)
    return {
        "labeled": label is not None,
        "shape": "x".join(map(str, image.shape)),
        "spacing": "x".join(f"{length:g}" for length in spacing),
        "classes": "" if label is None else " ".join(map(str, np.unique(label))),
    }


def _facts(rows: list[dict], rank: int) -> dict[str, dict]:
    """What `OwnData` needs to know of every case; z comes first with rank 2, else last."""
    z = 0 if rank == 2 else -1
    return {
        row["case"]: {
            "patient": row["patient"],
            "labeled": row["labeled"],
            "slices": int(row["shape"].split("x")[z]),
        }
        for row in rows
    }


def _mapped(mask: np.ndarray, values: list[int]) -> np.ndarray:
    """File values to class numbers; `check_label_values` has seen that there are no others."""
    order = np.argsort(values)
    return order[np.searchsorted(np.sort(values), mask)].astype(np.uint8)


def _notes(scans: dict[str, Scan], splits: dict[str, list[str]], names: tuple) -> tuple[str, ...]:
    train = [scans[case] for case in splits["train"]]
    labeled = {scan.patient for scan in train if scan.label is not None}
    return (
        f"{counted(len({scan.patient for scan in scans.values()}), 'patient')}, "
        f"{sum(scan.label is not None for scan in scans.values())} of {len(scans)} scans labeled",
        f"train: {counted(len(labeled), 'patient')} with labels, "
        f"{counted(sum(scan.label is None for scan in train), 'scan')} without",
        f"classes: {', '.join(names)}",
    )
