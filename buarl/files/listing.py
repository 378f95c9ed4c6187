"""Which files of a folder are images: one listing for all commands, so that none is lost.

Endings count without case. A file that is an image by its ending but cannot be read here is named
and stops: left out, it would take its label's image, or its patient, with it. Hidden files, texts,
tables and folders are no images.
"""

from __future__ import annotations

import os
from pathlib import Path

from buarl.data.errors import DataError, reading, refuse_folder, require_folder, same_name
from buarl.files.volume import SUFFIXES, volume_stem

UNREADABLE = frozenset(
    (
        *(".mha", ".mhd", ".nhdr", ".hdr", ".img", ".mgz", ".mgh", ".mnc", ".gipl", ".vtk", ".vti"),
        *(".dcm", ".dicom", ".ima", ".raw", ".h5", ".hdf5", ".npy", ".npz", ".nii", ".nrrd"),
        *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"),
    )
)
PACKED = frozenset((".gz", ".bz2", ".xz", ".zst", ".zip", ".7z"))


def image_stem(path: Path, also: tuple[str, ...] = ()) -> str | None:
    """The file name without the ending of an image that can be read; None for any other.

    Args:
        path: The file, which is not opened.
        also: Endings besides .nii, .nii.gz and .nrrd.

    >>> image_stem(Path("a.b.NII.GZ")), image_stem(Path("a.h5"), (".h5",)), image_stem(Path("a.h5"))
    ('a.b', 'a', None)
    """
    if path.suffix.lower() in also and not path.name.startswith("."):
        return path.stem
    return volume_stem(path)


def is_image_like(path: Path) -> bool:
    """Whether an ending is one of images, read here or not, packed or not.

    >>> [is_image_like(Path(n)) for n in ("a.mha", "a.nii.bz2", "a.txt", ".a.nii", "a.csv.gz")]
    [True, True, False, False, False]
    """
    if path.name.startswith("."):
        return False
    inner = Path(path.stem) if path.suffix.lower() in PACKED else path
    return volume_stem(path) is not None or inner.suffix.lower() in UNREADABLE


def image_files(folder: Path, also: tuple[str, ...] = ()) -> dict[str, Path]:
    """The images directly in a folder by name without ending, sorted.

    Args:
        folder: Where to look.
        also: Endings to take besides .nii, .nii.gz and .nrrd.
    Returns:
        Names in one Unicode form (NFC), so that the same name typed on two systems is one name.
    Raises:
        DataError: no such folder, an image that cannot be read here, a folder named like an image,
            or two images of one name.
    """
    require_folder(folder)
    with reading(folder, "folder"):
        paths = sorted(folder.iterdir())
    files: dict[str, Path] = {}
    for path in paths:
        stem = image_stem(path, also)
        if stem is None:
            if is_image_like(path) and not path.is_dir():
                raise DataError(_unreadable(path, also))
            continue
        refuse_folder(path)
        stem = same_name(stem)
        if files.setdefault(stem, path) != path:
            raise DataError(f"{path}: stands twice, also as {files[stem].name!a}")
    return files


def image_named(folder: Path, stem: str) -> Path | None:
    """The image of one name in a folder, None if there is none.

    Other files of the folder do not matter: releases have a fixed layout.

    Raises:
        DataError: as `image_files`, for files of this name.
    """
    with reading(folder, "folder"):
        names = sorted(os.listdir(folder))
    paths = [folder / name for name in names]
    found = [path for path in paths if volume_stem(path) == stem]
    for path in found:
        refuse_folder(path)
    if len(found) > 1:
        raise DataError(f"{found[1]}: stands twice, also as {found[0].name}")
    if found:
        return found[0]
    others = [path for path in paths if path.name.startswith(f"{stem}.") and is_image_like(path)]
    if others:
        raise DataError(_unreadable(others[0], ()))
    return None


def check_name(path: Path, stem: str) -> None:
    """Refuse what a list file cannot hold as the name of a case (`buarl.data.h5.read_list`).

    Raises:
        DataError: a name with .., / \\ :, a blank end, or signs that cannot be printed.
    """
    plain = stem.strip().removesuffix(".h5") == stem and ".." not in stem and stem.isprintable()
    if not plain or stem in ("", ".") or set(stem) & set("/\\:"):
        raise DataError(f"{path}: a case needs a plain name, without .. / \\ or :, got {stem!r}")


def _unreadable(path: Path, also: tuple[str, ...]) -> str:
    return (
        f"{path}: an image by its ending, but only {', '.join((*SUFFIXES, *also))} can be read "
        "here; convert it, or move it elsewhere if it does not belong to the data"
    )
