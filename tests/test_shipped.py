"""The lessons' networks come with the package: nothing is trained, and nothing is taken unchecked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import same_weights

import buarl.lessons.trained as lessons
from buarl.data.source import open_source
from buarl.lessons import moments, shipped
from buarl.lessons.merit import dice_by_class, errors_on_unlabeled, networks_of
from buarl.lessons.rows import LESSON_ROWS, LESSON_SOURCE, STUDY_ROWS, lesson_row, lesson_source
from buarl.training.config import PRESETS, build_method, config_for
from buarl.widgets.snapshots import sides_of_lesson

MOST_BYTES = 10_000_000  # of a wheel that anyone downloads
ANOTHER_PROCESSOR = 0.003  # how far a share may move by its last bits
BCP = [name for name, row in LESSON_ROWS.items() if row["method"] == "bcp"]


@pytest.fixture(scope="module")
def source():
    return open_source(LESSON_SOURCE)


@pytest.fixture
def nothing_trains(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a lesson trains")

    monkeypatch.setattr(lessons, "run_experiment", refuse)
    monkeypatch.setattr(moments, "fit", refuse)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A copy of the files, to be damaged."""
    folder = tmp_path / "networks"
    shutil.copytree(shipped.FOLDER, folder)
    for function in (shipped.shipped_method, shipped.shipped_snapshots):
        defaults = [folder if value == shipped.FOLDER else value for value in function.__defaults__]
        monkeypatch.setattr(function, "__defaults__", tuple(defaults))
    return folder


@pytest.fixture
def trains(monkeypatch):
    """Rows that would be trained here."""
    asked = []

    def instead(experiment, source, **options):
        asked.append(experiment)
        return build_method(experiment, source.num_classes)

    monkeypatch.setattr(lessons, "trained_here", instead)
    monkeypatch.setattr(lessons, "after_stage_here", lambda row, data, stage: instead(row, data))
    return asked


def test_with_an_empty_cache_no_lesson_trains(source, tmp_path, monkeypatch, nothing_trains):
    shutil.copytree(source.root, tmp_path / source.root.name)
    monkeypatch.setenv("BUARL_CACHE", str(tmp_path))
    monkeypatch.delenv("BUARL_RETRAIN", raising=False)
    monkeypatch.delenv("BUARL_SOURCE", raising=False)
    mine = lesson_source()
    assert mine.root.parent == tmp_path
    for name in LESSON_ROWS:
        method = lessons.trained(lesson_row(name, mine), mine)
        assert {p.dtype for p in method.parameters()} == {torch.float32}
        assert {p.device.type for p in method.parameters()} == {"cpu"}
    for name in BCP:
        row = lesson_row(name, mine)
        early = lessons.after_stage(row, mine, "pretrain")
        late = lessons.after_stage(row, mine, "selftrain")
        assert same_weights(late, lessons.trained(row, mine))
        assert not same_weights(early.student, late.student)
        early.start_selftraining()
        assert same_weights(early.teacher, early.student)
    assert len(sides_of_lesson("BCP + URL + CRL", mine)) == 2
    assert len(moments.lesson_film("BCP + URL + CRL", mine).titles) >= 10
    assert not {"trained", "snapshots"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", LESSON_ROWS)
def test_figures_of_merit_are_those_of_the_files(name, source):
    said, row = shipped.shipped_figures(name), lesson_row(name, source)
    config, method = config_for(row), lessons.trained(row, source)
    for title, network in networks_of(method).items():
        check_errors(said[title]["errors"], errors_on_unlabeled(network, source, config))
    for stage, entry in said["stages"].items():
        student = lessons.after_stage(row, source, stage).student
        if same_weights(student, method.student):
            assert entry["student"]["errors"] == said["student"]["errors"]
        else:
            check_errors(entry["student"]["errors"], errors_on_unlabeled(student, source, config))
    if name == "BCP + URL + CRL":  # whole volumes take longer
        for title, network in networks_of(method).items():
            found = dice_by_class(network, source, config)
            assert found == pytest.approx(said[title]["dice"], abs=ANOTHER_PROCESSOR)


def check_errors(said, found):
    assert said.keys() == found.keys()
    for key, value in found.items():
        assert value == pytest.approx(said[key], abs=ANOTHER_PROCESSOR), key


def test_errors_look_like_those_of_real_hearts(source):
    """On ACDC the uncertain region at 99, 97 and 95 % held 16, 41 and 63 % of the errors."""
    for name in BCP:
        errors = shipped.shipped_figures(name)["student"]["errors"]
        for q, real in (("99", 0.16), ("97", 0.41), ("95", 0.63)):
            assert errors[q]["recall"] == pytest.approx(real, abs=0.15)


def test_recorded_moments_end_where_the_network_does(source):
    """Snapshots and network are two trainings with one outcome."""
    row = lesson_row("BCP + URL + CRL", source)
    method, found = lessons.trained(row, source), moments.lesson_moments("BCP + URL + CRL", source)
    images = moments.few_slices(source, config_for(row))[0]
    for side, probs in zip(
        ("labeled", "unlabeled"), moments.predict_sides(method, "selftrain", images), strict=True
    ):
        assert found[side].shape[1:] == probs.shape
        assert abs(found[side][-1] - probs).mean() < 0.01
    assert found["film_titles"][-1] == found["titles"][-1]


@pytest.mark.parametrize("fault", ["missing", "cut", "one bit", "of another row", "no index"])
def test_a_file_that_cannot_be_used_is_named_and_the_network_trained(source, files, trains, fault):
    row = lesson_row("BCP", source)
    entry = shipped.shipped_figures("BCP")
    path = files / entry["file"]
    content = bytearray(path.read_bytes())
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif fault == "one bit":
        content[-100] ^= 1
        path.write_bytes(content)
    elif fault == "of another row":
        shutil.copy(files / shipped.shipped_figures("BCP + URL + CRL")["file"], path)
    else:
        path = files / shipped.INDEX
        path.write_text("{}")
    with pytest.warns(shipped.ShippedFileWarning, match=path.name) as said:
        lessons.trained(row, source)
    assert len(said) == 1
    assert "trained on this machine" in str(said[0].message)
    assert trains == [row]


def test_weights_of_another_network_are_refused_even_with_a_fitting_checksum(source, files, trains):
    index = json.loads((files / shipped.INDEX).read_text())
    networks = index["networks"]
    for key in ("file", "sha256"):
        networks["BCP"][key] = networks["supervised"][key]
    (files / shipped.INDEX).write_text(json.dumps(index))
    with pytest.warns(shipped.ShippedFileWarning, match="weights of another network"):
        lessons.trained(lesson_row("BCP", source), source)
    assert len(trains) == 1


def test_damaged_snapshots_are_named(source, files, monkeypatch):
    path = files / shipped.index()["snapshots"]["file"]
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(moments, "made_once", lambda path, read, make: "recorded here")
    with pytest.warns(shipped.ShippedFileWarning, match=path.name):
        assert moments.lesson_moments("BCP + URL + CRL", source) == "recorded here"


def test_buarl_retrain_trains(source, trains, monkeypatch):
    monkeypatch.setenv("BUARL_RETRAIN", "1")
    row = lesson_row("supervised", source)
    lessons.trained(row, source)
    assert trains == [row]
    monkeypatch.setenv("BUARL_RETRAIN", "0")
    lessons.trained(row, source)
    assert len(trains) == 1
    monkeypatch.setenv("BUARL_RETRAIN", "yes")
    with pytest.raises(ValueError, match="BUARL_RETRAIN must be 0 or 1, got 'yes'"):
        lessons.trained(row, source)


def test_only_the_very_row_on_the_very_data_is_taken_from_the_files(
    source, trains, tmp_path, monkeypatch
):
    row = lesson_row("supervised", source)
    elsewhere = tmp_path / source.root.name
    shutil.copytree(source.root, elsewhere)
    lessons.trained(row, type(source)(elsewhere))  # may be other hearts
    lessons.trained(replace(row, seed=1), source)
    lessons.trained(replace(row, labeled=2), source)
    lessons.trained(lesson_row("BCP + URL, uncertain removed", source), source)
    with monkeypatch.context() as patch:
        patch.setitem(PRESETS, "lesson", replace(PRESETS["lesson"], width=4))
        lessons.trained(row, source)
    assert len(trains) == 5


def test_an_unknown_network_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="'BCP'.*got 'BPC'"):
        shipped.shipped_figures("BPC")


def test_a_weight_that_float16_cannot_hold_is_not_written(source):
    method = build_method(lesson_row("supervised", source), source.num_classes)
    next(method.parameters()).data.fill_(1e6)
    with pytest.raises(ValueError, match="does not fit into float16"):
        shipped.packed(method)


def test_files_are_few_small_and_all_described():
    index, names = shipped.index(), {path.name for path in shipped.FOLDER.iterdir()}
    entries = [
        *index["networks"].values(),
        *(early for each in index["networks"].values() for early in each["stages"].values()),
        index["snapshots"],
    ]
    assert names == {shipped.INDEX, *(entry["file"] for entry in entries)}
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < MOST_BYTES
    assert "MIT" in index["licence"]
    assert set(index["networks"]) == set(LESSON_ROWS) <= set(STUDY_ROWS)


def test_a_byte_for_every_probability_keeps_the_picture():
    """What the package stores of a training: sums of 1, the same winner, nearly the same entropy."""
    probs = np.random.default_rng(0).dirichlet([0.3] * 4, (2, 3, 8, 9)).astype(np.float32)
    probs = np.moveaxis(probs, -1, 2)  # (S, N, C, H, W)
    titles = np.array(["one", "two"])
    moments_ = {"titles": titles, "labeled": probs, "unlabeled": probs}
    moments_ |= {"film_titles": titles, "film": probs[:, 0]}
    back = moments.from_bytes(moments.to_bytes(moments_, small=True))
    assert list(back["titles"]) == list(titles)
    for key in ("labeled", "unlabeled", "film"):
        found, wanted = back[key], moments_[key]
        assert (found.shape, found.dtype) == (wanted.shape, np.float32)
        assert found.sum(-3) == pytest.approx(1, abs=1e-6)
        assert np.abs(found - wanted).max() < 0.02
    whole = moments.from_bytes(moments.to_bytes(moments_))
    assert np.array_equal(whole["labeled"], probs)
    with pytest.raises(ValueError, match="no snapshots"):
        moments.from_bytes(b"PK")
