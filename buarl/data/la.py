"""LA, the 2018 Atrial Segmentation Challenge, in the public h5 layout (docs/protocol.md 1.2)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from buarl.arguments import counted
from buarl.data.h5 import DataError, Sample, has_label, read_case, read_list
from buarl.data.layouts import layout_of, other_layout, require_layout
from buarl.data.source import Source, register_source

FOLDER = "2018LA_Seg_Training Set"  # of test scans too


def scan_path(root: Path, case: str) -> Path:
    """Where the file of a scan lies in the public layout.

    Args:
        root: Folder of the data set.
        case: Name of the scan, a line of the list.

    >>> scan_path(Path("LA"), "06SR5RBREL16DQ6M8LWS").as_posix()
    'LA/2018LA_Seg_Training Set/06SR5RBREL16DQ6M8LWS/mri_norm2.h5'
    """
    return root / FOLDER / case / "mri_norm2.h5"


@register_source
class La(Source):
    """80 training and 20 test scans, each a folder with one file, `mri_norm2.h5`.

    The public split has no validation set. Here the last 10 scans of the training list serve as
    split "val" and are never trained on, so that nothing has to be chosen on the test list.
    Paper note: the paper trains on all 80.

    The public files are cropped around the label, test scans included (docs/protocol.md 6.8).
    """

    name = "la"
    rank = 3
    class_names = ("background", "left atrium")
    licence = "LA 2018 challenge, arXiv 2004.12314; no open license: do not publish images"
    tree = """  ROOT/train.list, ROOT/test.list  one scan a line: 06SR5RBREL16DQ6M8LWS
  ROOT/2018LA_Seg_Training Set/<scan>/mri_norm2.h5  3-D `image` and `label` (x, y, z)"""

    held_out = 10  # scans at the end of the training list that serve as split "val"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        require_layout(self.root, self.name, "train.list", self.tree)
        known = layout_of(self.root) in ("la", "phantom_la")  # other releases have a train.list too
        if not known and not (self.root / FOLDER).is_dir():
            raise other_layout(self.root, self.name, f"no {FOLDER}", self.tree)

    @cached_property
    def _listed(self) -> list[str]:
        names = read_list(self.root / "train.list")
        if len(names) <= self.held_out:
            raise DataError(
                f"{self.root / 'train.list'}: more than {counted(self.held_out, 'scan')} are "
                f"needed, "
                f"the last {self.held_out} are held out, got {len(names)}"
            )
        return names

    def training_names(self) -> list[str]:
        """Names of the scans in list order, without the held-out ones at its end."""
        return self._listed[: -self.held_out]

    def samples_with_label(self) -> list[str]:
        """Names of the training scans that have a label; the public ones all have."""
        return self._with_label

    @cached_property
    def _with_label(self) -> list[str]:
        return [name for name in self.training_names() if has_label(self.volume_path(name))]

    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """Read one scan, (X, Y, Z)."""
        return read_case(self.volume_path(name), name, 3, self.num_classes, labeled=labeled)

    def listed(self, split: str) -> list[str]:
        """Names of the scans of a split; "val" is the end of the training list."""
        if split == "test":
            return read_list(self.root / "test.list")
        return self.training_names() if split == "train" else self._listed[-self.held_out :]

    def volume_path(self, case: str) -> Path:
        """Where the file of a scan lies."""
        return scan_path(self.root, case)

    def volume(self, case: str) -> Sample:
        """Read one whole scan, (X, Y, Z)."""
        return self.training_sample(case)

    @staticmethod
    def patient(name: str) -> str:
        """Every scan is a patient of its own."""
        return name
