"""A data set of your own, as `convert folder` writes it; some cases may lack a label."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from buarl.data.errors import DataError, require_file
from buarl.data.h5 import Sample, read_case, read_list
from buarl.data.layouts import other_layout
from buarl.data.source import SPLITS, Source, register_source
from buarl.data.text import read_text


class _Facts(NamedTuple):
    """What dataset.json says about a case."""

    patient: str
    labeled: bool
    slices: int  # along z


def _check_about(about: dict) -> None:
    if about["rank"] not in (2, 3) or type(about["rank"]) is not int:
        raise ValueError(f"rank must be 2 or 3, got {about['rank']!r}")
    names = about["class_names"]
    if type(names) is not list or len(names) < 2 or {type(name) for name in names} != {str}:
        raise ValueError(f"class_names must be a list of two texts or more, got {names!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"class_names must differ from one another, got {names!r}")
    if type(about["normalisation"]) is not str or type(about["cases"]) is not dict:
        raise ValueError("normalisation must be a text, cases an object")


def _check_facts(case: str, facts: _Facts) -> None:
    kinds = (("patient", str), ("labeled", bool), ("slices", int))
    for (field, kind), value in zip(kinds, facts, strict=True):
        if type(value) is not kind:
            raise ValueError(f"{field} of {case!r} must be of type {kind.__name__}, got {value!r}")
    if not 0 < facts.slices < 2**16:
        raise ValueError(f"a case has 1 to 65535 slices, {case!r} has {facts.slices}")


@register_source
class OwnData(Source):
    """Your own volumes, trained on as slices (rank 2) or whole (rank 3), as dataset.json says.

    Opened as "own", the source takes the name "own_2d" or "own_3d", because a row names a data set
    whose rank is known. `normalisation` is "minmax" or "zscore": how gray values were scaled.
    """

    name = "own"
    rank = None  # known once a folder is open
    class_names = ()
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
            raise other_layout(self.root, self.name, "no dataset.json", self.tree)
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
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise DataError(f"{path}: not as convert_folder writes it ({said})") from error
        self.rank, self.class_names = about["rank"], tuple(about["class_names"])
        self.name = f"own_{self.rank}d"
        self.normalisation = about["normalisation"]
        if type(self).rank not in (None, self.rank):
            asked = type(self).name
            raise DataError(f"{self.root}: asked for {asked}, but dataset.json says {self.name}")

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        """Every list there is: no patient stands in two, and what is evaluated has labels."""
        splits, home = {}, {}
        for split in SPLITS:
            path = self.root / f"{split}.list"
            if split != "train" and not path.is_file():
                continue
            splits[split] = read_list(path)
            for case in splits[split]:
                if case not in self._facts:
                    raise DataError(f"{path}: {case!r:.200} does not stand in dataset.json")
                if split != "train" and not self._facts[case].labeled:
                    raise DataError(
                        f"{path}: cases to evaluate on need labels, {case!r:.200} has none"
                    )
                patient = self._facts[case].patient
                if (other := home.setdefault(patient, split)) != split:
                    raise DataError(
                        f"{path}: patient {patient!r:.200} stands in split {other} as well"
                    )
        return splits

    @cached_property
    def _samples(self) -> dict[str, str]:
        """Every training sample, and the case it comes from."""
        if self.rank == 3:
            return {case: case for case in self._splits["train"]}
        return {
            f"{case}_slice_{k + 1}": case
            for case in self._splits["train"]
            for k in range(self._facts[case].slices)
        }

    def training_names(self) -> list[str]:
        """Names of the volumes, or of their slices, in the order of train.list."""
        return list(self._samples)

    def training_sample(self, name: str, *, labeled: bool = True) -> Sample:
        """Read one slice or volume."""
        path = self._sample_path(name)
        return read_case(path, name, self.rank, self.num_classes, labeled=labeled)

    def listed(self, split: str) -> list[str]:
        """Names of the volumes of a split."""
        return list(self._splits.get(split) or read_list(self.root / f"{split}.list"))

    def files(self, split: str) -> list[Path]:
        """Files of the training samples, or of the volumes of another split."""
        if split != "train":
            return super().files(split)
        return [self._sample_path(name) for name in self.training_names()]

    def volume_path(self, case: str) -> Path:
        """Where the file of a volume lies."""
        return self.root / "data" / f"{case}.h5"

    def _sample_path(self, name: str) -> Path:
        slices = self.root / "data" / "slices" / f"{name}.h5"
        return slices if self.rank == 2 else self.volume_path(name)

    def volume(self, case: str) -> Sample:
        """Read a volume and its label if it has one: (Z, H, W) or, with rank 3, (X, Y, Z)."""
        if case not in self._facts:
            raise DataError(f"{self.root / 'dataset.json'}: no case {case!r}")
        labeled = self._facts[case].labeled
        return read_case(self.volume_path(case), case, 3, self.num_classes, labeled=labeled)

    def patient(self, name: str) -> str:
        """The patient that a volume or training slice belongs to, as dataset.json says."""
        return self._facts[self._samples.get(name, name)].patient

    def samples_with_label(self) -> list[str]:
        """Names of the training samples whose case has a label."""
        return [name for name, case in self._samples.items() if self._facts[case].labeled]


@register_source
class Own2d(OwnData):
    """Your own data, trained on as slices."""

    name = "own_2d"
    rank = 2


@register_source
class Own3d(OwnData):
    """Your own data, trained on as volumes."""

    name = "own_3d"
    rank = 3
