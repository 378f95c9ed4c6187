"""What the converters share: checked pairs of image and label, h5 cases, splits, whole folders."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from buarl.arguments import check_count, counted
from buarl.data import cache, h5_writer
from buarl.data.errors import DataError, writing
from buarl.files.volume import Volume, read_volume

HAIR = 1e-3  # how far from a whole number a label value may lie


@dataclass(frozen=True)
class Report:
    """What a converter wrote. cases: Number per split. notes: What is worth reading."""

    root: Path
    source: str
    cases: dict[str, int]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """A few lines for people."""
        counts = ", ".join(f"{count} {split}" for split, count in self.cases.items())
        volumes = counted(sum(self.cases.values()), "volume")
        return "\n".join(
            [f"{self.root}: {volumes}: {counts}", *(f"  {note}" for note in self.notes)]
        )


@contextmanager
def complete_or_absent(out: Path) -> Iterator[Path]:
    """A folder beside `out` to build in, renamed to `out` at the end, removed after an error.

    Raises:
        DataError: out exists and is not an empty folder.
        AccessError: it cannot be written: disk full, no permission, a file in its path, ...
    """
    out = Path(out).resolve()
    with writing(out):
        if not cache.is_new_or_empty(out):
            raise DataError(f"{out}: the output folder must be new or empty")
        with cache.built_beside(out) as built:
            yield built


def read_pair(
    image_path: Path, label_path: Path | None, *, check_affine: bool = True
) -> tuple[Volume, np.ndarray | None]:
    """An image and the values of its label, both (x, y, z).

    Args:
        label_path: None for an image without one.
        check_affine: Ask both to cover the same place: corners within a tenth of a voxel.
    Raises:
        DataError: see `read_volume`; a label of another shape or place, or with fractions.
    """
    image = read_volume(image_path)
    if label_path is None:
        return image, None
    label = read_volume(label_path)
    if label.array.shape != image.array.shape:
        raise DataError(
            f"{label_path}: label shape {label.array.shape} differs from the image's "
            f"{image.array.shape} in {image_path.name}"
        )
    apart = _corner_distance(image, label)
    if check_affine and apart > 0.1 * min(image.spacing):
        raise DataError(
            f"{label_path}: label and image {image_path.name} must have one affine, their corners "
            f"lie {apart:.3g} mm apart; if only the header is wrong, switch the check off "
            "(check_affine=False, --no-check-affine)"
        )
    return image, whole_numbers(label_path, label.array)


def whole_numbers(path: Path, array: np.ndarray) -> np.ndarray:
    """Label values as int64.

    Files that scale their voxels store 1 as 1.0000153, so values within a thousandth of a whole
    number are rounded to it; other fractions are an error.

    Raises:
        DataError: a fraction, or a value beyond 32 bits; the message names it.
    """
    if array.dtype.kind == "f":
        nearest = np.rint(array)
        far = np.abs(array - nearest) > HAIR
        if far.any():
            raise DataError(f"{path}: a label must hold whole numbers, got {array[far][0]:.7g}")
        array = nearest
    low, high = array.min(), array.max()
    if low < -(2**31) or high >= 2**31:
        raise DataError(f"{path}: label values must fit into 32 bits, got {low:g} to {high:g}")
    return array.astype(np.int64)


def _corner_distance(a: Volume, b: Volume) -> float:
    """Largest distance in mm between corners of two volumes of one shape."""
    corners = np.indices((2, 2, 2)).reshape(3, -1) * (np.array(a.array.shape)[:, None] - 1)
    corners = np.vstack([corners, np.ones(8)])
    return float(np.linalg.norm(((a.affine - b.affine) @ corners)[:3], axis=0).max())


def minmax(path: Path, array: np.ndarray) -> np.ndarray:
    """(v - min) / (max - min) over the volume, float32 in [0, 1] (docs/protocol.md 1.1).

    >>> minmax(Path("a.nii"), np.array([1, 2, 3]))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    array = array.astype(np.float64)
    low, high = array.min(), array.max()
    if low == high:
        raise DataError(f"{path}: an image needs more than one grey value, got only {low:g}")
    return ((array - low) / (high - low)).astype(np.float32)


def zscore(path: Path, array: np.ndarray) -> np.ndarray:
    """(v - mean) / standard deviation over the volume, float32 (docs/protocol.md 1.2).

    >>> zscore(Path("a.nii"), np.array([1, 3]))
    array([-1.,  1.], dtype=float32)
    """
    array = array.astype(np.float64)
    deviation = array.std()
    if array.min() == array.max():  # the deviation of 0.1 everywhere is 1.4e-17
        raise DataError(f"{path}: an image needs more than one grey value, got {array.flat[0]:g}")
    return ((array - array.mean()) / deviation).astype(np.float32)


NORMALISATIONS: dict[str, Callable[[Path, np.ndarray], np.ndarray]] = {
    "minmax": minmax,
    "zscore": zscore,
}


def shifted(affine: np.ndarray, start: Sequence[int]) -> np.ndarray:
    """The affine of a part of a volume that begins at voxel `start`.

    >>> shifted(np.diag([2.0, 2.0, 5.0, 1.0]), (1, 0, 1))[:3, 3]
    array([2., 0., 5.])
    """
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ np.asarray(start, dtype=np.float64)
    return moved


def write_h5(
    path: Path,
    image: np.ndarray,
    label: np.ndarray | None,
    *,
    spacing: Sequence[float],
    affine: np.ndarray,
    source: str,
) -> None:
    """One case with its attributes (axis order: see `volume`); no key `label` without a label.

    It is built in memory and then written: HDF5 itself can lose the error of a full disk.
    """
    content = io.BytesIO()
    h5_writer.write_h5(
        content,
        image,
        None if label is None else label.astype(np.uint8),
        spacing=np.asarray(spacing, dtype=np.float64),
        affine=np.asarray(affine, dtype=np.float64),
        source=source,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getbuffer())


def write_slices(
    folder: Path,
    case: str,
    image: np.ndarray,
    label: np.ndarray | None,
    volume: Volume,
    source: str,
) -> list[str]:
    """The slices of a volume (z, y, x), numbered from 1; their names, in anatomical order."""
    names = [f"{case}_slice_{k + 1}" for k in range(len(image))]
    for k, name in enumerate(names):
        write_h5(
            folder / f"{name}.h5",
            image[k],
            None if label is None else label[k],
            spacing=volume.spacing[1::-1],
            affine=shifted(volume.affine, (0, 0, k)),
            source=source,
        )
    return names


def split_patients(
    patients: Iterable[str],
    val: float,
    test: float,
    seed: int,
    *,
    where: Path,
    hint: str = "choose smaller shares val and test",
) -> dict[str, list[str]]:
    """Patients per split, drawn by the seed alone; the order they come in does not matter.

    Args:
        patients: Names of all patients; a name may come more than once.
        val, test: Shares in [0, 1), rounded; a share above 0 takes at least one.
        seed: Decides which patients are drawn.
        where: Folder of the patients, for messages.
        hint: What to do where they are too few.
    Raises:
        DataError: shares out of range, or no patient left to train on.

    >>> split = split_patients([f"p{i}" for i in range(10)], 0.1, 0.2, 0, where=Path("."))
    >>> {name: len(patients) for name, patients in split.items()}
    {'train': 7, 'val': 1, 'test': 2}
    """
    names, seed = sorted(set(patients)), check_count("seed", seed, 0)
    if not (0 <= val < 1 and 0 <= test < 1):
        raise DataError(
            f"{where}: val and test must be shares from 0 to below 1, got {val} and {test}"
        )
    first, second = (max(1, math.floor(s * len(names) + 0.5)) if s else 0 for s in (val, test))
    if first + second >= len(names):
        raise DataError(
            f"{where}: {counted(len(names), 'patient')} with labels cannot give "
            f"{first} to val, {second} to "
            f"test and one to train; {hint}"
        )
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    return {
        "train": order[first + second :],
        "val": order[:first],
        "test": order[first : first + second],
    }


def check_disjoint(where: Path, splits: dict[str, list[str]], patient: Callable) -> None:
    """No patient may stand in two splits."""
    home: dict[str, str] = {}
    for split, names in splits.items():
        for name in names:
            if home.setdefault(patient(name), split) != split:
                raise DataError(
                    f"{where}: a patient may stand in one split only, {patient(name)!r} stands in "
                    f"{home[patient(name)]} and {split}"
                )


def write_csv(path: Path, rows: list[dict]) -> None:
    """A table, columns of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
