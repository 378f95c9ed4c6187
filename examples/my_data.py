"""A data set of your own: one class below `Source`, here of volumes in *.npz files.

    buarl train --code examples/my_data.py:MyData --source my_data --root FOLDER \\
        --method supervised --labeled 4 --out runs/my_data
    buarl evaluate runs/my_data --code examples/my_data.py:MyData

NIfTI and NRRD need no class: `buarl convert folder` reads them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from buarl.data import Source, register_source
from buarl.data.h5 import Sample


@register_source
class MyData(Source):
    """Volumes (X, Y, Z) as ROOT/SPLIT/CASE.npz with `image` float32 and `label` 0 or 1."""

    name = "my_data"
    rank = 3
    class_names = ("background", "organ")
    licence = "yours"
    tree = "  ROOT/train, ROOT/val, ROOT/test   a folder of *.npz"

    def listed(self, split: str) -> list[str]:
        """The volumes of a split, one a patient."""
        return sorted(path.stem for path in (self.root / split).glob("*.npz"))

    def volume_path(self, case: str) -> Path:
        """Where the file of a volume lies."""
        return next(self.root.glob(f"*/{case}.npz"))

    def volume(self, case: str) -> Sample:
        """Read one volume."""
        with np.load(self.volume_path(case)) as arrays:
            return Sample(case, arrays["image"], arrays["label"])

    def training_names(self) -> list[str]:
        """What is trained on: here whole volumes; for slices, one name each."""
        return self.listed("train")

    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """Read one training volume, without its label where it must not be seen."""
        sample = self.volume(name)
        return sample if labeled else sample._replace(label=None)
