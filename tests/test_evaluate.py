"""From a network to scores: resizing, windows, means, files."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from tiny import rings, tiny_config, write_case, write_tiny
from torch import nn

import buarl.evaluation.evaluate
import buarl.evaluation.score
from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError
from buarl.data.resample import resize_nearest
from buarl.evaluation.evaluate import CaseError, ceiling, evaluate, predict_volume
from buarl.evaluation.metrics import multiclass_metrics
from buarl.evaluation.predict import predict_probs, predict_slices, predict_windows
from buarl.evaluation.score import score_run
from buarl.evaluation.scores import read_metrics, summary, write_metrics
from buarl.results.evaluated import table_of_runs
from buarl.results.table import score_text, spread_text
from buarl.training.config import Experiment, config_for

RUN_OF_A_TEST = {"experiment": {"seed": 1}, "config": {}, "data": {}}


class Threshold(nn.Module):
    """Class 1 where the image is above 1/2; says nothing else, has one parameter for its device."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.scale, self.classes = nn.Parameter(torch.tensor(40.0)), classes

    def forward(self, image):
        bright = (image - 0.5) * self.scale
        return torch.cat([-bright, bright] + [-abs(bright) - 9] * (self.classes - 2), 1)


@pytest.fixture
def source(tmp_path):
    return Acdc(write_tiny(tmp_path / "data"))


CASES = [f"p{91 + i}_frame01" for i in range(5)]


@pytest.fixture
def volumes(source):
    """The source with five validation volumes of a known spacing."""
    for i, case in enumerate(CASES):
        image, label = rings((3, 20 + i, 24), 91 + i)
        path = write_case(source.volume_path(case), image=image, label=label)
        with h5py.File(path, "r+") as file:
            file.attrs["spacing"] = (5.0, 1.0 + i, 1.5)
    (source.root / "val.list").write_text("\n".join(CASES) + "\n")
    return source


def test_slices_are_resized_there_and_back():
    volume = (np.random.default_rng(0).random((3, 40, 56)) > 0.6).astype(np.float32)
    label, entropy = predict_slices(Threshold(), volume, (32, 32))
    assert label.dtype == np.uint8
    assert np.array_equal(label, resize_nearest(resize_nearest(volume, (32, 32)), (40, 56)))
    assert entropy.shape == volume.shape
    assert entropy.max() < 1e-3


def test_evaluation_switches_dropout_off():
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Dropout(0.9))
    images = np.random.default_rng(0).random((2, 16, 16), dtype=np.float32)
    assert torch.equal(predict_probs(network, images), predict_probs(network, images))


def test_windows_find_what_slices_find_and_keep_the_largest_component():
    volume = np.zeros((20, 18, 16), np.float32)
    volume[2:9, 2:9, 2:9] = 1
    volume[15:17, 15:17, 12:14] = 1
    label, entropy = predict_windows(Threshold(2), volume, (16, 16, 16), (8, 8, 8))
    assert np.array_equal(label, volume)
    assert entropy.shape == volume.shape
    largest, _ = predict_windows(Threshold(2), volume, (16, 16, 16), (8, 8, 8), keep_largest=True)
    assert largest.sum() == 7**3


def test_a_perfect_network_scores_its_ceiling(source):
    class Oracle(Threshold):
        """Knows every label: the image of a tiny volume is replaced by its label."""

        def forward(self, image):
            return nn.functional.one_hot(image[:, 0].round().long(), 4).movedim(-1, 1) * 20.0

    volumes = {case: source.volume(case) for case in source.cases("val")}
    source.volume = lambda case: volumes[case]._replace(
        image=volumes[case].label.astype(np.float32)
    )
    config = tiny_config("supervised")
    rows, best = evaluate(Oracle(), source, "val", config), ceiling(source, "val", config)
    for row, limit in zip(rows, best, strict=True):
        assert row["case"], row["class"] == (limit["case"], limit["class"])
        np.testing.assert_equal(row["dice"], limit["dice"])
    sharp = ceiling(
        source, "val", replace(config, image_size=source.volume(row["case"]).label.shape[1:])
    )
    assert all(math.isnan(row["dice"]) or row["dice"] == 1 for row in sharp[-3:])


@pytest.mark.parametrize("workers", [None, 1, 2, 7])
def test_rows_and_their_order_do_not_depend_on_the_workers(volumes, workers):
    config, network = tiny_config("supervised"), Threshold()
    plain = evaluate(network, volumes, "val", config, workers=0)
    assert [row["case"] for row in plain] == [case for case in CASES for _ in range(3)]
    np.testing.assert_equal(evaluate(network, volumes, "val", config, workers=workers), plain)


def test_no_more_predictions_wait_than_promised(volumes, monkeypatch):
    waiting, most = 0, 0

    def predict(network, volume, *rest, **options):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        return predict_volume(network, volume, *rest, **options)

    def slow(*arguments):
        nonlocal waiting
        time.sleep(0.05)
        waiting -= 1
        return multiclass_metrics(*arguments)

    monkeypatch.setattr(buarl.evaluation.evaluate, "predict_volume", predict)
    monkeypatch.setattr(buarl.evaluation.evaluate, "multiclass_metrics", slow)
    evaluate(Threshold(), volumes, "val", tiny_config("supervised"), workers=1)
    assert most == 2  # one being scored, one just predicted: overlapped, and bounded


def test_a_case_that_fails_is_named(volumes):
    class Broken(Threshold):
        def forward(self, image):
            raise RuntimeError("out of memory")

    config = tiny_config("supervised")
    with pytest.raises(CaseError, match=f"case {CASES[0]}: RuntimeError: out of memory"):
        evaluate(Broken(), volumes, "val", config)
    cut = volumes.volume
    volumes.volume = lambda case: (
        cut(case)._replace(label=cut(case).label[:2]) if case == CASES[3] else cut(case)
    )
    for workers in (0, 2):
        with pytest.raises(CaseError, match=f"case {CASES[3]}: ValueError: .*one shape"):
            evaluate(Threshold(), volumes, "val", config, workers=workers)
    with pytest.raises(ValueError, match="workers must be 0 or more, or None, got -1"):
        evaluate(Threshold(), volumes, "val", config, workers=-1)


def test_millimetres_take_the_spacing_of_each_case(volumes):
    config, network = tiny_config("supervised"), Threshold()
    voxels, mm = (evaluate(network, volumes, "val", config, unit=u) for u in ("voxels", "mm"))
    expected = []
    for i, case in enumerate(CASES):
        sample = volumes.volume(case)
        label, _ = predict_volume(network, sample.image, 2, config)
        expected += multiclass_metrics(label, sample.label, 4, (5.0, 1.0 + i, 1.5))
    for key in ("dice", "hd95", "asd"):
        np.testing.assert_equal([row[key] for row in mm], [row[key] for row in expected])
    np.testing.assert_equal([row["dice"] for row in mm], [row["dice"] for row in voxels])
    assert any(a["hd95"] > b["hd95"] for a, b in zip(mm, voxels, strict=True))
    coarse = replace(config, image_size=(8, 8))
    limits = [ceiling(volumes, "val", coarse, unit=u) for u in ("voxels", "mm")]
    assert all(a["asd"] < b["asd"] for a, b in zip(*limits, strict=True))


def test_millimetres_need_a_spacing_and_a_unit_that_exists(source):
    config = tiny_config("supervised")
    with pytest.raises(DataError, match=r"p91_frame01\.h5: distances in mm need .*'spacing'"):
        evaluate(Threshold(), source, "val", config, unit="mm")
    with pytest.raises(ValueError, match="unit must be one of .*'cm'"):
        evaluate(Threshold(), source, "val", config, unit="cm")


def test_the_largest_component_is_that_of_the_whole_volume():
    image = np.zeros((4, 32, 32), np.float32)
    image[0, 2:8, 2:8] = 1  # 36 voxels in one slice
    image[1:4, 20:24, 20:24] = 1  # 48 in three
    config = tiny_config("supervised")
    label, _ = predict_volume(Threshold(), image, 2, config)
    kept, _ = predict_volume(Threshold(), image, 2, config, keep_largest=True)
    assert kept.dtype == label.dtype
    assert np.array_equal(label, image)
    assert kept[0].sum() == 0
    assert np.array_equal(kept[1:], image[1:])


@pytest.mark.parametrize(
    ("options", "name", "said"),
    [
        ({}, "metrics_val.csv", "distances in voxels;"),
        ({"unit": "mm"}, "metrics_val_mm.csv", "distances in mm (spacing of each case);"),
        ({"keep_largest": True}, "metrics_val_largest.csv", "only the largest component per class"),
        ({"precision": "bf16"}, "metrics_val_bf16.csv", "predicted in bf16"),
        ({"send_back": "probs"}, "metrics_val_probs.csv", "probabilities sent back to native size"),
        (
            {"unit": "mm", "keep_largest": True, "empty": "nan", "workers": 0},
            "metrics_val_mm_largest_nan.csv",
            "'nan'",
        ),
        (
            {"keep_largest": True, "send_back": "probs"},
            "metrics_val_probs_largest.csv",
            "sent back to native size; only the largest component per class is kept",
        ),
    ],
)
def test_a_score_file_says_how_it_differs(volumes, tmp_path, monkeypatch, options, name, said):
    row = Experiment(method="supervised", source="acdc")
    network = nn.Module()
    network.student = Threshold()
    monkeypatch.setattr(
        buarl.evaluation.score, "load_run", lambda folder, root, code: (row, volumes, network)
    )
    monkeypatch.setattr(buarl.evaluation.score, "read_run", lambda folder: RUN_OF_A_TEST)
    scored = score_run(tmp_path, **options)
    assert scored.path == tmp_path / name
    text = scored.path.read_text()
    header = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert said in header
    assert scored.note in header
    scoring = {k: v for k, v in options.items() if k not in ("workers", "precision")}
    again = evaluate(network.student, volumes, "val", config_for(row), **scoring)
    np.testing.assert_equal(scored.rows, again)


@pytest.fixture
def a_run(volumes, tmp_path, monkeypatch):
    """A run folder on the volumes, whose student is `Threshold`."""
    network = nn.Module()
    network.student = Threshold()
    row = Experiment(method="supervised", source="acdc")
    monkeypatch.setattr(
        buarl.evaluation.score, "load_run", lambda folder, root, code: (row, volumes, network)
    )
    monkeypatch.setattr(buarl.evaluation.score, "read_run", lambda folder: RUN_OF_A_TEST)
    return tmp_path


def test_scores_of_some_volumes_do_not_take_the_place_of_all(a_run, volumes):
    some = volumes.cases("val")[:1]
    part = score_run(a_run, cases=some)
    assert part.path == a_run / "metrics_val_part.csv"
    assert "not all volumes of the split" in part.note
    assert score_run(a_run, cases=volumes.cases("val")).path == a_run / "metrics_val.csv"
    for wrong in ([], some * 2, ["elsewhere"]):
        with pytest.raises(ValueError, match="cases must be different volumes of split val"):
            score_run(a_run, cases=wrong)


def test_other_data_than_those_of_the_run_are_refused_before_they_are_scored(a_run, volumes):
    def ids(names):
        rows = "".join(f"validation,p,{name}\n" for name in names)
        (a_run / "ids.csv").write_text(f"role,patient,name\n{rows}")

    ids(volumes.listed("val"))
    score_run(a_run)
    ids(["somebody_else"])
    with pytest.raises(ValueError, match="was trained on other data than those in"):
        score_run(a_run)


def test_a_file_of_scores_with_volumes_missing_is_refused(a_run, volumes):
    path = score_run(a_run).path
    lines = path.read_text().splitlines()
    last = lines[-1].split(",")[0]
    path.write_text("\n".join(line for line in lines if not line.startswith(f"{last},")))
    count = len(volumes.cases("val"))
    with pytest.raises(ValueError, match=f"incomplete, {count - 1} of {count} volumes"):
        read_metrics(path)


def test_a_copy_of_a_run_is_no_further_seed():
    score = {"case": "a", "class": "LV", "jaccard": 0.5, "hd95": 1.0, "asd": 0.5, "missed": 0}
    runs = {
        name: (Experiment(seed=seed), [{**score, "dice": dice}])
        for name, seed, dice in (("one", 1, 0.7), ("two", 2, 0.8), ("copy", 2, 0.8))
    }
    text = table_of_runs(runs, {})
    assert "mean ± deviation, seeds 1, 2, as one, not copy (a seed again)" in text
    assert "0.750 ± 0.071" in text


def test_the_teacher_is_scored_on_request_and_a_method_without_one_is_refused(
    volumes, tmp_path, monkeypatch
):
    row, method = Experiment(method="bcp", source="acdc"), nn.Module()
    method.student = Threshold()
    monkeypatch.setattr(
        buarl.evaluation.score, "load_run", lambda folder, root, code: (row, volumes, method)
    )
    monkeypatch.setattr(buarl.evaluation.score, "read_run", lambda folder: RUN_OF_A_TEST)
    with pytest.raises(ValueError, match="method bcp has no teacher to evaluate"):
        score_run(tmp_path, teacher=True)
    method.teacher = Threshold()
    method.teacher.scale.data.neg_()  # takes the dark for class 1
    student, teacher = score_run(tmp_path), score_run(tmp_path, teacher=True)
    assert teacher.path == tmp_path / "metrics_val_teacher.csv"
    assert "the teacher is evaluated" in teacher.path.read_text()
    assert summary(student.rows)["dice"] != summary(teacher.rows)["dice"]


def test_volumes_send_labels_back():
    image = np.zeros((16, 16, 16), np.float32)
    with pytest.raises(ValueError, match='send_back of volumes must be "labels", got \'probs'):
        predict_volume(Threshold(), image, 3, tiny_config("supervised"), send_back="probs")
    with pytest.raises(ValueError, match='send_back must be "labels" or "probs", got'):
        predict_volume(Threshold(), image, 2, tiny_config("supervised"), send_back="logits")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_is_predicted_in_the_precision_asked_for(volumes, tmp_path, monkeypatch, precision):
    seen = []

    class Watched(Threshold):
        def forward(self, image):
            seen.append(torch.nn.functional.conv2d(image, torch.ones(1, 1, 1, 1)).dtype)
            return super().forward(image)

    row, network = Experiment(method="supervised", source="acdc"), nn.Module()
    network.student = Watched()
    monkeypatch.setattr(
        buarl.evaluation.score, "load_run", lambda folder, root, code: (row, volumes, network)
    )
    monkeypatch.setattr(buarl.evaluation.score, "read_run", lambda folder: RUN_OF_A_TEST)
    score_run(tmp_path, precision=precision, device="cpu")
    assert set(seen) == {torch.bfloat16 if precision == "bf16" else torch.float32}


ROWS = [
    {
        "case": "a",
        "class": "RV",
        "dice": 1.0,
        "jaccard": 1.0,
        "hd95": 0.0,
        "asd": 0.0,
        "missed": False,
    },
    {
        "case": "a",
        "class": "LV",
        "dice": 0.0,
        "jaccard": 0.0,
        "hd95": 9.0,
        "asd": 9.0,
        "missed": True,
    },
    {
        "case": "b",
        "class": "RV",
        "dice": 0.4,
        "jaccard": 0.25,
        "hd95": 2.0,
        "asd": 1.0,
        "missed": False,
    },
    {
        "case": "b",
        "class": "LV",
        **dict.fromkeys(("dice", "jaccard", "hd95", "asd"), math.nan),
        "missed": False,
    },
]


def test_means_over_cases_then_classes_and_nan_is_not_counted():
    result = summary(ROWS)
    assert result["dice"] == pytest.approx((0.7 + 0.0) / 2)
    assert result["hd95"] == pytest.approx((1.0 + 9.0) / 2)
    assert (result["missed"], result["cases"]) == (1, 2)
    assert result["dice RV"] == pytest.approx(0.7)


def test_metrics_file_says_what_it_means_and_reads_back(tmp_path):
    path = tmp_path / "metrics_val.csv"
    write_metrics(path, ROWS, ["split val, 2 volumes; last checkpoint"], "diagonal")
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "voxel" in header[0]
    assert "95" in header[0]
    assert "last checkpoint" in header[1]
    for row, back in zip(ROWS, read_metrics(path), strict=True):
        np.testing.assert_equal(back, row)


def test_a_heading_that_no_cell_stands_under_is_refused(tmp_path):
    """Found by `make fuzz`: a comma at the end of the headings."""
    path = tmp_path / "metrics_val.csv"
    path.write_text("case,class,dice,jaccard,hd95,asd,missed,\np1,1,0.5,0.4,1,0.1,0\n")
    with pytest.raises(ValueError, match=r"metrics_val\.csv: .*a row lacks ''"):
        read_metrics(path)


def test_a_case_without_a_label_is_refused_and_named(tmp_path, monkeypatch):
    source = Acdc(write_tiny(tmp_path))
    volume = source.volume
    monkeypatch.setattr(source, "volume", lambda case: volume(case)._replace(label=None))
    for scored in (
        lambda: evaluate(nn.Conv2d(1, 4, 1), source, "val", tiny_config("supervised")),
        lambda: ceiling(source, "val", tiny_config("supervised")),
    ):
        with pytest.raises(DataError, match=r"p91_frame01\.h5: has no label to score against"):
            scored()


def test_scores_that_are_none_are_a_dash():
    assert score_text("dice", math.nan) == "-"
    assert spread_text("hd95", [math.nan, 1.0]) == spread_text("hd95", [None, 1.0]) == "-"
