"""Files of the same names that hold something else are noticed, wherever runs and data meet."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from test_tables import entry_of, put
from tiny import PRESET, Cut, cut_after, slice_path, write_tiny

from buarl.data.acdc import Acdc
from buarl.data.contents import contents_of, first_other, numbers_of, said_contents
from buarl.data.errors import DataError
from buarl.data.h5 import Sample
from buarl.evaluation.protocols import score_selected
from buarl.evaluation.score import score_run
from buarl.evaluation.watch import watch_run
from buarl.regions import whole
from buarl.results.ledger import entry_of_run
from buarl.results.measured import read_results
from buarl.results.rows import rows_of
from buarl.results.statistics import compare
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import read_run, run_experiment

ROW = Experiment(source="acdc", labeled=2, preset="tiny", unlabeled_rule=whole())
REFUSED = "has the same name and holds something else"


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    return Acdc(write_tiny(tmp_path / "data"))


def rewrite(path, change, key="image"):
    with h5py.File(path, "r+") as file:
        array = change(file[key][:])
        del file[key]
        file[key] = array


def sample(image, label=None):
    return Sample("a", np.asarray(image, np.float32), label)


def test_all_roles_are_looked_at_and_labels_of_unlabeled_samples_are_not_read(source, monkeypatch):
    read = {}
    before = Acdc.training_sample

    def training_sample(self, name, *, labeled=True):
        read[name] = labeled
        return before(self, name, labeled=labeled)

    monkeypatch.setattr(Acdc, "training_sample", training_sample)
    found = contents_of(source, 2)
    ours, others = source.split_labeled(2)
    assert list(found) == [*ours[:3], *others[:3], *source.cases("val")]
    assert read == {**dict.fromkeys(ours[:3], True), **dict.fromkeys(others[:3], False)}
    assert all("classes" not in found[name] for name in others[:3])
    assert not set(found) & set(source.cases("test"))


def test_data_without_a_validation_volume_have_contents_all_the_same(source):
    for case in source.listed("val"):
        source.volume_path(case).unlink()
    assert len(contents_of(source, 2)) == 6


@pytest.mark.parametrize(
    "change",
    [lambda x: x * 1.01, lambda x: x + 0.01, lambda x: x[::-1], lambda x: x[:, ::-1], np.rot90]
    + [lambda x: x * 255, lambda x: (x - x.mean()) / x.std()],
)
def test_other_intensities_turns_and_flips_are_noticed(change):
    image = np.random.default_rng(0).random((32, 32)) + np.linspace(0, 1, 32) ** 2
    image += np.linspace(0, 0.5, 32)[:, None]
    then, now = ({"a": numbers_of(sample(each))} for each in (image, change(image)))
    assert first_other(then, now) == "a"


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1000), st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_the_last_bits_of_another_processor_are_not(seed, scale, shift):
    rng = np.random.default_rng(seed)
    image = (rng.random((12, 10)) * scale + shift).astype(np.float32)
    label = rng.integers(0, 4, (12, 10)).astype(np.uint8)
    nearby = np.nextafter(image, np.float32(np.inf))
    then, now = ({"a": numbers_of(sample(each, label))} for each in (image, nearby))
    assert first_other(then, now) is None


def test_a_class_of_one_pixel_more_is_within_the_tolerance_and_a_flat_image_is_itself():
    image, label = np.zeros((200, 200)), np.zeros((200, 200), np.uint8)
    one_more = label.copy()
    one_more[0, 0] = 3
    a, b = ({"a": numbers_of(sample(image, each))} for each in (label, one_more))
    assert first_other(a, b) is None
    assert first_other(b, a) is None
    assert first_other(a, {"a": numbers_of(sample(image + 0.1, label))}) == "a"


def test_a_validation_volume_that_cannot_be_read_stops_no_training(source, tmp_path):
    (source.root / "val.list").write_text("p92_frame01\np91_frame01\n")
    source.volume_path("p92_frame01").write_bytes(b"no h5 file")
    assert "p91_frame01" in contents_of(source, 2)
    run_experiment(ROW, source, tmp_path / "run")
    assert "p92_frame01" not in read_run(tmp_path / "run")["data"]["contents"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s._replace(label=s.label.astype(float)), "must be an array of integers"),
        (lambda s: s._replace(image=s.image.astype(float)), "must be float32 with 2 axes"),
        (lambda s: s._replace(label=s.label[1:]), "must have the image's shape"),
    ],
)
def test_a_source_that_breaks_a_rule_is_told_so_before_anything_is_measured(
    source, tmp_path, monkeypatch, change, says
):
    before = Acdc.training_sample
    monkeypatch.setattr(Acdc, "training_sample", lambda *a, **k: change(before(*a, **k)))
    with pytest.raises(DataError, match=f"source acdc, sample p1_frame01_slice_3: .*{says}"):
        run_experiment(ROW, source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_selected_checkpoint_is_not_scored_on_other_data_either(source, tmp_path):
    out = tmp_path / "run"
    watch = watch_run(source, config_for(ROW), out, validate=2)
    run_experiment(ROW, source, out, callback=watch)
    watch.finish()
    assert score_selected(out)[0]
    rewrite(source.volume_path(source.listed("val")[0]), lambda image: image * 2)
    with pytest.raises(ValueError, match=REFUSED):
        score_selected(out)


def test_another_label_is_noticed_where_both_may_read_it():
    image, label = np.eye(8), np.zeros((8, 8), np.uint8)
    other = label.copy()
    other[:2] = 1
    a, b, none = (numbers_of(sample(image, each)) for each in (label, other, None))
    assert first_other({"a": a}, {"a": b}) == "a"
    assert first_other({"a": a}, {"a": none}) is None


def test_a_run_is_neither_resumed_nor_lent_nor_scored_on_other_data(source, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(Cut):
        run_experiment(ROW, source, out, callback=cut_after("selftrain", 2))
    first = slice_path(source.root, source.split_labeled(2)[0][0])
    rewrite(first, lambda image: image * 2)
    with pytest.raises(ValueError, match=f"{first.stem} {REFUSED}"):
        run_experiment(ROW, source, out, resume=True)
    rewrite(first, lambda image: image / 2)
    ids = (out / "ids.csv").read_text()
    (out / "ids.csv").write_text(ids.replace("labeled", "other", 1))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("buarl.training.environment.platform.python_version", lambda: "9")
        with pytest.raises(ValueError, match=r"ids\.csv"):
            run_experiment(ROW, source, out, resume=True)
    assert "resumed" not in read_run(out)  # nothing was trained there
    (out / "ids.csv").write_text(ids)
    run_experiment(ROW, source, out, resume=True)
    assert score_run(out).rows
    volume = source.volume_path(source.listed("val")[0])
    rewrite(volume, lambda label: np.flip(label, 0) * 0, "label")
    with pytest.raises(ValueError, match=f"{volume.stem} {REFUSED}"):
        score_run(out)
    with pytest.raises(ValueError, match=REFUSED):
        run_experiment(ROW, source, tmp_path / "other", pretrained=out)
    assert not (tmp_path / "other").exists()


def test_a_run_from_before_contents_were_kept_goes_on(source, tmp_path):
    out = tmp_path / "run"
    run_experiment(ROW, source, out)
    run = read_run(out)
    assert said_contents(run["data"]) == contents_of(source, 2)
    del run["data"]["contents"]
    (out / "run.json").write_text(json.dumps(run))
    run_experiment(ROW, source, out, resume=True)
    assert score_run(out).rows


def test_where_the_data_lie_does_not_matter(source, tmp_path):
    out = tmp_path / "run"
    run_experiment(ROW, source, out)
    score_run(out)
    shutil.move(source.root, tmp_path / "moved")
    score_run(out, tmp_path / "moved")
    assert entry_of_run(out)["data"]["contents"] == read_run(out)["data"]["contents"]
    assert "root" not in entry_of_run(out)["data"]


def test_runs_of_other_data_are_not_compared():
    rows = {row.title: row.experiment for row in rows_of("3")}
    numbers = [{"case0": {"image": [0.5, 0.1]}}, {"case0": {"image": [127.5, 25.5]}}]
    a, b = (
        [{"name": name, **entry_of(replace(rows[name], seed=seed), [0.5] * 4)} for seed in (0, 1)]
        for name in ("BCP", "URL + CRL, voxel")
    )
    compare(a, b)
    for entry in (*a, *b):
        entry["data"] = {"licence": "-", "contents": numbers[0]}
    compare(a, b)
    b[1]["data"] = {"licence": "-", "contents": numbers[1]}
    with pytest.raises(ValueError, match="case0 of two of them has one name"):
        compare(a, b)


def test_a_run_of_other_data_is_left_out_of_tables_and_named(tmp_path):
    row = rows_of("3")[0].experiment
    for seed, mean in ((0, 127.5), (1, 0.5), (2, 0.5), (3, None)):
        entry = entry_of(replace(row, seed=seed), [0.5] * 4)
        if mean is not None:  # an early run does not know
            entry["data"] = {"licence": "-", "contents": {"case0": {"image": [mean, 0.2 * mean]}}}
        put(tmp_path, f"bcp_{seed}", entry)
    found = read_results(tmp_path)
    assert [entry["name"] for entry in found.entries] == ["bcp_1", "bcp_2", "bcp_3"]
    assert list(found.left_out) == ["bcp_0: case0 of its data holds else than in other runs"]


def test_a_newer_run_of_other_data_does_not_take_the_place_of_an_older_one(tmp_path):
    row = rows_of("3")[0].experiment
    for name, day, mean in (("first", "01", 0.5), ("other", "02", 0.5), ("anew", "03", 127.5)):
        entry = entry_of(replace(row, seed=int(name == "other")), [0.5] * 4)
        entry["started"] = f"2026-11-{day}T00:00:00+00:00"
        entry["data"] = {"licence": "-", "contents": {"case0": {"image": [mean, 0.2 * mean]}}}
        put(tmp_path, name, entry)
    found = read_results(tmp_path)
    assert {entry["name"] for entry in found.entries} == {"first", "other"}
    assert [line[:5] for line in found.left_out] == ["anew:"]


@pytest.mark.parametrize(
    "damaged",
    [[], 3, {"a": 3}, {"a": {}}, {"a": {"image": [1.0]}}, {"a": {"image": ["x", 1.0]}}]
    + [
        {"a": {"image": None}},
        {"a": {"image": [1.0, True]}},
        {"a": {"image": [1, 2], "classes": 3}},
        {"a": {"image": [1.0, -1.0]}},
        {"a": {"image": [float("nan"), 1.0]}},
    ],
)
def test_damaged_contents_are_one_sentence(damaged):
    with pytest.raises(ValueError, match="damaged, contents of its data are"):
        said_contents({"contents": damaged})
