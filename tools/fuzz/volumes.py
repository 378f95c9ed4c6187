"""Raw volumes, NIfTI and NRRD, spoiled in their bytes and in the fields of their headers."""

from __future__ import annotations

import bz2
import gzip
import struct
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import nibabel
import numpy as np

from buarl.files.volume import read_volume

from .cases import AFFINE
from .judge import Input, same
from .mutate import NUMBERS, WORDS, number_bytes, spoil_bytes

NIFTI_FIELDS = {
    **{"sizeof_hdr": 0, "dim0": 40, "dim1": 42, "dim2": 44, "dim3": 46, "dim4": 48, "datatype": 70},
    **{"bitpix": 72, "pixdim0": 76, "pixdim1": 80, "pixdim3": 88, "vox_offset": 108, "slope": 112},
    **{"inter": 116, "xyzt_units": 123, "qform_code": 252, "sform_code": 254, "quatern_b": 256},
    **{"qoffset_x": 268, "srow_x": 280, "srow_y": 296, "srow_z": 312, "magic": 344, "ext": 348},
}


@cache
def nifti_bytes(version: int, order: str, scaled: bool) -> bytes:
    """A right NIfTI file, unpacked."""
    array = np.random.default_rng(1).integers(-50, 500, (6, 5, 4)).astype("i2")
    kind, head = (
        (nibabel.Nifti1Image, nibabel.Nifti1Header),
        (nibabel.Nifti2Image, nibabel.Nifti2Header),
    )[version - 1]
    image = kind(array, AFFINE, header=head(endianness=order))
    image.header.set_xyzt_units("mm")
    image.set_qform(AFFINE, 1)
    content = bytearray(image.to_bytes())
    if scaled and version == 1:
        struct.pack_into(order + "ff", content, 112, 0.5, 10.0)
    return bytes(content)


def nifti(folder: Path, rng: Random) -> Input:
    """`read_volume` of .nii and .nii.gz."""
    version, order = rng.choice((1, 1, 2)), rng.choice("<<>")
    content, packed = nifti_bytes(version, order, rng.random() < 0.3), rng.random() < 0.5
    path = folder / f"a.nii{'.gz' if packed else ''}"
    right = _read(_put(path, gzip.compress(content, mtime=0) if packed else content))
    free: frozenset[str] | None = None
    if rng.random() < 0.5 and version == 1:
        name = rng.choice(sorted(NIFTI_FIELDS))
        at, number = NIFTI_FIELDS[name], number_bytes(rng)
        spoiled, what = bytearray(content), f"{name} set to {number!r}"
        spoiled[at : at + len(number)] = number
        spoiled = gzip.compress(bytes(spoiled), mtime=0) if packed else bytes(spoiled)
    elif packed:
        spoiled, what = spoil_bytes(gzip.compress(content, mtime=0), rng)
        what, free = f"{what} of the gzip stream", frozenset()
    else:
        spoiled, what = spoil_bytes(content, rng)
    _put(path, spoiled)
    return Input(
        f"{what} (NIfTI-{version}{order})",
        lambda: _read(path),
        right,
        [str(path)],
        free,
        lambda found: _volume_rule(found) or _as_nibabel(path, found),
        folder,
    )


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _read(path: Path) -> dict[str, Any]:
    volume = read_volume(path)
    return {"array": volume.array, "affine": volume.affine, "spacing": volume.spacing}


def _volume_rule(found: dict[str, Any]) -> str | None:
    array, affine, spacing = found["array"], found["affine"], found["spacing"]
    if array.ndim != 3 or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return f"array {array.dtype} {array.shape}, or not finite"
    if not np.isfinite(affine).all() or not all(0 < size < np.inf for size in spacing):
        return f"affine {affine.tolist()}, spacing {spacing}"
    return None


def _as_nibabel(path: Path, found: dict[str, Any]) -> str | None:
    """Where nibabel reads the file as well, it must read the same voxels."""
    nibabel.imageglobals.logger.setLevel(100)
    try:
        other = np.asarray(nibabel.load(path).dataobj)
    except Exception:
        return None
    if not same(other.astype("f8"), found["array"].astype("f8")):
        return f"nibabel reads other voxels, {other.dtype} {other.shape}"
    return None


# NRRD

NRRD_VALUES = (
    *map(str, NUMBERS),
    *WORDS,
    "6 5 4",
    "(1,0,0) (0,1,0) (0,0,1)",
    "none (1,0,0)",
    "(nan,0,0) (0,1,0) (0,0,1)",
    "raw",
    "gzip",
    "ascii",
    "hex",
    "big",
    "uint8",
    "double",
    "block",
    "1e9 1e9 1e9",
    "100000 100000 100000",
    "-6 5 4",
    "0 5 4",
    "/etc/passwd",
    "LIST",
    "%03d.raw 1 3 1",
    "2147483647",
    '"mm" "mm" "cm"',
    "left-handed-xyz",
)
NRRD_FIELDS = (
    "type",
    "dimension",
    "sizes",
    "encoding",
    "endian",
    "space",
    "space directions",
    "space origin",
    "spacings",
    "units",
    "space units",
    "data file",
    "line skip",
    "byte skip",
    "kinds",
    "axis mins",
    "min",
    "content",
    "block size",
    "number",
    "space dimension",
    "thicknesses",
    "centers",
    "labels",
    "old min",
)


def nrrd(folder: Path, rng: Random) -> Input:
    """`read_volume` of .nrrd."""
    array = np.random.default_rng(2).integers(-50, 500, (6, 5, 4)).astype("<i2")
    packing, raw = rng.choice(("raw", "gzip", "bzip2", "ascii")), array.tobytes("F")
    fields = {
        "type": "int16",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "6 5 4",
        "space directions": "(1.5,0,0) (0,2,0.5) (0,0,8)",
        "endian": "little",
        "encoding": packing,
        "space origin": "(1,2,3)",
    }
    data = {
        "raw": lambda: raw,
        "gzip": lambda: gzip.compress(raw, mtime=0),
        "bzip2": lambda: bz2.compress(raw),
        "ascii": lambda: " ".join(map(str, array.ravel("F"))).encode(),
    }[packing]()
    path, free = folder / "a.nrrd", None
    right = _read(_put(path, _nrrd_bytes(fields, data)))
    change = rng.choice(("field", "field", "bytes", "data"))
    if change == "field":
        for _ in range(rng.choice((1, 1, 2))):
            name, value = rng.choice(NRRD_FIELDS), rng.choice(NRRD_VALUES)
            fields[name] = value
            if rng.random() < 0.1:
                fields.pop(name, None)
        what, content = f"{name}: {value[:40]}", _nrrd_bytes(fields, data)
    elif change == "data":
        data, what = spoil_bytes(data, rng)
        what, content = f"{what} of the voxels", _nrrd_bytes(fields, data)
        free = frozenset(("array",)) if packing in ("raw", "ascii") else frozenset()
    else:
        content, what = spoil_bytes(_nrrd_bytes(fields, data), rng)
    _put(path, content)
    return Input(
        f"{what} (NRRD, {packing})",
        lambda: _read(path),
        right,
        [str(path)],
        free,
        _volume_rule,
        folder,
    )


def _nrrd_bytes(fields: dict[str, str], data: bytes) -> bytes:
    lines = ["NRRD0005", *(f"{key}: {value}" for key, value in fields.items()), "", ""]
    return "\n".join(lines).encode("utf-8", "surrogatepass") + data
