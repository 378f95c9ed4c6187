"""NIfTI: voxels, and where they lie, with every number of the header checked before it is used."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from buarl.arguments import counted
from buarl.data.errors import DataError, require_module
from buarl.data.limits import LARGE_BYTES, check_declared
from buarl.files.stream import Stream, open_stream

if TYPE_CHECKING:
    from nibabel import Nifti1Header

SIZES = {
    348: "Nifti1Header",
    540: "Nifti2Header",
}  # the first number of a file is its header's size
MILLIMETERS = {1: 1000.0, 2: 1.0, 3: 0.001}  # of meter, mm and micron; without a unit, mm is meant
PLACE = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)
"""Fields that say where the voxels lie, besides the first four numbers of `pixdim`."""
QUIET = logging.Logger("quiet", level=logging.CRITICAL + 1)


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray, Nifti1Header]:
    """A single-file NIfTI-1 or NIfTI-2 volume, .nii or .nii.gz in any case.

    Returns:
        array: (x, y, z), scaled as the header says.
        affine: float64 (4, 4), voxel to RAS+ world, in mm whatever unit the file uses.
        header: As it stands in the file.
    Raises:
        DataError: a header that breaks a rule, or a file of another size than it states. Other
            exceptions of the libraries mean a damaged file; `read_volume` says so.
    """
    nibabel = require_module(path, "nibabel", "nibabel")
    packing = "gzip" if path.name.lower().endswith(".gz") else "raw"
    with path.open("rb") as file, open_stream(path, file, packing) as stream:
        header = _header(path, stream)
        fixed = header.copy()
        fixed.check_fix(logger=QUIET, error_level=40)
        shape, dtype = fixed.get_data_shape(), fixed.get_data_dtype()
        _check_kind(path, shape, dtype)
        stored = path.stat().st_size
        count = check_declared(path, "the volume", shape, dtype, stored)
        offset = _offset(path, header, stored)
        if packing == "raw" and offset + count != stored:
            short = "damaged or cut short" if offset + count > stored else "damaged"
            raise DataError(
                f"{path}: {short}, the header asks for {counted(count, 'byte')} of voxels "
                f"from byte {offset}, "
                f"so the file must have {counted(offset + count, 'byte')}, got {stored}"
            )
        stream.take(offset - header.sizeof_hdr)  # extensions, nothing we need
        content = stream.take(count)
        stream.end()
    array = np.ndarray(shape, dtype, content, order="F")
    slope, inter = (value or 0.0 for value in fixed.get_slope_inter())
    if slope:  # 0 and absent mean: not scaled
        array = nibabel.volumeutils.apply_read_scaling(array, slope, inter)
    return array, nifti_affine(header), header


def write_nifti(
    path: Path, array: np.ndarray, affine: np.ndarray, header: Nifti1Header | None = None
) -> None:
    """Write a NIfTI file; the dtype of the array is kept.

    Args:
        path: .nii or .nii.gz.
        array: (x, y, z).
        affine: (4, 4), voxel to RAS+ world mm.
        header: The header of the image that the array belongs to: its sform, qform, both codes and
            its unit are written exactly as they are, and `affine` is not used.
    """
    import nibabel

    if header is None:
        image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
        image.header.set_xyzt_units("mm")
        image.set_sform(affine, code="scanner")
        image.set_qform(affine, code="scanner")  # a qform knows no shear, the sform is exact
    else:
        two = isinstance(header, nibabel.Nifti2Header)
        kind = nibabel.Nifti2Image if two else nibabel.Nifti1Image
        image = kind(array, None, dtype=array.dtype)
        for field in PLACE:
            image.header[field] = header[field]
        image.header["pixdim"][:4] = header["pixdim"][:4]
    nibabel.save(image, path)


def nifti_affine(header: Nifti1Header) -> np.ndarray:
    """Voxel to world in mm: the sform if it has a code, else the qform, else the voxel sizes.

    One exception. Files of the official ACDC release have an sform of 1 mm voxels beside a qform
    and voxel sizes that are right (MIC-DKFZ/nnUNet issue 2741). So where the sform contradicts
    the header's voxel sizes, a qform that has a code counts. Where that has none, the sform stays;
    only its bare placeholder, voxels of 1 along the axes from the origin, takes their sizes.
    Sizes of 0 say nothing and contradict nobody.
    """
    unit = MILLIMETERS.get(int(header["xyzt_units"]) & 7, 1.0)
    fixed = header.copy()
    fixed.check_fix(logger=QUIET, error_level=100)
    affine = np.asarray(fixed.get_best_affine(), dtype=np.float64)
    stated = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    if fixed["sform_code"] and np.isfinite(stated).all() and (stated > 0).all():
        with np.errstate(over="ignore", invalid="ignore"):
            sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.allclose(sizes, stated, rtol=0.01, atol=0):
            if fixed["qform_code"]:
                affine = np.asarray(fixed.get_qform(), dtype=np.float64)
            elif _is_placeholder(affine):
                affine = affine @ np.diag([*stated, 1.0])
    return np.diag([unit, unit, unit, 1.0]) @ affine


def _is_placeholder(affine: np.ndarray) -> bool:
    """Whether an affine only flips or swaps axes, from the origin."""
    turn = np.abs(affine[:3, :3])
    return bool(
        np.isin(turn, (0.0, 1.0)).all()
        and (turn.sum(0) == 1).all()
        and (turn.sum(1) == 1).all()
        and not affine[:3, 3].any()
    )


def _header(path: Path, stream: Stream) -> Nifti1Header:
    """The header in either byte order, its numbers as they stand in the file."""
    import nibabel

    begin = stream.take(4)
    for size, name in SIZES.items():
        if size in (int.from_bytes(begin, "little"), int.from_bytes(begin, "big")):
            block = bytes(begin + stream.take(size - 4))
            return getattr(nibabel, name)(block, check=False)
    raise DataError(
        f"{path}: not a readable volume, damaged or cut short (a NIfTI file begins with the "
        f"number 348 or 540, got the bytes {bytes(begin)!r})"
    )


def _check_kind(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 3:
        raise DataError(f"{path}: a volume must have 3 axes, got shape {tuple(map(int, shape))}")
    if dtype.kind not in "biuf":
        raise DataError(f"{path}: voxels must be real numbers, got {dtype}")


def _offset(path: Path, header: Nifti1Header, stored: int) -> int:
    """Where the voxels begin; 0 would read the header as voxels."""
    offset, least = float(header["vox_offset"]), header.single_vox_offset
    most = max(LARGE_BYTES, stored)
    if not (least <= offset <= most and offset % 1 == 0):
        raise DataError(
            f"{path}: vox_offset, where the voxels begin, must be a whole number from {least} to "
            f"{most}, got {offset:g}"
        )
    return int(offset)
