"""Which data set lies in a folder, told by the lists in it."""

from __future__ import annotations

from pathlib import Path

from buarl.data.errors import DataError

MARKERS = {"dataset.json": "own", "train_slices.list": "acdc", "train.list": "la"}
MARKER = "phantom.json"
ALSO = {"own": ("own_2d", "own_3d"), "phantom": ("phantom_fine",)}  # sources of one layout
PHANTOMS = {"acdc": "phantom", "la": "phantom_la"}  # the same layouts, with a phantom.json


def layout_of(folder: Path) -> str | None:
    """The data set of a folder by the first marker that is there; ACDC has a train.list too.

    Args:
        folder: Looked into; what cannot be reached is no data set.
    Returns:
        Name of a source, or None.
    """
    name = next((name for file, name in MARKERS.items() if (folder / file).is_file()), None)
    return PHANTOMS.get(name, name) if (folder / MARKER).is_file() else name


def require_layout(root: Path, name: str, marker: str, tree: str) -> None:
    """Refuse a folder without the list of a data set, and say whose folder it is if we know.

    Args:
        root: The folder. name: Of the data set. marker: The list. tree: What its folder looks like.
    Raises:
        DataError: it lacks the list.
    """
    if not (root / marker).is_file():
        raise other_layout(root, name, f"no {marker}", tree)


def other_layout(root: Path, name: str, lacks: str, tree: str) -> DataError:
    """The error of a folder that is not what it was opened as.

    Args:
        root, name, tree: As in `require_layout`. lacks: What is wrong with it.
    """
    said = f"{root}: {lacks}{_what_it_is(root, name)}; {name} expects\n{tree}"
    return DataError(said)


def _what_it_is(root: Path, name: str) -> str:
    """Where to look instead, as far as the lists tell."""
    other = layout_of(root)
    if other is not None and not _same(other, name):
        rank = "_2d or own_3d" if other == "own" else ""  # a row names one of the two
        return f", it looks like the data of {other} (--source {other}{rank})"
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if _same(layout_of(folder), name):
            return f", but {folder} has it (--root)"
    return ""


def _same(layout: str | None, name: str) -> bool:
    """Whether a source reads folders of a layout."""
    return layout is not None and name in (layout, *ALSO.get(layout, ()))
