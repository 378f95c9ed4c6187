"""Raw volumes, NIfTI and NRRD: an array, where its voxels lie in the patient, and their size.

Axis order, said once for the whole package. A `Volume` keeps the order of the file, (x, y, z), as
nibabel gives it. An h5 file in ACDC's layout holds (slice z, row y, column x), that is
`volume.array.transpose(2, 1, 0)`; one in LA's layout holds (x, y, z) unchanged. The h5 attribute
`spacing` follows the h5's own axes, the attribute `affine` always belongs to the (x, y, z) array.

World coordinates are millimetres in RAS+ (x to the patient's right, y to the front, z to the head),
also for NRRD files, which mostly say left-posterior-superior.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from buarl.data.h5 import DataError

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
MAX_VOXELS = 2**31
FLIPS_TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}


class Volume(NamedTuple):
    """array: (x, y, z). affine: float64 (4, 4), voxel to RAS+ world mm. spacing: mm per axis."""

    array: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, float, float]


def volume_stem(path: Path) -> str | None:
    """The file name without .nii, .nii.gz or .nrrd; None for any other file and hidden ones."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return path.name.removesuffix(suffix)
    return None


def read_volume(path: Path) -> Volume:
    """Read a 3-D volume. An NRRD file without a named space counts as RAS+.

    Args:
        path: .nii, .nii.gz or .nrrd.
    Raises:
        DataError: no such file, other ending, damaged or cut short, not 3-D, an empty axis or more
            than 2**31 voxels, voxels that are no finite real numbers or that have no size.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if volume_stem(path) is None:
        raise DataError(f"{path}: a volume must end in one of {SUFFIXES}")
    try:
        array, affine = _read_nrrd(path) if path.suffix == ".nrrd" else _read_nifti(path)
    except DataError:
        raise
    except Exception as error:  # OSError, EOFError, zlib.error, ImageFileError, NRRDError, ...
        raise DataError(f"{path}: not a readable volume, damaged or cut short ({error})") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path}: voxels must be real numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.count_nonzero(~np.isfinite(array))
        raise DataError(f"{path}: voxels must be finite, got {bad} NaN or infinite ones")
    return Volume(array, affine, _spacing(path, affine))


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write .nii.gz (or .nii), complete or not at all: a file beside it is renamed at the end.

    Args:
        path: Replaced if it exists. array: (x, y, z), the dtype is kept (bool becomes uint8).
        affine: (4, 4) voxel to RAS+ world mm, written as sform and qform.
    """
    import nibabel

    path, array = Path(path), np.asarray(array)
    if not path.name.endswith((".nii.gz", ".nii")):
        raise DataError(f"{path}: volumes are written as .nii.gz or .nii")
    array = array.astype(np.uint8) if array.dtype == bool else array
    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")  # a qform knows no shear, the sform is exact
    scratch = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        nibabel.save(image, scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel

    image = nibabel.load(path)  # the header only
    _check_shape(path, image.shape)
    if path.suffix == ".gz":  # the whole stream at once, since only its end has the checksum
        image = type(image).from_bytes(gzip.decompress(path.read_bytes()))
    return np.asanyarray(image.dataobj), _nifti_affine(image)


def _nifti_affine(image) -> np.ndarray:
    """The sform, as everywhere; the qform where the sform's voxel size contradicts the header's.

    ACDC needs it: files of the official release have an sform of 1 mm voxels beside a qform and
    voxel sizes that are right (MIC-DKFZ/nnUNet issue 2741).
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(sizes, image.header.get_zooms()[:3], rtol=0.01, atol=0):
        return affine
    return np.asarray(image.header.get_qform(), dtype=np.float64)


def _read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nrrd

    header = nrrd.read_header(str(path))
    _check_shape(path, tuple(int(size) for size in header["sizes"]))
    array, _ = nrrd.read(str(path), index_order="F")
    space = str(header.get("space", "ras")).lower()
    if space not in FLIPS_TO_RAS:
        raise DataError(f"{path}: space must be one of {sorted(FLIPS_TO_RAS)}, got {space!r}")
    affine = np.eye(4)
    if "space directions" in header:
        affine[:3, :3] = np.asarray(header["space directions"], dtype=np.float64).T
    elif "spacings" in header:
        affine[:3, :3] = np.diag(np.asarray(header["spacings"], dtype=np.float64))
    else:
        raise DataError(f"{path}: needs 'space directions' or 'spacings', found {list(header)}")
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    return array, np.diag([*FLIPS_TO_RAS[space], 1]) @ affine


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise DataError(f"{path}: a volume must have 3 axes, got shape {shape}")
    if min(shape) < 1 or np.prod([float(size) for size in shape]) > MAX_VOXELS:
        raise DataError(f"{path}: 1 to {MAX_VOXELS} voxels can be read, got shape {shape}")


def _spacing(path: Path, affine: np.ndarray) -> tuple[float, float, float]:
    """Lengths of the affine's columns: the size of a voxel along its own axes."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    good = np.isfinite(affine).all() and (sizes > 0).all() and np.linalg.det(affine[:3, :3])
    if not good:
        raise DataError(f"{path}: every voxel needs a size and a place, got affine {affine[:3]}")
    x, y, z = (float(size) for size in sizes)
    return x, y, z
