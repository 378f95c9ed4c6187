"""A data set is one file: this one defines two, and trains on them without an edit elsewhere."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import buarl.training.config as config
from buarl import Experiment, crl, load_run, open_source, run_experiment, url
from buarl.data import Source, rank_of, register_source
from buarl.data.batches import Batches
from buarl.data.h5 import DataError, Sample
from buarl.data.source import SOURCES
from buarl.evaluation.evaluate import evaluate


@register_source
class Discs(Source):
    """Bright discs in slices; a case is NAME.npz with `image` and `label`."""

    name, rank, class_names = "discs", 2, ("background", "disc")
    licence, tree = "made by a test", "  ROOT/train, ROOT/val   a folder of *.npz"

    def training_names(self):
        if self.rank == 3:
            return self.listed("train")
        depth = len(self.volume(self.listed("train")[0]).image)
        return [f"{case}_{k}" for case in self.listed("train") for k in range(depth)]

    def training_sample(self, name, *, labeled=True):
        case, _, k = name.partition("_")
        sample = self.volume(case)
        image, label = (a[int(k)] if k else a for a in (sample.image, sample.label))
        return Sample(name, image, label if labeled else None)

    def listed(self, split):
        return sorted(path.stem for path in (self.root / split).glob("*.npz"))

    def volume_path(self, case):
        return next(self.root.glob(f"*/{case}.npz"))

    def volume(self, case):
        with np.load(self.volume_path(case)) as arrays:
            return Sample(case, arrays["image"], arrays["label"])


@register_source
class Balls(Discs):
    """The same files, trained on as volumes."""

    name, rank = "balls", 3


@pytest.fixture
def root(tmp_path):
    """Six patients to train on, one to evaluate; volumes of 50 x 52 x 34."""
    rng = np.random.default_rng(0)
    place = np.meshgrid(*(np.linspace(-1, 1, n) for n in (50, 52, 34)), indexing="ij")
    for split, count in (("train", 6), ("val", 1)):
        (tmp_path / split).mkdir()
        for number in range(count):
            center = rng.uniform(-0.3, 0.3, 3)
            radius = np.sqrt(sum((x - c) ** 2 for x, c in zip(place, center, strict=True)))
            label = (radius < 0.6).astype(np.uint8)
            image = (label + rng.normal(0, 0.3, label.shape)).astype(np.float32)
            np.savez(tmp_path / split / f"{split}{number}.npz", image=image, label=label)
    return tmp_path


@pytest.fixture
def two_steps(monkeypatch):
    """Toy runs of two small steps. A row finds its recipe by rank once `FAMILY` is gone."""
    monkeypatch.setitem(
        config.PRESETS, "toy", replace(config.PRESETS["toy"], steps=2, width=2, labeled_batch=4)
    )
    if hasattr(config, "FAMILY"):
        monkeypatch.setattr(config, "FAMILY", {**config.FAMILY, "discs": "acdc", "balls": "la"})


@pytest.mark.parametrize("source", [Discs, Balls])
def test_a_source_from_this_file_trains_loads_and_is_evaluated(source, root, tmp_path, two_steps):
    row = Experiment(
        method="bcp",
        labeled_rule=url(80),
        unlabeled_rule=crl(80),
        source=source.name,
        labeled=4,
    )
    run_experiment(row, source(root), tmp_path / "run")
    again, opened, method = load_run(tmp_path / "run")
    assert (again, type(opened), opened.root) == (row, source, root)
    scores = evaluate(method.student, opened, "val", config.config_for(row))
    assert [(score["case"], score["class"]) for score in scores] == [("val0", "disc")]


def test_a_registered_name_opens_its_class_and_has_its_rank(root):
    assert (type(open_source("discs", root)), type(open_source("balls", root))) == (Discs, Balls)
    assert [rank_of(name) for name in ("discs", "balls", "phantom", "la", "own_2d")] == [
        *(2, 3, 2, 3, 2)
    ]
    with pytest.raises(DataError, match="discs needs the folder .*\n.*npz"):
        open_source("discs")
    with pytest.raises(DataError, match="'own' is own_2d or own_3d"):
        rank_of("own")
    with pytest.raises(DataError, match="source must be one of .*'rings'.*registered first"):
        rank_of("rings")


def test_a_name_belongs_to_one_class_and_a_cell_may_run_twice():
    before = dict(SOURCES)
    with pytest.raises(ValueError, match=r"'acdc' belongs to buarl\.data\.acdc\.Acdc"):
        register_source(type("Mine", (Discs,), {"name": "acdc"}))
    again = type("Discs", (Discs,), {"__module__": Discs.__module__, "name": "discs"})
    assert register_source(again) is SOURCES["discs"]
    register_source(Discs)
    assert before == SOURCES


def test_a_source_that_lacks_an_attribute_is_told_which():
    with pytest.raises(ValueError, match=r"Half: a source needs .*\['rank', 'class_names', "):
        register_source(type("Half", (Source,), {"name": "half"}))
    assert "half" not in SOURCES


def test_the_folder_decides_which_own_data_it_is(tmp_path):
    (tmp_path / "dataset.json").write_text(
        '{"rank": 3, "class_names": ["background", "a"], "normalisation": "zscore", "cases": {}}'
    )
    assert open_source("own", tmp_path).name == open_source("own_3d", tmp_path).name == "own_3d"
    with pytest.raises(DataError, match=r"asked for own_2d, but dataset\.json says own_3d"):
        open_source("own_2d", tmp_path)


def test_every_data_set_is_registered_by_importing_the_source_module_alone():
    code = "from buarl.data.source import SOURCES; print(*sorted(SOURCES))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    phantoms = ["phantom", "phantom_fine", "phantom_la"]
    assert ran.stdout.split() == ["acdc", "la", "own", "own_2d", "own_3d", *phantoms]


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (np.zeros((40, 40)), np.zeros((40, 40), np.uint8), "image must be float32 .* got float64"),
        (np.zeros((2, 9, 9), np.float32), None, r"with 2 axes, got float32 of shape \(2, 9, 9\)"),
        (np.zeros((9, 9), np.float32), None, "label must be an array of integers, got NoneType"),
        (np.zeros((9, 9), np.float32), np.zeros((9, 8), int), r"shape \(9, 9\), got \(9, 8\)"),
    ],
)
def test_a_sample_of_another_kind_is_named_before_training(root, image, label, message):
    class Odd(Discs):
        name = "odd"

        def training_sample(self, name, *, labeled=True):
            return Sample(name, image, label)

    with pytest.raises(DataError, match=f"source odd, sample .*{message}"):
        Batches(Odd(root), 1, (32, 32))
