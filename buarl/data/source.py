"""Where images come from: every data set is a `Source` with cases, splits and classes.

A data set is one file: a class below `Source` under `@register_source`. Its name then opens it
(`open_source`) and stands in a row (`Experiment(source=NAME)`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from os import PathLike
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from buarl.data.errors import AccessError, access_cause
from buarl.data.h5 import DataError, Sample
from buarl.data.stream import size_in_bytes

SPLITS = ("train", "val", "test")


class Source(ABC):
    """A data set on disk. Nothing is read before it is asked for.

    A subclass says what the attributes are and where the files lie; splitting patients into
    labeled and unlabeled ones, batches, training and evaluation follow from that.

    Args:
        root: Folder of the data.
    Attributes:
        name: What opens it and stands in a row, for example "acdc".
        rank: Axes of a training image: 2 trains on slices, 3 on volumes.
        class_names: Names of the classes, background first.
        licence: One line about the terms, printed beside everything made from the data.
        tree: What the folder must look like, printed where it does not.
        labeled_draw: None labels the first patients of the list; a number draws them, see `drawn`.
    Raises:
        DataError: there is no such folder.
    """

    name: str
    rank: int
    class_names: tuple[str, ...]
    licence: str
    tree: str
    labeled_draw: int | None = None

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            said = str(self.root) if str(self.root).isprintable() else repr(str(self.root))
            raise DataError(
                f"{said}: no such folder, root (--root) names another; {self.name} expects\n"
                f"{self.tree}"
            )

    _memory_budget: int | None = None

    @property
    def memory_budget(self) -> int | None:
        """Bytes of memory that training samples may take; None, the default, is no limit.

        It is set to a number or to a size such as "2GB". What does not fit is streamed from disk,
        see `buarl.data.stream`.
        """
        return self._memory_budget

    @memory_budget.setter
    def memory_budget(self, size: str | int | None) -> None:
        self._memory_budget = None if size is None else size_in_bytes(size)

    @classmethod
    def default_root(cls) -> Path:
        """Where the data lie if nobody says. A data set that can be made on the spot makes it here.

        Raises:
            DataError: this data set must be given a folder; the message says what it looks like.
        """
        raise DataError(
            f"{cls.name} needs the folder of its data (root, --root), which must look like\n"
            f"{cls.tree}"
        )

    @property
    def num_classes(self) -> int:
        """Number of classes C, background included."""
        return len(self.class_names)

    @abstractmethod
    def training_names(self) -> list[str]:
        """Names of the training samples (slices or volumes) in the order of the list."""

    @abstractmethod
    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """Read one training sample.

        Args:
            name: One of `training_names`.
            labeled: Read the label too; without it the sample's label is None.
        """

    @abstractmethod
    def listed(self, split: str) -> list[str]:
        """Volumes that the list of a split names, in its order, whether their files exist or not.

        Args:
            split: "train", "val" or "test".
        """

    @abstractmethod
    def volume_path(self, case: str) -> Path:
        """Where the file of a volume lies."""

    @abstractmethod
    def volume(self, case: str) -> Sample:
        """Read one whole volume with its label."""

    def files(self, split: str) -> list[Path]:
        """Every file that a split should have: what is trained on, or the volumes to evaluate."""
        return [self.volume_path(case) for case in self.listed(split)]

    def cases(self, split: str) -> list[str]:
        """Volumes of a split in the order of the list; their files exist.

        Args:
            split: "train", "val" or "test".
        Raises:
            DataError: unknown split, no list, or a listed volume without its file.
        """
        if split not in SPLITS:
            raise DataError(f"split must be one of {SPLITS}, got {split!r}")
        names = self.listed(split)
        missing = [name for name in names if not self.volume_path(name).is_file()]
        if missing:
            listing = self.root / f"{split}.list"
            raise DataError(
                f"{listing if listing.is_file() else self.root}: {len(missing)} of {len(names)} "
                f"volumes have no file, first {self.volume_path(missing[0])}"
            )
        return names

    @staticmethod
    def patient(name: str) -> str:
        """The patient that a volume or training sample belongs to: here the part before the _."""
        return name.split("_")[0]

    def split_labeled(self, labeled: int | None) -> tuple[list[str], list[str]]:
        """Training samples of the first `labeled` patients of the list, and of all others.

        A sample without a label is an unlabeled one, even of a chosen patient.

        Args:
            labeled: Number of labeled patients; None labels all that have labels (the fully
                supervised rows).
        Returns:
            Names of the labeled and of the unlabeled samples, both in the order of the list.
        Raises:
            DataError: more labeled patients than there are, or fewer than one.
        """
        names, with_label = self.training_names(), self.samples_with_label()
        patients = list(dict.fromkeys(map(self.patient, with_label)))
        if self.labeled_draw is not None:
            np.random.default_rng([self.labeled_draw, len(patients)]).shuffle(patients)
        count = len(patients) if labeled is None else labeled
        if not 1 <= count <= len(patients):
            raise DataError(
                f"{self.root}: labeled must lie in 1 to {len(patients)}, the number of training "
                f"patients that have labels, got {labeled}"
            )
        chosen = set(patients[:count])
        ours = {name: None for name in with_label if self.patient(name) in chosen}
        return list(ours), [name for name in names if name not in ours]

    def drawn(self, labeled_draw: int | None) -> Self:
        """The same data with other labeled patients: a lottery over who is labeled.

        Args:
            labeled_draw: None labels the first patients of the list, as published; a whole number
                of at least 0 draws which ones are labeled, and the same number the same ones.
        Returns:
            A copy; the files are the same.

        >>> source = open_source("phantom")
        >>> first, other = (s.split_labeled(3)[0][0] for s in (source, source.drawn(1)))
        >>> source.patient(first) == source.patient(other)
        False
        """
        ours = copy(self)
        ours.labeled_draw = labeled_draw
        return ours

    def samples_with_label(self) -> list[str]:
        """Names of the training samples that have a label, in the order of the list: here all."""
        return self.training_names()


SOURCES: dict[str, type[Source]] = {}
"""Every registered data set by its name."""
AnySource = TypeVar("AnySource", bound=type[Source])


def register_source(source: AnySource) -> AnySource:
    """Enter a data set under its name: a decorator for a class below `Source`.

    Run again, as a notebook's cell is, it replaces the class of the same module and name.

    Args:
        source: The class, with all the attributes that `Source` lists.
    Returns:
        The same class.
    Raises:
        ValueError: an attribute is missing, or the name belongs to another class.
    """
    wanted = ("name", "rank", "class_names", "licence", "tree")
    if missing := [attribute for attribute in wanted if not hasattr(source, attribute)]:
        raise ValueError(f"{_title(source)}: a source needs the class attributes {missing}")
    known = SOURCES.get(source.name, source)
    if _title(known) != _title(source):
        raise ValueError(
            f"{_title(source)}: the source name {source.name!r} belongs to {_title(known)}; "
            "choose another"
        )
    SOURCES[source.name] = source
    return source


def open_source(name: str, root: str | Path | None = None) -> Source:
    """Open a data set by its name.

    Args:
        name: "phantom", "phantom_la" (both made on first use, in the user's cache), "acdc", "la",
            "own_2d", "own_3d", "own" (where the folder at hand decides which of the two it is), or
            the name of a source that you registered.
        root: Folder of the data; only the phantoms have a default.
    Returns:
        The source. Its cases are read when they are asked for.
    Raises:
        DataError: unknown name, no root, or a root without the expected files.
        AccessError: the root cannot be looked into.
        TypeError: a root that is no path.

    >>> source = open_source("phantom")
    >>> source.class_names
    ('background', 'RV', 'myocardium', 'LV')
    >>> source.training_sample(source.training_names()[0]).image.ndim
    2
    """
    source = _registered(name)
    if root is not None and not isinstance(root, str | PathLike):
        raise TypeError(f"root must be the path of a folder, got {type(root).__name__}")
    try:
        return source(source.default_root() if root is None else Path(root))
    except OSError as error:
        place = error.filename or root
        raise AccessError(f"{place!s:.200}: {access_cause(error) or error.strerror}") from error


def source_names() -> list[str]:
    """Every data set that a row can name: those whose rank is known without a folder.

    >>> source_names()[:2]
    ['acdc', 'la']
    """
    return [name for name, source in SOURCES.items() if source.rank in (2, 3)]


def rank_of(name: str) -> int:
    """Axes of the training images of a data set, which decide network and schedule.

    Args:
        name: As in `open_source`.
    Returns:
        2 for slices, 3 for volumes.
    Raises:
        DataError: unknown name, or "own", whose rank stands in its folder.

    >>> rank_of("acdc"), rank_of("la")
    (2, 3)
    """
    rank = _registered(name).rank
    if rank not in (2, 3):
        raise DataError(f"source {name!r} is {name}_2d or {name}_3d: name one of them")
    return rank


def _registered(name: str) -> type[Source]:
    if not isinstance(name, str) or name not in SOURCES:
        given = " ".join(repr(name).split())
        raise DataError(
            f"source must be one of {sorted(SOURCES)}, got {given:.200}; one of your own must be "
            "registered first: on the command line --code FILE.py:CLASS, in Python "
            "buarl.data.register_source"
        )
    return SOURCES[name]


def _title(source: type[Source]) -> str:
    return f"{source.__module__}.{source.__qualname__}"
