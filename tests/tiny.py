"""A tiny data set in ACDC's layout, and configs that train on it within a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import Module

from buarl.data.batches import SemiBatch
from buarl.data.h5 import Sample
from buarl.data.source import Source
from buarl.fast.recorder import Recorder
from buarl.methods import METHODS, Method
from buarl.methods.base import Step
from buarl.networks import UNet
from buarl.regions import RULES, Rule, crl, level, url
from buarl.training.config import Config, Preset, StagePlan
from buarl.training.loop import FitResult, fit

SHAPES = ((20, 24), (25, 19), (22, 22), (21, 26))
PRESET = Preset(steps=6, labeled_batch=4, width=2, image_size={2: (32, 32)}, precision="fp32")


def one_of_each() -> list[Rule]:
    """A rule of every kind, with its defaults; `level` has none."""
    return [level(0.525) if make is level else make() for make in RULES.values()]


class InMemory(Source):
    """A source without files; its subclasses say what they train on."""

    licence, tree = "-", "-"

    def __init__(self) -> None:
        super().__init__(Path(__file__).parent)

    def listed(self, split: str) -> list[str]:
        return []

    def volume_path(self, case: str) -> Path:
        raise NotImplementedError

    def volume(self, case: str) -> Sample:
        raise NotImplementedError


def write_case(path: Path, **arrays: np.ndarray) -> Path:
    """An h5 file with these keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return path


def rings(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 and label uint8: nested ellipses of classes 1-3, grey = class / 3 + noise."""
    rng = np.random.default_rng(seed)
    row, column = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[-2:]), indexing="ij")
    radius = np.hypot(row - rng.uniform(-0.2, 0.2), column - rng.uniform(-0.2, 0.2))
    label = sum((radius < edge).astype(np.uint8) for edge in (0.75, 0.55, 0.3))
    label = np.broadcast_to(label, shape).copy()
    return (label / 3 + rng.normal(0, 0.02, shape)).astype(np.float32), label


def write_tiny(root: Path, patients: int = 4, slices: int = 3) -> Path:
    """Training patients p1, p2, ... with slices of different shapes; a val and a test volume."""
    names = []
    for patient in range(1, patients + 1):
        case = f"p{patient}_frame01"
        for k in range(slices, 0, -1):  # not in anatomical order, as in ACDC
            image, label = rings(SHAPES[(patient - 1) % len(SHAPES)], 10 * patient + k)
            names.append(f"{case}_slice_{k}")
            write_case(slice_path(root, names[-1]), image=image, label=label)
    (root / "train_slices.list").write_text("\n".join(names) + "\n")
    for split, patient in (("val", 91), ("test", 92)):
        image, label = rings((3, 20, 24), patient)
        write_case(root / "data" / f"p{patient}_frame01.h5", image=image, label=label)
        (root / f"{split}.list").write_text(f"p{patient}_frame01\n")
    return root


def write_balls(root: Path) -> None:
    """Volumes of one bright ball each, as SPLIT/CASE.npz: what examples/my_data.py reads."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 6, "val": 1, "test": 1}.items():
        (root / split).mkdir(parents=True)
        for number in range(count):
            place = np.stack(np.mgrid[-1:1:36j, -1:1:34j, -1:1:20j]) - rng.uniform(-0.2, 0.2)
            label = (np.linalg.norm(place, axis=0) < 0.6).astype(np.uint8)
            image = (label + rng.normal(0, 0.3, label.shape)).astype(np.float32)
            np.savez(root / split / f"{split}{number}.npz", image=image, label=label)


def slice_path(root: Path, name: str) -> Path:
    """Where a training slice lies."""
    return root / "data" / "slices" / f"{name}.h5"


def tiny_config(method: str, **changes: object) -> Config:
    """12 steps (BCP: 12 and 14) on 2 labeled patients."""
    plans = {
        "supervised": (StagePlan(12, 4, 0),),
        "bcp": (StagePlan(12, 4, 0), StagePlan(14, 4, 4)),
    }
    plan = plans.get(method, (StagePlan(12, 4, 4),))
    config = Config("tiny", (32, 32), plan, labeled=2, width=2, precision="fp32")
    return replace(config, **changes)


def tiny_method(name: str, network: Module | None = None, **options: object) -> Method:
    """A method with the paper's rules around a U-Net of width 2, always the same weights."""
    rules = {"labeled_rule": url(80)} | (
        {} if name == "supervised" else {"unlabeled_rule": crl(80)}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS[name](network or UNet(4, 2), **{**rules, **options})


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether two modules agree in every bit of their state."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def apart(ours: Method, exact: Method) -> float:
    """How far the students of two trainings of one tiny method lie apart, relative to their way.

    Two kernels differ in a last digit, and that can move a voxel across a percentile or into
    another class: about 0.01 then, 1e-6 where none moves, on other machines with other seeds.
    """
    start = tiny_method(next(name for name, kind in METHODS.items() if type(ours) is kind))
    first, a, b = (
        torch.cat([p.detach().flatten().cpu() for p in method.student.parameters()])
        for method in (start, ours, exact)
    )
    return float((a - b).norm() / (b - first).norm())


def with_unlabeled(batch: SemiBatch, images: torch.Tensor) -> SemiBatch:
    """The batch with other unlabeled images."""
    return SemiBatch.from_parts(batch.labeled_image, batch.label, images)


def labeled_only(batch: SemiBatch) -> SemiBatch:
    """The batch without its unlabeled images."""
    return SemiBatch.from_parts(batch.labeled_image, batch.label)


def trained(name: str, source: Source, **changes: object) -> tuple[Method, FitResult]:
    """A tiny method after `fit`, and what came of it."""
    method = tiny_method(name)
    return method, fit(method, source, tiny_config(name, **changes))


class Cut(BaseException):
    """The power failed: nothing tidies up after it."""


def cut_after(stage: str, index: int) -> Callable:
    """A callback that ends the run after a step, before its checkpoint."""

    def callback(name: str, step: Step, method: Method) -> None:
        if (name, step.index) == (stage, index):
            raise Cut

    return callback


class Repeated(Recorder):
    """Stands in for a GPU's recorder: repeats the step as written and counts the recordings."""

    recordings = 0

    def __init__(self, device: torch.device, name: str) -> None:
        super().__init__(torch.device("cuda"), name)

    def _record(self, compute: Callable[[], dict]) -> tuple[Callable[[], None], dict]:
        type(self).recordings += 1

        def replay() -> None:
            self._logs = compute()

        return replay, {}
