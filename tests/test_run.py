"""A run folder says how its numbers came about, resumes, lends its first stage, refuses mix-ups."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime

import pytest
import torch
from tiny import PRESET, Cut, cut_after, same_weights, write_tiny

import buarl.training.run
from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError
from buarl.evaluation.score import score_run
from buarl.regions import crl, url, whole
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.engine import choose_engine
from buarl.training.run import SELECTION, load_run, read_run, run_experiment

ROW = Experiment(
    labeled_rule=url(80), unlabeled_rule=crl(90), source="acdc", labeled=2, preset="tiny"
)
SUPERVISED = replace(ROW, method="supervised")


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    monkeypatch.setattr(
        buarl.training.run, "config_for", lambda *row: replace(config_for(*row), checkpoint_every=2)
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny data")))


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory):
    """The row ROW, trained; do not write there."""
    out = tmp_path_factory.mktemp("runs") / "bcp"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        return out, run_experiment(ROW, source, out)


def rows(out):
    with (out / "history.csv").open() as file:
        return list(csv.DictReader(file))


# The folder


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_precision_asked_for_is_used_and_written(source, tmp_path, monkeypatch, precision):
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESET, precision="auto"))
    row = replace(ROW, method="supervised", unlabeled_rule=whole())
    result = run_experiment(row, source, tmp_path / "run", precision=precision)
    run = read_run(tmp_path / "run")
    assert run["config"]["precision"] == run["environment"]["precision"] == precision
    again = run_experiment(row, source, tmp_path / "run", precision=precision, resume=True)
    assert again.history == result.history
    with pytest.raises(ValueError, match=f"config has precision = {precision}, now it is auto"):
        run_experiment(row, source, tmp_path / "run", resume=True)
    other = "bf16" if precision == "fp32" else "fp32"
    moved = run_experiment(row, source, tmp_path / "other", precision=other)
    assert moved.history != result.history


def test_a_resumed_run_keeps_its_precision_on_another_machine(source, tmp_path, monkeypatch):
    """ "auto" means what it meant where the run began."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESET, precision="auto"))
    exact = run_experiment(SUPERVISED, source, tmp_path / "exact", precision="bf16")
    there = choose_engine("cpu", "bf16")  # what auto is there
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("buarl.training.run.choose_engine", lambda *_: there)
        with pytest.raises(Cut):
            run_experiment(SUPERVISED, source, tmp_path / "run", callback=cut_after("train", 3))
    again = run_experiment(SUPERVISED, source, tmp_path / "run", resume=True)
    assert same_weights(again.network, exact.network)
    assert read_run(tmp_path / "run")["environment"]["precision"] == "bf16"


@pytest.mark.parametrize("named", [True, False])
def test_a_run_in_the_removed_precision_goes_on_in_fp32_on_request(
    source, tmp_path, monkeypatch, named
):
    """ "bf16_backward", by name or as what auto was where the run began."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESET, precision="auto"))

    def age(run):
        run["environment"]["precision"] = "bf16_backward"
        run["config"]["precision"] = "bf16_backward" if named else "auto"
        (tmp_path / "run" / "run.json").write_text(json.dumps(run))

    with pytest.raises(Cut):
        run_experiment(SUPERVISED, source, tmp_path / "run", callback=cut_after("train", 3))
    age(read_run(tmp_path / "run"))
    for asked in (None, "auto", "bf16"):
        with pytest.raises(ValueError, match=r"run: .* was removed; resume with --precision fp32"):
            run_experiment(SUPERVISED, source, tmp_path / "run", resume=True, precision=asked)
    how = {"resume": True, "precision": "fp32"}
    with pytest.raises(Cut):
        run_experiment(SUPERVISED, source, tmp_path / "run", **how, callback=cut_after("train", 5))
    run_experiment(SUPERVISED, source, tmp_path / "run", **how)
    run = read_run(tmp_path / "run")
    assert run["finished"]
    assert run["environment"]["precision"] == "bf16_backward, then fp32"
    age(run)
    run_experiment(SUPERVISED, source, tmp_path / "run", **how)  # nothing left to do
    assert read_run(tmp_path / "run")["environment"]["precision"] == "bf16_backward"
    assert len(score_run(tmp_path / "run").rows) > 0


def test_run_json_says_how_the_numbers_came_about(source, finished):
    out, result = finished
    run = json.loads((out / "run.json").read_text())
    assert run == read_run(out)
    assert Experiment.from_dict(run["experiment"]) == ROW
    assert run["config"]["stages"][1]["unlabeled_batch"] == 4
    assert run["config"]["image_size"] == [32, 32]
    assert run["config"]["settings"]["dice"]["smooth"] == 1e-10
    assert run["selection"] == SELECTION
    assert "no validation or test case" in SELECTION
    assert run["data"] == {
        "root": str(source.root.resolve()),
        "licence": source.licence,
        "classes": list(source.class_names),
        "normalisation": None,  # the recipe's
    }
    assert run["environment"]["torch"] == torch.__version__
    assert run["environment"]["threads"] == torch.get_num_threads()
    assert set(run["environment"]) >= {"python", "numpy", "machine", "gpu", "commit"}
    assert (run["environment"]["device"], run["environment"]["precision"]) == ("cpu", "fp32")
    assert datetime.fromisoformat(run["started"]).tzinfo is not None
    assert run["finished"] is True
    assert run["seconds"] == result.seconds
    assert set(run["seconds"]) == {"pretrain", "selftrain"}
    assert sorted(p.name for p in out.iterdir()) == [
        ".lock",
        "history.csv",
        "last.pt",
        "pretrain.pt",
        "run.json",
    ]


def test_history_csv_holds_the_history(finished):
    out, result = finished
    written = rows(out)
    assert [row["stage"] for row in written] == [row["stage"] for row in result.history]
    for text, row in zip(written, result.history, strict=True):
        for key, value in row.items():
            assert text[key] == str(value)
    assert written[0]["unlabeled"] == ""  # a column of stage 2 only


def test_a_run_in_progress_is_marked_unfinished(source, tmp_path):
    out, seen = tmp_path / "deep" / "run", []
    run_experiment(
        SUPERVISED, source, out, callback=lambda *_: seen.append(read_run(out)["finished"])
    )
    assert seen == [False] * 6
    assert read_run(out)["finished"]


def test_existing_folder_is_refused_and_left_alone(source, finished, tmp_path):
    out, _ = finished
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(FileExistsError, match=r"bcp: run folder exists"):
        run_experiment(ROW, source, out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    with pytest.raises(FileExistsError):
        run_experiment(ROW, source, tmp_path)  # an empty folder too


def test_an_unknown_name_makes_no_folder(source, tmp_path):
    with pytest.raises(ValueError, match="method"):
        run_experiment(replace(ROW, method="bpc"), source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Resume


@pytest.mark.parametrize(
    "cut", [("pretrain", 0), ("pretrain", 3), ("selftrain", 0), ("selftrain", 4)]
)
def test_a_cut_run_resumes_to_the_same_end(source, finished, tmp_path, cut):
    _, straight = finished
    out = tmp_path / "run"
    with pytest.raises(Cut):
        run_experiment(ROW, source, out, callback=cut_after(*cut))
    assert not read_run(out)["finished"]
    started = read_run(out)["started"]
    result = run_experiment(ROW, source, out, resume=True)
    assert same_weights(result.network, straight.network)
    assert (read_run(out)["finished"], read_run(out)["started"]) == (True, started)
    losses = [row["student_loss"] for row in result.history if row["step"] == 6]
    assert len(losses) == 2
    assert [row["student_loss"] for row in rows(out)] == [
        str(row["student_loss"]) for row in result.history
    ]


def test_resuming_a_finished_run_returns_it_at_once(source, finished):
    out, straight = finished

    def never(*_):
        raise AssertionError("trained again")

    again = run_experiment(ROW, source, out, resume=True, callback=never)
    assert same_weights(again.network, straight.network)
    assert again.history == straight.history
    assert read_run(out)["seconds"] == straight.seconds


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"unlabeled_rule": crl(95)}, {"labeled": 3}, {"options": {"a": 1}}]
)
def test_resume_refuses_another_row(source, finished, change, monkeypatch):
    monkeypatch.setattr(
        buarl.training.run, "build_method", lambda row, classes, *_: build_method(ROW, classes)
    )
    with pytest.raises(ValueError, match=f"bcp: experiment has {next(iter(change))} = "):
        run_experiment(replace(ROW, **change), source, finished[0], resume=True)


def test_resume_without_a_run(source, tmp_path):
    with pytest.raises(ValueError, match=r"run\.json: no such file; .* not a run folder"):
        run_experiment(ROW, source, tmp_path / "nothing", resume=True)


# A first stage from another run


def test_pretrained_gives_the_weights_of_both_stages_straight(source, finished, tmp_path):
    row = replace(ROW, unlabeled_rule=crl(70), unlabeled_reduction="region")
    straight = run_experiment(row, source, tmp_path / "straight")
    stages = set()
    begun = run_experiment(
        row,
        source,
        tmp_path / "begun",
        pretrained=finished[0],
        callback=lambda name, *_: stages.add(name),
    )
    assert stages == {"selftrain"}
    assert same_weights(begun.network, straight.network)
    assert not same_weights(begun.network, finished[1].network)


def test_a_cut_run_with_pretrained_goes_on_where_it_was(source, finished, tmp_path):
    out, steps = tmp_path / "run", []
    with pytest.raises(Cut):
        run_experiment(ROW, source, out, pretrained=finished[0], callback=cut_after("selftrain", 4))
    result = run_experiment(
        ROW,
        source,
        out,
        resume=True,
        pretrained=finished[0],
        callback=lambda name, step, _: steps.append((name, step.index)),
    )
    assert steps == [("selftrain", 4), ("selftrain", 5)]
    assert same_weights(result.network, finished[1].network)


@pytest.mark.parametrize(
    "change",
    [
        {"labeled_rule": url(85)},
        {"labeled_reduction": "region"},
        {"labeled": 3},
        {"seed": 1},
        {"preset": "toy"},
        {"source": "phantom"},
    ],
)
def test_pretrained_refuses_what_decided_the_first_stage(source, finished, tmp_path, change):
    (key, _), out = *change.items(), tmp_path / "run"
    with pytest.raises(ValueError, match=f"bcp: first stage has {key} = "):
        run_experiment(replace(ROW, **change), source, out, pretrained=finished[0])
    assert not out.exists()


def test_pretrained_needs_two_stages_and_a_run(source, finished, tmp_path):
    with pytest.raises(ValueError, match="two stages, got 'supervised'"):
        run_experiment(SUPERVISED, source, tmp_path / "a", pretrained=finished[0])
    with pytest.raises(ValueError, match="not a run folder"):
        run_experiment(ROW, source, tmp_path / "b", pretrained=tmp_path)
    assert list(tmp_path.iterdir()) == []


# Loading


def test_load_run_returns_row_data_and_last_weights(source, finished, tmp_path):
    out, result = finished
    row, data, method = load_run(out)
    assert row == ROW
    assert data.root == source.root.resolve()
    assert same_weights(method.student, result.network)
    moved = source.root.rename(source.root.with_name("moved"))
    try:
        with pytest.raises(DataError, match="no such folder"):
            load_run(out)
        assert load_run(out, moved)[1].root == moved
    finally:
        moved.rename(source.root)


def test_load_run_refuses_an_unfinished_run_and_no_run(source, tmp_path):
    with pytest.raises(Cut):
        run_experiment(SUPERVISED, source, tmp_path / "run", callback=cut_after("train", 3))
    with pytest.raises(ValueError, match="not finished; resume it first"):
        load_run(tmp_path / "run")
    with pytest.raises(ValueError, match="not a run folder"):
        load_run(tmp_path)
