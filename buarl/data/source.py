"""Where images come from: one object with cases, splits and classes, whatever the data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from buarl.data.h5 import DataError, Sample

SPLITS = ("train", "val", "test")


class Source(ABC):
    """A data set on disk. Nothing is read before it is asked for.

    Attributes:
        name: "phantom", "acdc", ... root: Folder. rank: Axes of a training image, 2 or 3.
        class_names: Background first. licence: One line for figures made from the data.
    """

    name: str
    rank: int
    class_names: tuple[str, ...]
    licence: str
    tree: str  # what the folder must look like

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; {self.name} expects\n{self.tree}")

    @property
    def num_classes(self) -> int:
        """C, background included."""
        return len(self.class_names)

    @abstractmethod
    def training_names(self) -> list[str]:
        """Training samples (slices in 2-D, volumes in 3-D) in the order of the list."""

    @abstractmethod
    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """One training sample."""

    @abstractmethod
    def listed(self, split: str) -> list[str]:
        """Volumes of a split ("train", "val", "test") in the order of the list, there or not."""

    @abstractmethod
    def volume_path(self, case: str) -> Path:
        """Where a volume lies."""

    def files(self, split: str) -> list[Path]:
        """Every file that a split should have: what is trained on, or the volumes to evaluate."""
        return [self.volume_path(case) for case in self.listed(split)]

    def cases(self, split: str) -> list[str]:
        """Volumes of a split in the order of the list.

        Raises:
            DataError: unknown split, no list, or a listed volume without its file.
        """
        if split not in SPLITS:
            raise DataError(f"split must be one of {SPLITS}, got {split!r}")
        names = self.listed(split)
        missing = [name for name in names if not self.volume_path(name).is_file()]
        if missing:
            raise DataError(
                f"{self.root / f'{split}.list'}: {len(missing)} of {len(names)} volumes have no "
                f"file, first {self.volume_path(missing[0])}"
            )
        return names

    @abstractmethod
    def volume(self, case: str) -> Sample:
        """One whole volume with its label."""

    @staticmethod
    def patient(name: str) -> str:
        """The patient a case or slice belongs to."""
        return name.split("_")[0]

    def split_labeled(self, labeled: int | None) -> tuple[list[str], list[str]]:
        """Training samples of the first `labeled` patients of the list, and of all others.

        A sample without a label is an unlabeled one, even of a chosen patient.

        Args:
            labeled: Number of labeled patients; None labels all that have labels (the fully
                supervised rows).
        Raises:
            DataError: more labeled patients than there are, or fewer than one.
        """
        names, with_label = self.training_names(), self.samples_with_label()
        patients = list(dict.fromkeys(map(self.patient, with_label)))
        count = len(patients) if labeled is None else labeled
        if not 1 <= count <= len(patients):
            raise DataError(
                f"{self.root}: labeled must lie in 1 to {len(patients)}, the number of training "
                f"patients that have labels, got {labeled}"
            )
        chosen = set(patients[:count])
        ours = {name: None for name in with_label if self.patient(name) in chosen}
        return list(ours), [name for name in names if name not in ours]

    def samples_with_label(self) -> list[str]:
        """Training samples that have a label, in the order of the list: here all."""
        return self.training_names()


def open_source(name: str, root: str | Path | None = None) -> Source:
    """Open a data set by name.

    Args:
        name: "phantom", "phantom_la" (made on first use, in the user's cache), "acdc", "la",
            "own_2d", "own_3d" or, where a folder is at hand, "own".
        root: Folder of the data; only the phantoms have a default.
    Raises:
        DataError: unknown name, no root, or a root without the expected files.
    """
    from buarl.data.acdc import Acdc, Phantom
    from buarl.data.la import La, PhantomLa
    from buarl.data.own import OwnData

    sources = {source.name: source for source in (Phantom, PhantomLa, Acdc, La, OwnData)}
    sources |= {"own_2d": OwnData, "own_3d": OwnData}
    if name not in sources:
        raise DataError(f"source must be one of {sorted(sources)}, got {name!r}")
    if root is None:
        if name == "phantom":
            from buarl.data.phantom.files import phantom_root as made
        elif name == "phantom_la":
            from buarl.data.phantom.atrium import phantom_la_root as made
        else:
            raise DataError(f"{name} needs root=FOLDER, which must look like\n{sources[name].tree}")
        root = made()
    source = sources[name](Path(root))
    if name not in ("own", source.name):
        raise DataError(f"{root}: asked for {name}, but dataset.json says {source.name}")
    return source
