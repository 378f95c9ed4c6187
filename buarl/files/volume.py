"""Raw volumes, NIfTI and NRRD: an array, where its voxels lie in the patient, and their size.

Axis order, said once for the whole package. A `Volume` keeps the order of the file, (x, y, z), as
nibabel gives it. An h5 file in ACDC's layout holds (slice z, row y, column x), that is
`volume.array.transpose(2, 1, 0)`; one in LA's layout holds (x, y, z) unchanged. The h5 attribute
`spacing` follows the h5's own axes, the attribute `affine` always belongs to the (x, y, z) array.

World coordinates are millimeters in RAS+ (x to the patient's right, y to the front, z to the head),
also for NRRD files, which mostly say left-posterior-superior, and for files in micron or meter.

What a file can cost: what it states is compared with what it holds before anything is allocated,
and nothing outside it is opened. Memory is that of its voxels, 8 GiB at most and 1 GiB for a file
of less than a megabyte, plus a copy if they are scaled; time follows. Normalizing takes another 12
bytes a voxel.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from buarl.data.errors import DataError, reading, require_file, require_module, writing
from buarl.files.nifti import read_nifti, write_nifti
from buarl.files.nrrd import read_nrrd

if TYPE_CHECKING:
    from nibabel import Nifti1Header

SUFFIXES = (".nii.gz", ".nii", ".nrrd")


class Volume(NamedTuple):
    """An image in space.

    array: (x, y, z).
    affine: float64 (4, 4), voxel to RAS+ world mm.
    spacing: mm per axis.
    header: The header of a NIfTI file as it stands there, so that a mask can lie exactly where its
        image lies; None from other formats.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]
    header: Nifti1Header | None = None


def volume_stem(path: Path) -> str | None:
    """The file name without .nii, .nii.gz or .nrrd; None for any other file and hidden ones.

    >>> volume_stem(Path("p1_a.NII.GZ")), volume_stem(Path("p1_a.mha"))
    ('p1_a', None)
    """
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and not path.name.startswith("."):
            return path.name[: -len(suffix)]
    return None


def read_volume(path: Path) -> Volume:
    """Read a 3-D volume. An NRRD file without a named space counts as RAS+.

    Args:
        path: .nii, .nii.gz or .nrrd, in any case.
    Raises:
        DataError: no such file, other ending, damaged, cut short or longer than its header states,
            not 3-D, an empty axis, more than 2**31 voxels or 8 GiB, a detached header, voxels that
            are no finite real numbers or that have no size.
        AccessError: the file cannot be read here: a folder, no permission, a library is missing.
    """
    path = Path(path)
    require_file(path)
    if volume_stem(path) is None:
        raise DataError(f"{path}: a volume must end in one of {SUFFIXES}")
    header = None
    with reading(path, "volume"):
        if path.name.lower().endswith(".nrrd"):
            array, affine = read_nrrd(path)
        else:
            array, affine, header = read_nifti(path)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.count_nonzero(~np.isfinite(array))
        raise DataError(f"{path}: voxels must be finite, got {bad} NaN or infinite ones")
    return Volume(array, affine, _spacing(path, affine), header)


def write_volume(
    path: Path, array: np.ndarray, affine: np.ndarray, header: Nifti1Header | None = None
) -> None:
    """Write .nii.gz (or .nii), complete or not at all: a file beside it is renamed at the end.

    Args:
        path: Replaced if it exists.
        array: (x, y, z), the dtype is kept (bool becomes uint8).
        affine: (4, 4) voxel to RAS+ world mm, written as sform and qform.
        header: `Volume.header` of the image that the array belongs to; sform, qform, their codes
            and the unit are then written exactly as they stand there, instead of `affine`.
    Raises:
        DataError: another ending. AccessError: it cannot be written: disk full, no permission, ...
    """
    path, array = Path(path), np.asarray(array)
    if not path.name.endswith((".nii.gz", ".nii")):
        raise DataError(f"{path}: volumes are written as .nii.gz or .nii")
    require_module(path, "nibabel", "nibabel")
    array = array.astype(np.uint8) if array.dtype == bool else array
    scratch = path.with_name(f".{os.getpid()}-{path.name}")
    with writing(path):
        try:
            write_nifti(scratch, array, affine, header)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def _spacing(path: Path, affine: np.ndarray) -> tuple[float, float, float]:
    """Lengths of the affine's columns: the size of a voxel along its own axes."""
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        good = np.isfinite(affine).all() and np.isfinite(sizes).all() and (sizes > 0).all()
        good = good and np.linalg.det(affine[:3, :3])
    if not good or not np.isfinite(good):
        raise DataError(
            f"{path}: every voxel needs a size and a place, got affine {affine[:3].tolist()}"
        )
    x, y, z = (float(size) for size in sizes)
    return x, y, z
