"""Reading one case of the public h5 layout, with one clear error for every way it can be wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from buarl.data.errors import AccessError, DataError, reading, require_file, same_name
from buarl.data.limits import check_declared
from buarl.data.text import read_text

if TYPE_CHECKING:
    import h5py

__all__ = ["AccessError", "DataError", "Sample", "has_label", "open_h5", "read_case", "read_list"]
CHUNK_BYTES = 2**26  # a chunk is unpacked whole; beyond this it may not exceed its array


class Sample(NamedTuple):
    """One case.

    image: float32 (*spatial).
    label: uint8 (*spatial), or None if it has none.
    spacing: mm per axis of the arrays, or None where the file does not say.

    >>> sample = Sample("patient001", np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint8))
    >>> sample.image.shape, sample.spacing
    ((8, 8), None)
    """

    case: str
    image: np.ndarray
    label: np.ndarray | None
    spacing: tuple[float, ...] | None = None


def has_label(path: Path) -> bool:
    """Whether a case has a label; of one that cannot be opened, the reading later says why."""
    try:
        with open_h5(path) as file:
            return "label" in file
    except DataError:
        return True


def read_case(
    path: Path, case: str, rank: int, num_classes: int, *, labeled: bool = True
) -> Sample:
    """Read `image`, `label` and the attribute `spacing` of an h5 file and check them.

    Both arrays must lie in the file itself and be stored there completely, and what they declare is
    checked before any voxel is read (`buarl.data.limits`): a file from a stranger can neither make
    another file be read nor fill the memory.

    Args:
        path: The file.
        case: Its name in the list.
        rank: Number of axes wanted, 2 or 3.
        num_classes: Labels must lie in 0 to num_classes - 1.
        labeled: Require and read the label; otherwise a missing label is fine and none is returned.
    Raises:
        DataError: no or damaged file, missing key, soft or external link, external or virtual
            storage, a group, no numbers, wrong rank, an empty axis, more than 2**31 voxels or
            8 GiB, voxels that were never written, shapes that differ, label values outside the
            classes, NaN or infinite voxels, a spacing that is not one positive finite number per
            axis.
        AccessError: the file is locked, a folder, or may not be read; its content may be right.
    """
    require_file(path, "listed as a case, but the file does not exist")
    with open_h5(path) as file:
        keys = ("image", "label") if labeled else ("image",)
        arrays = {key: _own_dataset(path, file, key) for key in keys}
        _check_arrays(path, arrays, rank)
        image = np.asarray(arrays["image"], dtype=np.float32)
        label = np.asarray(arrays["label"]) if labeled else None
        spacing = _spacing(path, file, rank)
    if not np.isfinite(image).all():
        bad = np.count_nonzero(~np.isfinite(image))
        raise DataError(f"{path}: image must be finite, got {bad} NaN or infinite voxels")
    if label is not None:
        label = _checked_label(path, label, num_classes)
    return Sample(case, image, label, spacing)


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """An h5 file to read; whatever goes wrong inside the block is a `DataError` that names it."""
    import h5py  # here: `import buarl` stays light

    with reading(path, "h5 file"), h5py.File(path, "r") as file:
        yield file


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


def _check_arrays(path: Path, arrays: dict[str, h5py.Dataset], rank: int) -> None:
    """Type, shape and storage as the file declares them; nothing is read for it."""
    shape = arrays["image"].shape
    for key, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise DataError(f"{path}: {key} must hold numbers, got type {array.dtype}")
        if array.shape is None or len(array.shape) != rank:
            raise DataError(f"{path}: {key} must have {rank} axes, got shape {array.shape}")
        if array.shape != shape:
            raise DataError(f"{path}: label shape {array.shape} differs from image shape {shape}")
        check_declared(path, key, shape, array.dtype, array.id.get_storage_size())
        _check_written(path, key, array)


def _check_written(path: Path, key: str, array: h5py.Dataset) -> None:
    """HDF5 reads what was never written as zeros, without a word; here it is an error."""
    if array.chunks is None:
        parts, written, unit = 1, int(array.id.get_storage_size() > 0), "arrays"
    else:
        pairs = zip(array.shape, array.chunks, strict=True)
        parts, written = math.prod(-(-n // size) for n, size in pairs), array.id.get_num_chunks()
        unit, size = "chunks", math.prod(array.chunks) * array.dtype.itemsize
        if size > max(CHUNK_BYTES, array.size * array.dtype.itemsize):
            raise DataError(f"{path}: chunks of {key} may have {CHUNK_BYTES} bytes, got {size}")
    if written < parts:
        raise DataError(
            f"{path}: {key} must be stored completely, but only {written} of {parts} {unit} were "
            "ever written; the program that wrote the file was probably interrupted"
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

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "val.list"
    ...     _ = path.write_text("patient001\\npatient002.h5\\n")
    ...     read_list(path)
    ['patient001', 'patient002']
    """
    lines = read_text(path, "list").splitlines()
    names = [line.strip().removesuffix(".h5").strip() for line in lines if line.strip()]
    for name in names:
        if name in ("", ".") or ".." in name or set(name) & set("/\\:") or not name.isprintable():
            raise DataError(
                f"{path}: a case is a plain name, without .. / \\ or :, got {name!r:.200}"
            )
    if not names:
        raise DataError(f"{path}: a list must name at least one case, got an empty file")
    forms = [same_name(name) for name in names]  # two Unicode forms of a name are one name
    if len(set(forms)) != len(forms):
        twice = next(name for name, form in zip(names, forms, strict=True) if forms.count(form) > 1)
        raise DataError(f"{path}: every case may stand once, {twice!r:.200} stands twice")
    return names
