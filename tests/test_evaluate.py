"""From a network to scores: resizing, windows, means, files."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_config, write_tiny
from torch import nn

from buarl.data.acdc import Acdc
from buarl.evaluate import ceiling, evaluate, read_metrics, summary, write_metrics
from buarl.predict import predict_probs, predict_slices, predict_windows
from buarl.resample import resize_nearest


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
        "dice": 0.5,
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
    assert result["dice"] == pytest.approx((0.75 + 0.0) / 2)
    assert result["hd95"] == pytest.approx((1.0 + 9.0) / 2)
    assert (result["missed"], result["cases"]) == (1, 2)
    assert result["dice RV"] == 0.75


def test_metrics_file_says_what_it_means_and_reads_back(tmp_path):
    path = tmp_path / "metrics_val.csv"
    write_metrics(path, ROWS, ["split val, 2 volumes; last checkpoint"], "diagonal")
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "voxel" in header[0]
    assert "95" in header[0]
    assert "last checkpoint" in header[1]
    for row, back in zip(ROWS, read_metrics(path), strict=True):
        np.testing.assert_equal(back, row)
