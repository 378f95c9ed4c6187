"""A data set of your own, as `convert folder` writes it; some cases may lack a label."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from buarl.data.errors import DataError, require_file
from buarl.data.h5 import Sample, read_case, read_list
from buarl.data.source import SPLITS, Source
from buarl.data.text import read_text


class _Facts(NamedTuple):
    patient: str
    labeled: bool
    slices: int  # along z


def _check_about(about: dict) -> None:
    if about["rank"] not in (2, 3) or type(about["rank"]) is not int:
        raise ValueError(f"rank must be 2 or 3, got {about['rank']!r}")
    names = about["class_names"]
    if type(names) is not list or len(names) < 2 or {type(name) for name in names} != {str}:
        raise ValueError(f"class_names must be a list of two texts or more, got {names!r}")
    if type(about["normalisation"]) is not str or type(about["cases"]) is not dict:
        raise ValueError("normalisation must be a text, cases an object")


def _check_facts(case: str, facts: _Facts) -> None:
    kinds = (("patient", str), ("labeled", bool), ("slices", int))
    for (field, kind), value in zip(kinds, facts, strict=True):
        if type(value) is not kind:
            raise ValueError(f"{field} of {case!r} must be of type {kind.__name__}, got {value!r}")
    if not 0 < facts.slices < 2**16:
        raise ValueError(f"a case has 1 to 65535 slices, {case!r} has {facts.slices}")


class OwnData(Source):
    """Volumes, and with rank 2 training slices; `normalisation` is "minmax" or "zscore".

    Opened, its name is "own_2d" or "own_3d": in a row of data the rank decides the recipe.
    """

    name = "own"
    licence = "own data: its terms are known to whoever converted it"
    tree = """  ROOT/dataset.json      rank, class_names, normalisation; facts of every case
  ROOT/train.list        one volume a line; val.list and test.list if there are such
  ROOT/data/*.h5         3-D `image`, and `label` where there is one, of every volume
  ROOT/data/slices/*.h5  the same of every training slice, if the rank is 2
`buarl.files.convert_folder` writes it"""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        path = self.root / "dataset.json"
        if not path.exists():
            raise DataError(f"{self.root}: no dataset.json; {self.name} expects\n{self.tree}")
        require_file(path)
        try:
            about = json.loads(read_text(path))
            _check_about(about)
            self._facts = {case: _Facts(**facts) for case, facts in about["cases"].items()}
            for case, facts in self._facts.items():
                _check_facts(case, facts)
        except DataError:
            raise
        except Exception as error:  # JSON of any other shape, or brackets by the thousand
            said = f"{type(error).__name__}: {error}"[:300]
            raise DataError(f"{path}: not as convert_folder writes it ({said})") from error
        self.rank, self.class_names = about["rank"], tuple(about["class_names"])
        self.name = f"own_{self.rank}d"
        self.normalisation = about["normalisation"]

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        """Every list there is: no patient in two, and labels for what is evaluated."""
        splits, home = {}, {}
        for split in SPLITS:
            path = self.root / f"{split}.list"
            if split != "train" and not path.is_file():
                continue
            splits[split] = read_list(path)
            for case in splits[split]:
                if case not in self._facts:
                    raise DataError(f"{path}: {case!r} does not stand in dataset.json")
                if split != "train" and not self._facts[case].labeled:
                    raise DataError(f"{path}: cases to evaluate on need labels, {case!r} has none")
                patient = self._facts[case].patient
                if (other := home.setdefault(patient, split)) != split:
                    raise DataError(f"{path}: patient {patient!r} stands in split {other} as well")
        return splits

    @cached_property
    def _samples(self) -> dict[str, str]:
        """Training samples and the case each comes from."""
        if self.rank == 3:
            return {case: case for case in self._splits["train"]}
        return {
            f"{case}_slice_{k + 1}": case
            for case in self._splits["train"]
            for k in range(self._facts[case].slices)
        }

    def training_names(self) -> list[str]:
        """Volumes, or their slices, in the order of train.list."""
        return list(self._samples)

    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """One slice or volume."""
        path = self._sample_path(name)
        return read_case(path, name, self.rank, self.num_classes, labeled=labeled)

    def listed(self, split: str) -> list[str]:
        """Volumes of a split."""
        return list(self._splits.get(split) or read_list(self.root / f"{split}.list"))

    def files(self, split: str) -> list[Path]:
        """Training samples, or the volumes to evaluate."""
        if split != "train":
            return super().files(split)
        return [self._sample_path(name) for name in self.training_names()]

    def volume_path(self, case: str) -> Path:
        """Where a volume lies."""
        return self.root / "data" / f"{case}.h5"

    def _sample_path(self, name: str) -> Path:
        slices = self.root / "data" / "slices" / f"{name}.h5"
        return slices if self.rank == 2 else self.volume_path(name)

    def volume(self, case: str) -> Sample:
        """One volume, (Z, H, W) with rank 2, (X, Y, Z) with rank 3; its label if it has one."""
        if case not in self._facts:
            raise DataError(f"{self.root / 'dataset.json'}: no case {case!r}")
        labeled = self._facts[case].labeled
        return read_case(self.volume_path(case), case, 3, self.num_classes, labeled=labeled)

    def patient(self, name: str) -> str:
        """The patient of a volume or training slice, as dataset.json says."""
        return self._facts[self._samples.get(name, name)].patient

    def samples_with_label(self) -> list[str]:
        """Those whose case has one."""
        return [name for name, case in self._samples.items() if self._facts[case].labeled]
