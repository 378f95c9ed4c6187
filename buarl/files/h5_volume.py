"""An h5 case as a volume that lies somewhere in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from buarl.data.errors import DataError
from buarl.data.h5 import open_h5, read_case
from buarl.files.volume import Volume


def read_h5_volume(path: Path, rank: int) -> tuple[Volume, str]:
    """An h5 case as a volume (x, y, z), and what had to be assumed about its place.

    Without an attribute `affine` the first voxel lies at the origin and the axes along the world's;
    without `spacing` either, a voxel is 1 mm wide.
    """
    case = read_case(path, path.stem, 3, 1, labeled=False)
    array = case.image.T if rank == 2 else case.image
    affine, note = _h5_affine(path), ""
    if affine is None:
        spacing = case.spacing or (1.0, 1.0, 1.0)
        affine = np.diag([*(spacing[::-1] if rank == 2 else spacing), 1.0])
        note = "no affine in the file: placed at the origin"
        note += "" if case.spacing else ", voxels of 1 mm"
    x, y, z = (float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))
    return Volume(array, affine, (x, y, z)), note


def _h5_affine(path: Path) -> np.ndarray | None:
    with open_h5(path) as file:
        if "affine" not in file.attrs:
            return None
        kind = file.attrs.get_id("affine")
        got = f"shape {kind.shape} of {kind.dtype}"
        if kind.shape == (4, 4) and kind.dtype.kind in "iuf":
            affine = np.array(file.attrs["affine"], dtype=np.float64)
            if np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]):
                return affine
            got = affine.tolist()
    raise DataError(f"{path}: affine must be an invertible 4 x 4 matrix, got {got}")
