"""Reading one case of the public h5 layout, with one clear error for every way it can be wrong."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import h5py

MAX_VOXELS = 2**31
MAX_BYTES = 2**33  # as declared, before anything is read
LARGE_BYTES = 2**30  # above this a file must store at least a thousandth of what it declares


class DataError(ValueError):
    """Data that breaks a rule; the message names the file, the rule and the value found."""


class Sample(NamedTuple):
    """One case.

    image: float32 (*spatial). label: uint8 (*spatial), or None if it has none.
    spacing: mm per axis of the arrays, or None where the file does not say.
    """

    case: str
    image: np.ndarray
    label: np.ndarray | None
    spacing: tuple[float, ...] | None = None


def read_case(
    path: Path, case: str, rank: int, num_classes: int, *, labeled: bool = True
) -> Sample:
    """Read `image`, `label` and the attribute `spacing` of an h5 file and check them.

    Both arrays must lie in the file itself, and what they declare is checked before any voxel is
    read: a file from a stranger can neither make another file be read nor fill the memory.

    Args:
        path: The file. case: Its name in the list. rank: Number of axes wanted, 2 or 3.
        num_classes: Labels must lie in 0 to num_classes - 1.
        labeled: Require and read the label; otherwise a missing label is fine and none is returned.
    Raises:
        DataError: no or damaged file, missing key, soft or external link, external or virtual
            storage, a group, no numbers, wrong rank, an empty axis, more than 2**31 voxels or
            8 GiB, shapes that differ, label values outside the classes, NaN or infinite voxels,
            a spacing that is not one positive finite number per axis.
    """
    import h5py  # here: `import buarl` stays light

    if not path.is_file():
        raise DataError(f"{path}: listed as a case, but the file does not exist")
    try:
        with h5py.File(path, "r") as file:
            keys = ("image", "label") if labeled else ("image",)
            arrays = {key: _own_dataset(path, file, key) for key in keys}
            _check_declared(path, arrays, rank)
            image = np.asarray(arrays["image"], dtype=np.float32)
            label = np.asarray(arrays["label"]) if labeled else None
            spacing = _spacing(path, file, rank)
    except DataError:
        raise
    except Exception as error:  # h5py: OSError; RuntimeError or KeyError where damaged inside
        raise DataError(
            f"{path}: not a readable h5 file, damaged or cut short ({error})"
        ) from error
    if not np.isfinite(image).all():
        bad = np.count_nonzero(~np.isfinite(image))
        raise DataError(f"{path}: image must be finite, got {bad} NaN or infinite voxels")
    if label is not None:
        label = _checked_label(path, label, num_classes)
    return Sample(case, image, label, spacing)


def _own_dataset(path: Path, file: h5py.File, key: str) -> h5py.Dataset:
    """The array `key`; links are looked at without following them, so no other file is opened."""
    import h5py

    links, name = file.id.links, key.encode()
    if not links.exists(name):
        found = list(islice(file, 10))
        raise DataError(f"{path}: an h5 case needs the key {key!r}, found {found}")
    if (kind := links.get_info(name).type) != h5py.h5l.TYPE_HARD:
        got = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
        raise DataError(f"{path}: {key} must lie in the file itself, got {got.get(kind, 'a link')}")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{path}: {key} must be an array, got a {type(dataset).__name__}")
    if dataset.is_virtual or dataset.external:
        got = "a virtual dataset" if dataset.is_virtual else "external storage"
        raise DataError(f"{path}: {key} must lie in the file itself, got {got}")
    return dataset


def _check_declared(path: Path, arrays: dict[str, h5py.Dataset], rank: int) -> None:
    """Type and shape as the file declares them; nothing is read for it."""
    shape = arrays["image"].shape
    for key, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {key} must hold numbers, got type {array.dtype}")
        if array.shape is None or len(array.shape) != rank:
            raise DataError(f"{path}: {key} must have {rank} axes, got shape {array.shape}")
        if array.shape != shape:
            raise DataError(f"{path}: label shape {array.shape} differs from image shape {shape}")
        voxels = math.prod(shape)
        declared, stored = voxels * array.dtype.itemsize, array.id.get_storage_size()
        if not voxels:
            raise DataError(f"{path}: every axis of {key} needs a voxel, got shape {shape}")
        if voxels > MAX_VOXELS or declared > MAX_BYTES:
            raise DataError(
                f"{path}: {key} may have {MAX_VOXELS} voxels and {MAX_BYTES} bytes, "
                f"got shape {shape} of {array.dtype}"
            )
        if declared > max(LARGE_BYTES, 1000 * stored):
            raise DataError(
                f"{path}: {key} of shape {shape} declares {declared} bytes, but only {stored} are "
                "stored; a large array must store at least a thousandth of what it declares"
            )


def _spacing(path: Path, file: h5py.File, rank: int) -> tuple[float, ...] | None:
    if "spacing" not in file.attrs:
        return None
    attribute = file.attrs.get_id("spacing")
    got = f"shape {attribute.shape} of {attribute.dtype}"
    if attribute.shape == (rank,) and attribute.dtype.kind in "iuf":
        got = tuple(map(float, file.attrs["spacing"]))
        if all(0 < length < math.inf for length in got):
            return got
    raise DataError(f"{path}: spacing must be {rank} positive finite numbers, in mm, got {got}")


def _checked_label(path: Path, label: np.ndarray, num_classes: int) -> np.ndarray:
    low, high = label.min(), label.max()
    if not (low >= 0 and high < num_classes) or (label.dtype.kind == "f" and (label % 1).any()):
        raise DataError(
            f"{path}: label must hold whole numbers 0 to {num_classes - 1}, got {low} to {high}"
        )
    return label.astype(np.uint8)


def read_list(path: Path) -> list[str]:
    """Case names of a list file, one a line, without ending.

    Raises:
        DataError: no file, no text, no name in it, a name that stands twice, or one that could
            lead out of the folder of the data: "..", / \\ : or characters that cannot be printed.
    """
    if not path.is_file():
        raise DataError(f"{path}: list file does not exist")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # -sig: Notepad's first bytes
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: a list must be UTF-8 text ({error})") from error
    names = [line.strip().removesuffix(".h5").strip() for line in lines if line.strip()]
    for name in names:
        if name in ("", ".") or ".." in name or set(name) & set("/\\:") or not name.isprintable():
            raise DataError(f"{path}: a case is a plain name, without .. / \\ or :, got {name!r}")
    if not names:
        raise DataError(f"{path}: a list must name at least one case, got an empty file")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: every case may stand once, {twice!r} stands twice")
    return names
