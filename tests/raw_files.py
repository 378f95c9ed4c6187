"""Tiny releases in the raw formats: asymmetric volumes, oblique in space, one corner marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

AFFINE = np.array(  # columns of length 1.5, 2 and 8, oblique, in RAS+
    [[0.0, -1.6, 4.8, 10.0], [1.5, 0.0, 0.0, -20.0], [0.0, 1.2, 6.4, 30.0], [0.0, 0.0, 0.0, 1.0]]
)
SPACING = (1.5, 2.0, 8.0)
SHAPE = (12, 10, 5)  # x, y, z: all different


def image_of(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """int16 noise whose last corner in x, first in y, last in z is the brightest voxel."""
    image = np.random.default_rng(seed).integers(-50, 500, shape).astype(np.int16)
    image[-1, 0, -1] = 1000
    return image


def label_of(seed: int, classes: int = 4, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """uint8 blobs of all classes in every slice, unlike their mirror images and transposes."""
    x, y = np.indices(shape[:2])
    plane = np.roll((x + 2 * y) * classes // (shape[0] + 2 * shape[1]), seed, axis=0)
    return np.repeat(plane[:, :, None], shape[2], axis=2).astype(np.uint8)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """By nibabel itself, not by the code under test."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    array = array.astype(np.int16) if array.dtype == np.int64 else array
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def write_nrrd(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """In left-posterior-superior, as scanners and the challenge write it."""
    import nrrd

    path.parent.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    header = {
        "space": "left-posterior-superior",
        "space directions": lps[:3, :3].T,  # one row per array axis
        "space origin": lps[:3, 3],
        "encoding": "gzip",
    }
    nrrd.write(str(path), array, header, index_order="F")
    return path


def write_acdc_patient(folder: Path, seed: int, ed: int = 1, es: int = 12) -> Path:
    """Info.cfg, two annotated frames, and the film that has no label."""
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text(
        f"ED: {ed}\nES: {es}\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\n"
    )
    for frame in (ed, es):
        stem = folder / f"{folder.name}_frame{frame:02d}"
        write_nifti(stem.with_name(f"{stem.name}.nii.gz"), image_of(100 * seed + frame))
        write_nifti(stem.with_name(f"{stem.name}_gt.nii.gz"), label_of(seed + frame))
    return folder


def write_acdc(root: Path, patients: int = 6) -> Path:
    """Most patients in training/, the last in testing/."""
    for seed in range(1, patients + 1):
        part = "testing" if seed == patients else "training"
        write_acdc_patient(root / part / f"patient{seed:03d}", seed)
    return root


def write_la(root: Path, scans: int, unlabeled: int = 0, shape: tuple = (40, 30, 4)) -> Path:
    """Scans CASE00, ...; the last ones lack a label."""
    for seed in range(scans):
        folder = root / f"CASE{seed:02d}"
        write_nrrd(folder / "lgemri.nrrd", image_of(seed, shape))
        mask = np.zeros(shape, np.uint8)
        x, y = shape[0] // 2, shape[1] // 2
        mask[x - 5 : x + 5, y - 4 : y + 4 + seed % 3, 1:3] = 255
        if seed < scans - unlabeled:
            write_nrrd(folder / "laendo.nrrd", mask)
    return root
