"""A run folder says how its numbers came about, resumes, lends its first stage, refuses mix-ups."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from datetime import datetime

import pytest
import torch
from tiny import PRESET, Cut, cut_after, same_weights, write_tiny

import buarl.training.run
from buarl.arguments import where_different
from buarl.capsule import CapsuleError, read_capsule
from buarl.data.acdc import Acdc
from buarl.data.contents import contents_of
from buarl.data.h5 import DataError
from buarl.evaluation.score import score_run
from buarl.regions import crl, url, whole
from buarl.training.checkpoint import load_state, write_json
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.engine import choose_engine
from buarl.training.lock import owned
from buarl.training.run import SELECTION, load_run, read_run, run_experiment

ROW = Experiment(
    labeled_rule=url(80), unlabeled_rule=crl(90), source="acdc", labeled=2, preset="tiny"
)
SUPERVISED = replace(ROW, method="supervised", unlabeled_rule=whole())


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
        "contents": contents_of(source, ROW.labeled),
    }
    assert run["environment"]["torch"] == torch.__version__
    assert run["environment"]["threads"] == torch.get_num_threads()
    assert set(run["environment"]) >= {"python", "numpy", "machine", "processor", "gpu", "commit"}
    assert (run["environment"]["device"], run["environment"]["precision"]) == ("cpu", "fp32")
    assert datetime.fromisoformat(run["started"]).tzinfo is not None
    assert run["finished"] is True
    assert run["seconds"] == result.seconds
    assert set(run["seconds"]) == {"pretrain", "selftrain"}
    assert sorted(p.name for p in out.iterdir()) == [
        ".lock",
        "history.csv",
        "ids.csv",
        "last.pt",
        "pretrain.pt",
        "run.json",
    ]


def test_resuming_a_finished_run_writes_nothing(source, finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    kept = (out / "run.json").read_bytes()
    again = run_experiment(ROW, source, out, resume=True)
    assert again.history == finished[1].history
    assert (out / "run.json").read_bytes() == kept
    with (out / "history.csv").open("a") as file:
        file.write("selftrain,9,0.1\n")
    run_experiment(ROW, source, out, resume=True)  # what was spoilt is not sealed again
    with pytest.raises(CapsuleError, match="history"):
        read_capsule(out)


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
    with pytest.raises(ValueError, match=rf"bcp: experiment has {next(iter(change))}[.\w]* = "):
        run_experiment(replace(ROW, **change), source, finished[0], resume=True)


def test_the_one_value_that_differs_is_named_also_where_one_side_has_no_such_key():
    then, now = {"options": {"strong_views": None}}, {"options": {}}
    assert where_different("row", then, now) == ("row.options.strong_views", None, "not set")
    assert where_different("row", now, then) == ("row.options.strong_views", "not set", None)


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
    with pytest.raises(
        ValueError, match=rf"bcp: first stage has {key}[.\w]* = \S+, now it is \S+$"
    ):
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


# A run folder has one trainer, and its files belong together


@pytest.fixture
def copied(finished, tmp_path):
    """The finished run of ROW, to change."""
    return shutil.copytree(finished[0], tmp_path / "copied")


def changed_state(path, **changes):
    """A checkpoint with other content, whole by its checksums."""
    torch.save({**torch.load(path, weights_only=True), **changes}, path)


def without(path, *keys):
    state = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in state.items() if key not in keys}, path)


def test_a_folder_in_training_is_neither_trained_into_nor_evaluated(source, copied):
    with owned(copied):
        with pytest.raises(ValueError, match="copied: another process trains into this folder"):
            run_experiment(ROW, source, copied, resume=True)
        for use in (load_run, score_run):
            with pytest.raises(
                ValueError, match="copied: is being trained at this moment .process"
            ):
                use(copied)
    assert load_run(copied)[0] == ROW


def test_a_run_is_owned_while_it_trains(source, tmp_path):
    out, seen = tmp_path / "run", []

    def callback(*_):
        with pytest.raises(ValueError, match="another process trains"), owned(out):
            pass
        with pytest.raises(ValueError, match="is being trained"):
            load_run(out)
        seen.append(1)

    run_experiment(SUPERVISED, source, out, callback=callback)
    assert len(seen) == 6
    assert load_run(out)


@pytest.mark.parametrize("position", [[0, 2], [1, 6], [7, 0], [0, 99], [-1, 0], [2], None, "end"])
def test_a_finished_run_whose_checkpoint_stands_elsewhere_is_refused(copied, position):
    """Another process wrote an earlier one after the end, or the file is another."""
    changed_state(copied / "last.pt", position=position)
    for use in (load_run, score_run):
        with pytest.raises(
            ValueError, match=r"copied/last\.pt: (stands in stage|its position must)"
        ):
            use(copied)


def test_an_earlier_checkpoint_in_a_finished_folder_is_trained_to_the_end(source, finished, copied):
    shutil.copy(copied / "pretrain.pt", copied / "last.pt")
    with pytest.raises(ValueError, match=r"after 0 steps, .* `train --resume .*copied` trains"):
        load_run(copied)
    result = run_experiment(ROW, source, copied, resume=True)
    assert same_weights(result.network, finished[1].network)
    assert load_run(copied)


def test_checkpoints_of_another_row_are_refused(source, copied, tmp_path):
    run_experiment(replace(ROW, seed=5), source, tmp_path / "other")
    for name in ("last.pt", "pretrain.pt"):
        shutil.copy(tmp_path / "other" / name, copied / name)
    for use in (
        lambda: load_run(copied),
        lambda: run_experiment(ROW, source, copied, resume=True),
        lambda: run_experiment(ROW, source, tmp_path / "new", pretrained=copied),
    ):
        with pytest.raises(ValueError, match=r"copied/\w+\.pt: a checkpoint of another run"):
            use()
    assert not (tmp_path / "new").exists()


def test_a_stage_file_must_stand_at_the_end_of_its_stage(source, copied, tmp_path):
    shutil.copy(copied / "last.pt", copied / "pretrain.pt")
    with pytest.raises(ValueError, match=r"pretrain\.pt: its position must be \[1, 0\]"):
        run_experiment(ROW, source, tmp_path / "new", pretrained=copied)


def test_checkpoints_of_earlier_versions_load(source, finished, copied):
    for name in ("last.pt", "pretrain.pt"):
        without(copied / name, "run", "pending")
    assert same_weights(load_run(copied)[2].student, finished[1].network)
    assert run_experiment(ROW, source, copied, resume=True).history == finished[1].history


def test_weights_of_another_network_are_named(copied):
    changed_state(copied / "last.pt", method={"student.weight": torch.ones(3)})
    with pytest.raises(ValueError, match=r"last\.pt: its weights must be those of Bcp"):
        load_run(copied)


def test_pretrained_stands_in_run_json_and_is_kept_to(source, finished, copied, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Cut):  # before the first checkpoint
        run_experiment(ROW, source, out, pretrained=copied, callback=cut_after("selftrain", 0))
    kept = read_run(out)["pretrained"]
    assert (kept["run"], kept["file"], len(kept["sha256"])) == ("copied", "pretrain.pt", 64)
    with pytest.raises(ValueError, match=r"begins from copied/pretrain\.pt .* must be named"):
        run_experiment(ROW, source, out, resume=True)
    changed_state(copied / "pretrain.pt", seconds={"pretrain": 1.0})
    with pytest.raises(ValueError, match=r"begins from copied/pretrain\.pt .* another file now"):
        run_experiment(ROW, source, out, resume=True, pretrained=copied)
    result = run_experiment(ROW, source, out, resume=True, pretrained=finished[0])
    assert same_weights(result.network, finished[1].network)


def test_leftovers_of_a_killed_writer_go_when_the_run_goes_on(source, copied):
    (copied / ".last.pt.abc.new").write_bytes(b"half")
    run_experiment(ROW, source, copied, resume=True)
    assert not (copied / ".last.pt.abc.new").exists()


# Ways out


def test_a_folder_without_run_json_has_a_way_out(source, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.abc.new").write_text("{")
    with pytest.raises(FileExistsError, match="without a run.json .* delete it"):
        run_experiment(ROW, source, tmp_path / "run")
    with pytest.raises(ValueError, match="before its first step, delete the folder and train"):
        run_experiment(ROW, source, tmp_path / "run", resume=True)


def test_a_run_that_dies_at_its_first_step_leaves_nothing_and_says_what_to_try(source, tmp_path):
    hopeless = replace(SUPERVISED, set={"lr": 1e30, "optimizer": "sgd"})
    with pytest.raises(FloatingPointError, match=r"smaller learning rate.* the folder was removed"):
        run_experiment(hopeless, source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_far_from_all_measure_stop_the_run_before_anything_is_saved(tmp_path):
    import h5py

    root = write_tiny(tmp_path / "huge")
    for path in (root / "data" / "slices").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["image"][...] *= 1e30
    for row in (ROW, SUPERVISED):
        with pytest.raises(
            FloatingPointError, match="whose values are far from those of the others"
        ):
            run_experiment(row, Acdc(root), tmp_path / "run")
        assert not (tmp_path / "run").exists()


OTHER_TYPES = (None, 7, "x", [], {}, True, [[1]])


def test_a_damaged_run_json_names_the_file(copied):
    """Cut short, or with any value missing or of another type: named, or without effect."""
    path = copied / "run.json"
    text, run = path.read_text(), read_run(copied)
    broken = [text[:100], "", "{}", "[]", "null", '"run"', "\x00", text.replace("{", "[", 1)]
    for key, value in run.items():
        broken += [json.dumps({k: v for k, v in run.items() if k != key})]
        broken += [json.dumps({**run, key: other}) for other in OTHER_TYPES]
        for inner in value if isinstance(value, dict) and key != "environment" else ():
            rest = {k: v for k, v in value.items() if k != inner}
            other = OTHER_TYPES[len(broken) % len(OTHER_TYPES)]
            broken += [
                json.dumps({**run, key: changed}) for changed in (rest, {**rest, inner: other})
            ]
    messages = []
    for content in broken:
        path.write_text(content)
        try:
            assert load_run(copied)[0] == ROW  # what only records, such as the machine
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 90, (len(messages), len(broken))
    assert [message for message in messages if str(copied) not in message] == []


def test_a_key_of_run_json_is_named(copied):
    run = read_run(copied)
    write_json(copied / "run.json", {**run, "finished": "yes"})
    with pytest.raises(ValueError, match=r"run\.json: finished must be a bool, got 'yes'"):
        read_run(copied)
    write_json(copied / "run.json", {**run, "experiment": {**run["experiment"], "labeled": False}})
    with pytest.raises(ValueError, match=r"labeled must be a int or NoneType, got False"):
        read_run(copied)
    del run["experiment"]["seed"]
    write_json(copied / "run.json", run)
    with pytest.raises(ValueError, match=r"run\.json: damaged, it has no experiment\.seed"):
        read_run(copied)


def test_a_phantom_run_goes_on_where_the_cache_has_moved(tmp_path, monkeypatch):
    """Its first stage is lent, too: what is made anew is the same data wherever it lies."""
    from buarl.data.source import open_source

    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    row = replace(ROW, source="phantom")
    here = open_source("phantom")
    run_experiment(row, here, tmp_path / "run")
    moved = open_source("phantom", shutil.copytree(here.root, tmp_path / "moved"))
    run_experiment(row, moved, tmp_path / "again", pretrained=tmp_path / "run")
    ends = [load_state(tmp_path / name / "last.pt")["method"] for name in ("run", "again")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
