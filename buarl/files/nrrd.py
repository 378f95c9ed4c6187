"""NRRD: voxels and where they lie, from one file with its voxels inside.

A detached header, one that names a data file, is refused: it could name any file of the machine,
and the public data have none. So are fields that skip lines or bytes, which belong to such headers;
only "byte skip: -1" may stand, which means that the voxels end the file, as they must here anyway.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from buarl.arguments import counted
from buarl.data.errors import DataError, require_module
from buarl.data.limits import check_declared
from buarl.files.stream import open_stream

HEADER_BYTES = 2**20  # a header is a page of text; of more, nothing is read
FLIPS_TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
MILLIMETERS = {"um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "cm": 10.0, "m": 1e3}
TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int"), "i2"),
    **dict.fromkeys(("int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int"), "u2"),
    **dict.fromkeys(("uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long"), "i8"),
    **dict.fromkeys(("signed long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int"), "u8"),
    **dict.fromkeys(("uint64", "uint64_t"), "u8"),
    **{"float": "f4", "double": "f8"},
}
PACKINGS = {
    **{"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"},
    **dict.fromkeys(("ascii", "text", "txt"), "text"),
}
SKIPS = {"line skip", "lineskip", "byte skip", "byteskip"}
DETACHED = {"data file", "datafile"}


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A volume of an NRRD file whose voxels stand behind its header.

    Returns:
        The array (x, y, z), and its affine, float64 (4, 4), from voxels to RAS+ world mm.
    Raises:
        DataError: a detached header, or one that breaks another rule, or a file of another size
            than it states. Other exceptions mean a damaged file; `read_volume` says so.
    """
    with path.open("rb") as file:
        header = _header(path, file)
        shape = tuple(int(size) for size in header["sizes"])
        if len(shape) != 3 or int(header["dimension"]) != 3:
            raise DataError(f"{path}: a volume must have 3 axes, got shape {shape}")
        dtype, packing = _dtype(path, header), PACKINGS.get(str(header["encoding"]).lower())
        count = check_declared(path, "the volume", shape, dtype, path.stat().st_size)
        affine = _affine(path, header)
        if packing == "text":
            array = _numbers(path, file, shape, dtype)
        elif packing is None:
            known = sorted(PACKINGS)
            got = f"{header['encoding']!r:.200}"
            raise DataError(f"{path}: encoding must be one of {known}, got {got}")
        else:
            with open_stream(path, file, packing) as stream:
                array = np.ndarray(shape, dtype, stream.take(count), order="F")
                stream.end()
    return array, affine


def _header(path: Path, file: BinaryIO) -> OrderedDict[str, Any]:
    """The fields; afterwards the file stands behind the empty line that ends them."""
    nrrd = require_module(path, "nrrd", "pynrrd")
    begin = file.read(HEADER_BYTES)
    ends = [begin.find(mark) + len(mark) for mark in (b"\n\n", b"\n\r\n") if mark in begin]
    if not ends:
        raise DataError(
            f"{path}: not a readable volume, damaged or cut short (an NRRD header ends with an "
            f"empty line, none is found in the first {counted(len(begin), 'byte')})"
        )
    file.seek(min(ends))
    text = begin[: min(ends)].decode("utf-8", "replace")
    header = nrrd.read_header(io.StringIO(text))
    for field, value in header.items():
        if field.lower() in DETACHED:
            raise DataError(
                f"{path}: an NRRD file must hold its voxels itself, got the data file "
                f"{value!r:.200}; only attached headers are read"
            )
        if field.lower() in SKIPS and value not in ((0, -1) if "byte" in field.lower() else (0,)):
            raise DataError(f"{path}: {field} must be 0 in a file that holds voxels, got {value}")
    missing = [key for key in ("sizes", "type", "encoding", "dimension") if key not in header]
    if missing:
        found = f"{list(header)[:20]!s:.500}"
        raise DataError(f"{path}: an NRRD header needs {missing[0]!r}, found {found}")
    return header


def _dtype(path: Path, header: OrderedDict[str, Any]) -> np.dtype:
    code, order = TYPES.get(str(header["type"]).lower()), header.get("endian")
    if code is None:
        raise DataError(f"{path}: voxels must be real numbers, got type {header['type']!r:.200}")
    text = PACKINGS.get(str(header["encoding"]).lower()) == "text"
    if np.dtype(code).itemsize > 1 and not text and order not in ("little", "big"):
        raise DataError(f"{path}: endian must be 'little' or 'big', got {order!r:.200}")
    return np.dtype((">" if order == "big" else "<") + code)


def _numbers(path: Path, file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Voxels written as words; the file has two bytes or more for each, so its size bounds them."""
    count = int(np.prod(shape))
    stored = path.stat().st_size
    if not count <= stored <= HEADER_BYTES + 64 * count:  # a number has 1 to 63 signs
        raise DataError(
            f"{path}: damaged or cut short, {counted(count, 'number')} "
            f"cannot take {counted(stored, 'byte')}"
        )
    words = file.read().split(maxsplit=count)
    if len(words) != count:
        raise DataError(
            f"{path}: damaged or cut short, {counted(count, 'number')} must follow the header"
        )
    parsed = np.array([int(word) if dtype.kind in "iu" else float(word) for word in words])
    array = parsed.astype(dtype)
    if dtype.kind in "iu" and (array != parsed).any():
        raise DataError(f"{path}: a number does not fit into {dtype}")
    return array.reshape(shape, order="F")


def _affine(path: Path, header: OrderedDict[str, Any]) -> np.ndarray:
    space = str(header.get("space", "ras")).lower()
    if space not in FLIPS_TO_RAS:
        raise DataError(f"{path}: space must be one of {sorted(FLIPS_TO_RAS)}, got {space!r:.200}")
    affine = np.eye(4)
    if "space directions" in header:
        affine[:3, :3] = np.asarray(header["space directions"], dtype=np.float64).T
    elif "spacings" in header:
        affine[:3, :3] = np.diag(np.asarray(header["spacings"], dtype=np.float64))
    else:
        found = f"{list(header)[:20]!s:.500}"
        raise DataError(f"{path}: needs 'space directions' or 'spacings', found {found}")
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    units = header.get("space units" if "space directions" in header else "units", ())
    scales = {MILLIMETERS.get(str(unit).strip().lower(), 1.0) for unit in units} or {1.0}
    if len(scales) > 1:
        raise DataError(f"{path}: all axes must have one unit of length, got {list(units)!s:.200}")
    scale = scales.pop()
    return np.diag([*FLIPS_TO_RAS[space], 1]) @ np.diag([scale, scale, scale, 1.0]) @ affine
