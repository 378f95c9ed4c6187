"""ACDC in the public h5 layout: slices to train on, volumes to evaluate (docs/protocol.md 1.1)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from buarl.data.h5 import Sample, read_case, read_list
from buarl.data.layouts import require_layout
from buarl.data.source import Source, register_source


@register_source
class Acdc(Source):
    """Slices for training in `data/slices`, volumes in `data`, order and splits in list files."""

    name = "acdc"
    rank = 2
    class_names = ("background", "RV", "myocardium", "LV")
    licence = "ACDC, Bernard et al., IEEE TMI 2018, doi 10.1109/TMI.2018.2837502, CC BY-NC-SA 4.0"
    tree = """  ROOT/train_slices.list        one training slice a line: patient099_frame01_slice_15
  ROOT/val.list, ROOT/test.list one volume a line: patient089_frame01
  ROOT/data/slices/*.h5         2-D `image` and `label` of every training slice
  ROOT/data/*.h5                3-D `image` and `label` (slice, row, column) of every volume"""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        require_layout(self.root, self.name, "train_slices.list", self.tree)

    @cached_property
    def _training_names(self) -> list[str]:
        return read_list(self.root / "train_slices.list")

    def training_names(self) -> list[str]:
        """Names of all training slices in list order, one patient after the other."""
        return list(self._training_names)

    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """Read one slice at its native size, (H, W)."""
        return read_case(self.slice_path(name), name, 2, self.num_classes, labeled=labeled)

    def listed(self, split: str) -> list[str]:
        """Names of the volumes of a split."""
        return read_list(self.root / f"{split}.list")

    def files(self, split: str) -> list[Path]:
        """Files of the slices of the training split, or of the volumes of another."""
        if split != "train":
            return super().files(split)
        return [self.slice_path(name) for name in self.training_names()]

    def slice_path(self, name: str) -> Path:
        """Where the file of a training slice lies."""
        return self.root / "data" / "slices" / f"{name}.h5"

    def volume_path(self, case: str) -> Path:
        """Where the file of a volume lies."""
        return self.root / "data" / f"{case}.h5"

    def volume(self, case: str) -> Sample:
        """Read one volume, (Z, H, W)."""
        return read_case(self.volume_path(case), case, 3, self.num_classes)
