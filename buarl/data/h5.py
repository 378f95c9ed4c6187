"""Reading one case of the public h5 layout, with one clear error for every way it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """Data that breaks a rule; the message names the file, the rule and the value found."""


class Sample(NamedTuple):
    """One case. image: float32 (*spatial). label: uint8 (*spatial), or None if it has none."""

    case: str
    image: np.ndarray
    label: np.ndarray | None


def read_case(
    path: Path, case: str, rank: int, num_classes: int, *, labeled: bool = True
) -> Sample:
    """Read `image` and `label` of an h5 file and check them.

    Args:
        path: The file. case: Its name in the list. rank: Number of axes wanted, 2 or 3.
        num_classes: Labels must lie in 0 to num_classes - 1.
        labeled: Require and read the label; otherwise a missing label is fine and none is returned.
    Raises:
        DataError: no or damaged file, missing key, wrong rank, shapes that differ, label values
            outside the classes, NaN or infinite voxels.
    """
    import h5py  # here: `import buarl` stays light

    if not path.is_file():
        raise DataError(f"{path}: listed as a case, but the file does not exist")
    try:
        with h5py.File(path, "r") as file:
            for key in ("image", "label") if labeled else ("image",):
                if key not in file:
                    raise DataError(f"{path}: an h5 case needs the key {key!r}, found {list(file)}")
            image = np.asarray(file["image"], dtype=np.float32)
            label = np.asarray(file["label"]) if labeled else None
    except DataError:
        raise
    except Exception as error:  # h5py: OSError; RuntimeError or KeyError where damaged inside
        raise DataError(
            f"{path}: not a readable h5 file, damaged or cut short ({error})"
        ) from error
    if image.ndim != rank:
        raise DataError(f"{path}: image must have {rank} axes, got shape {image.shape}")
    if not np.isfinite(image).all():
        bad = np.count_nonzero(~np.isfinite(image))
        raise DataError(f"{path}: image must be finite, got {bad} NaN or infinite voxels")
    if label is not None:
        label = _checked_label(path, label, image.shape, num_classes)
    return Sample(case, image, label)


def _checked_label(
    path: Path, label: np.ndarray, shape: tuple[int, ...], num_classes: int
) -> np.ndarray:
    if label.shape != shape:
        raise DataError(f"{path}: label shape {label.shape} differs from image shape {shape}")
    low, high = (label.min(), label.max()) if label.size else (0, 0)
    if not (low >= 0 and high < num_classes) or (label.dtype.kind == "f" and (label % 1).any()):
        raise DataError(
            f"{path}: label must hold whole numbers 0 to {num_classes - 1}, got {low} to {high}"
        )
    return label.astype(np.uint8)


def read_list(path: Path) -> list[str]:
    """Case names of a list file, one a line, without ending; empty lists are an error."""
    if not path.is_file():
        raise DataError(f"{path}: list file does not exist")
    names = [line.strip().removesuffix(".h5") for line in path.read_text().splitlines()]
    names = [name for name in names if name]
    if not names:
        raise DataError(f"{path}: a list must name at least one case, got an empty file")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: every case may stand once, {twice!r} stands twice")
    return names
