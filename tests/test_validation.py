"""The curve has the Dice of an evaluation, changes nothing in a training, and survives a cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from tiny import Cut, same_weights, tiny_config, tiny_method, write_case, write_tiny

from buarl.data.acdc import Acdc
from buarl.data.source import open_source
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.metrics import multiclass_metrics
from buarl.evaluation.scores import summary
from buarl.evaluation.validation import DiceCurve, _read, dice_of_classes
from buarl.methods.base import Adam, Step
from buarl.methods.supervised import Supervised
from buarl.networks import VNet
from buarl.training.config import Config
from buarl.training.loop import fit
from buarl.training.state import TrainingState

PLACES = [("pretrain", 5), ("pretrain", 10), ("pretrain", 12)]
PLACES += [("selftrain", 5), ("selftrain", 10), ("selftrain", 14)]


@pytest.fixture
def source(tmp_path):
    """Two validation volumes of different shapes."""
    source = Acdc(write_tiny(tmp_path / "data"))
    first = source.volume(source.cases("val")[0])
    path = source.volume_path("p93_frame01")
    write_case(path, image=first.image[:2, :, 3:], label=first.label[:2, :, 3:])
    listing = source.root / "val.list"
    listing.write_text(listing.read_text() + "p93_frame01\n")
    return source


def curve_of(source, path, **options):
    return DiceCurve(source, tiny_config("bcp"), path, every=5, **options)


labels = arrays(np.uint8, (2, 5, 4), elements=st.integers(0, 3))


@given(labels, labels)
def test_dice_is_that_of_the_metrics(prediction, label):
    expected = [row["dice"] for row in multiclass_metrics(prediction, label, 4)]
    np.testing.assert_allclose(dice_of_classes(prediction, label, 4), expected, rtol=1e-15)


def test_the_curve_ends_where_the_evaluation_is_and_the_training_is_the_same(source, tmp_path):
    config = tiny_config("supervised").shortened(60)
    plain, watched = (tiny_method("supervised", optimizer=Adam(0.02)) for _ in range(2))
    fit(plain, source, config)
    curve = DiceCurve(source, config, tmp_path / "curve.csv", every=25)
    fit(watched, source, config, callback=curve)
    rows = curve.finish()
    assert same_weights(plain, watched)
    assert list(rows) == [("train", 25), ("train", 50), ("train", 60)]
    scores = summary(evaluate(watched.student, source, "val", config))
    assert scores["cases"] == 2
    last = rows["train", 60]
    assert last["dice"] == pytest.approx(scores["dice"], abs=1e-12)
    assert last["dice"] > 0.3
    for name in source.class_names[1:]:
        assert last[name] == pytest.approx(scores[f"dice {name}"], abs=1e-12)


def test_a_class_that_no_volume_has_does_not_hide_the_mean(source, tmp_path):
    """As `summary` has it: a class without any Dice is left out; one that is hallucinated is 0."""
    curve = curve_of(source, tmp_path / "curve.csv")
    absent = np.array([[0.8, 0.6, np.nan], [0.4, 0.6, np.nan]])
    assert curve.means_of(absent)["dice"] == pytest.approx(0.6)
    assert np.isnan(curve.means_of(absent)[source.class_names[3]])
    imagined = np.array([[0.8, 0.6, np.nan], [0.4, 0.6, 0.0]])
    assert curve.means_of(imagined)["dice"] == pytest.approx(0.4)
    assert np.isnan(curve.means_of(np.full((2, 3), np.nan))["dice"])


def test_an_interrupted_curve_goes_on(source, tmp_path):
    config = tiny_config("bcp", checkpoint_every=4)
    whole = curve_of(source, tmp_path / "whole.csv")
    fit(tiny_method("bcp"), source, config, callback=whole)
    expected = whole.finish()
    cut = curve_of(source, tmp_path / "curve.csv")

    def callback(stage, step, method):
        cut(stage, step, method)
        if (stage, step.index) == ("selftrain", 11):
            raise Cut

    with pytest.raises(Cut):
        fit(tiny_method("bcp"), source, config, callback=callback, out=tmp_path)
    cut.finish()
    again = curve_of(source, tmp_path / "curve.csv")
    assert list(again.rows) == PLACES[:-1]
    fit(tiny_method("bcp"), source, config, callback=again, out=tmp_path, resume=True)
    again.finish()
    assert (tmp_path / "curve.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert list(again.rows) == list(expected)
    text = (tmp_path / "curve.csv").read_text()
    assert "split val, 2 volumes" in text
    assert "the last checkpoint is evaluated, not the best one" in text


def test_scores_are_on_the_disk_before_the_checkpoint_that_covers_them(
    source, tmp_path, monkeypatch
):
    """Whatever kills the run right after a checkpoint: no row up to it is lost."""
    config, places = tiny_config("bcp", checkpoint_every=5), []
    curve, save = curve_of(source, tmp_path / "curve.csv"), TrainingState.save

    def saved(state, path):
        save(state, path)
        written = _read(tmp_path / "curve.csv")
        places.append((state.position, list(written)[-1] if written else None))

    monkeypatch.setattr(TrainingState, "save", saved)
    fit(tiny_method("bcp"), source, config, callback=curve, out=tmp_path)
    assert places == [
        ((0, 5), ("pretrain", 5)),
        ((0, 10), ("pretrain", 10)),
        ((1, 0), ("pretrain", 12)),
        ((1, 5), ("selftrain", 5)),
        ((1, 10), ("selftrain", 10)),
        ((2, 0), ("selftrain", 14)),
    ]


def test_rows_beyond_the_checkpoint_are_forgotten(source, tmp_path):
    curve = curve_of(source, tmp_path / "curve.csv")
    curve.rows = {place: {"dice": 0.5} for place in PLACES}
    curve.begin({"pretrain": 12, "selftrain": 5})
    assert list(curve.rows) == PLACES[:4]
    curve.begin({})
    assert curve.rows == {}


def test_a_curve_that_is_none_is_named(source, tmp_path):
    (tmp_path / "curve.csv").write_text("stage,step,dice\npretrain,five,0.5\n")
    with pytest.raises(ValueError, match=r"curve\.csv: not a curve of an earlier part"):
        curve_of(source, tmp_path / "curve.csv")


def test_volumes_are_predicted_as_in_an_evaluation(tmp_path):
    source = open_source("phantom_la")
    cases = source.cases("val")[:1]
    source.cases = lambda split: cases
    config = Config("tiny", (32, 32, 16), (), None, width=2)
    method = Supervised(VNet(2, 2))
    curve = DiceCurve(source, config, tmp_path / "curve.csv")
    curve("train", Step(199, 1000), method)
    curve("train", Step(200, 1000), method)
    rows = curve.finish()
    assert list(rows) == [("train", 200)]
    scores = summary(evaluate(method.student, source, "val", config))
    assert rows["train", 200]["dice"] == pytest.approx(scores["dice"], abs=1e-12)


def test_a_wrong_interval_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="every must be at least 1 step, got 0"):
        DiceCurve(source, tiny_config("bcp"), tmp_path / "curve.csv", every=0)
