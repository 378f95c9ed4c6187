"""A run folder is read without torch, whole or not at all, and a resumed one has no seam."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import PRESET, write_tiny

import buarl.capsule
import buarl.training.run
from buarl.capsule import CapsuleError, find_capsules, fingerprint, read_capsule, read_capsules
from buarl.data.acdc import Acdc
from buarl.evaluation.score import score_run
from buarl.evaluation.scores import read_metrics
from buarl.methods.base import Method, Step
from buarl.regions import crl, url
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.loop import StopTraining
from buarl.training.run import run_experiment

ROW = Experiment(
    "mean_teacher",
    labeled_rule=url(80),
    unlabeled_rule=crl(90),
    source="acdc",
    labeled=2,
    preset="tiny",
)


@pytest.fixture(scope="module", autouse=True)
def tiny_preset():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        patch.setattr(
            buarl.training.run,
            "config_for",
            lambda *row: replace(config_for(*row), checkpoint_every=2),
        )
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny data")))


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """Two seeds of ROW, trained and evaluated; do not write there."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        run_experiment(replace(ROW, seed=seed), source, folder / f"seed {seed}")
        score_run(folder / f"seed {seed}", source.root)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of them, to spoil."""
    return shutil.copytree(trained, tmp_path / "runs")


def test_a_capsule_is_read_in_a_process_that_never_loads_torch(trained):
    script = (
        "import sys; sys.path.append(sys.argv[1]); import capsule\n"
        "good, faults = capsule.read_capsules(capsule.find_capsules(sys.argv[2]))\n"
        "print([run.seed for run in good], faults, good[0].history[-1]['step'], "
        "len(good[0].metrics['val']))\n"
        "assert not {'torch', 'buarl', 'scipy', 'matplotlib'} & set(sys.modules)\n"
    )
    home = Path(buarl.capsule.__file__).parent.parent
    command = [sys.executable, "-I", "-c", script, str(home), str(trained)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout == "[1, 2] [] 6 3\n"


def test_a_capsule_says_who_was_used_for_what_and_how_it_was_scored(trained, source):
    run = read_capsule(trained / "seed 2")
    labeled, unlabeled = source.split_labeled(2)
    assert run.ids == {
        "labeled": labeled,
        "unlabeled": unlabeled,
        "validation": source.cases("val"),
    }
    assert (run.name, run.seed, run.finished) == ("seed 2", 2, True)
    assert run.class_names == list(source.class_names)
    assert "last checkpoint" in run.run["selection"]
    assert run.run["environment"]["torch"]
    assert run.metrics["val"] == read_metrics(trained / "seed 2" / "metrics_val.csv")
    assert "MedPy" in run.notes["val"][0]
    assert [row["step"] for row in run.history] == [2, 4, 6]


@pytest.mark.parametrize("name", ["ids.csv", "history.csv"])
def test_one_changed_byte_names_the_file_and_leaves_the_run_out(runs, name):
    path = runs / "seed 1" / name
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    path.write_bytes(spoiled)
    good, faults = read_capsules(find_capsules(runs))
    assert [run.seed for run in good] == [2]
    assert len(faults) == 1
    assert f"{path}: damaged" in faults[0]


@pytest.mark.parametrize("name", ["ids.csv", "history.csv"])
def test_a_missing_file_is_named(runs, name):
    (runs / "seed 1" / name).unlink()
    with pytest.raises(CapsuleError, match=rf"seed 1/{name}: incomplete"):
        read_capsule(runs / "seed 1")


@pytest.mark.parametrize("name", ["history.csv", "metrics_val.csv"])
def test_a_file_of_another_run_is_named(runs, name):
    shutil.copy(runs / "seed 2" / name, runs / "seed 1" / name)
    good, faults = read_capsules([runs / "seed 1", runs / "seed 2"])
    assert [run.seed for run in good] == [2]
    assert f"{name}: " in faults[0]
    assert "another run" in faults[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"finished": False}, "is not finished; resume it first"),
        ({"experiment": {"method": "bcp", "seed": 1}}, "run.json: mixed, its row"),
        ({"config": []}, "run.json: damaged, config must be a table, got []"),
        ({"config": {"stages": [3]}, "fingerprint": None}, "damaged, not as a run writes it"),
        ({"capsule": 99}, "capsule 99, and this reader knows 1"),
        ({"parts": None}, "does not list the files"),
    ],
)
def test_what_run_json_must_say(runs, change, said):
    path = runs / "seed 1" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    good, faults = read_capsules([runs / "seed 1"])
    assert good == []
    assert said in faults[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", '{"experiment": 1}'])
def test_what_is_no_run_is_named(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CapsuleError, match=r"run\.json: damaged"):
        read_capsule(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: lines[:-1], "incomplete, a case lacks a class"),
        (lambda lines: lines + lines[-1:], "twice"),
        (lambda lines: lines[:3], "incomplete, no row"),
        (lambda lines: [*lines[:-1], lines[-1].replace("LV", "liver")], "no class 'liver'"),
        (lambda lines: [line.replace("p91", "p1") for line in lines], "does not validate on"),
        (
            lambda lines: [*lines[:-1], "p91_frame01,LV,1.5,0,0,0,0"],
            "case 'p91_frame01', class 'LV': dice is 1.5",
        ),
        (lambda lines: [*lines[:-1], "p91_frame01,LV,0,0,0"], "longer or shorter"),
    ],
)
def test_a_spoiled_evaluation_is_named(runs, spoil, said):
    path = runs / "seed 1" / "metrics_val.csv"
    path.write_text("\n".join(spoil(path.read_text().splitlines())) + "\n")
    with pytest.raises(CapsuleError, match=r"metrics_val\.csv") as raised:
        read_capsule(runs / "seed 1")
    assert said in str(raised.value)


def test_a_run_of_an_earlier_version_has_what_was_written_then(runs):
    folder = runs / "seed 1"
    (folder / "ids.csv").unlink()
    run = json.loads((folder / "run.json").read_text())
    for key in ("capsule", "fingerprint", "parts"):
        del run[key]
    (folder / "run.json").write_text(json.dumps(run))
    old = read_capsule(folder)
    assert (old.ids, old.premise, old.slices) == ({}, [], None)
    assert len(old.history) == 3


def stop_after(steps):
    def callback(stage: str, step: Step, method: Method) -> None:
        if step.index + 1 == steps:
            raise StopTraining

    return callback


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_curves_are_there_while_a_run_trains_and_have_no_seam_after_a_resume(
    trained, source, tmp_path, steps
):
    out = tmp_path / "run"
    row = replace(ROW, seed=1)
    with pytest.raises(StopTraining):
        run_experiment(row, source, out, callback=stop_after(steps))
    begun = read_capsule(out, unfinished=True)
    assert [row["step"] for row in begun.history] == [2, 4][: steps // 2]
    run_experiment(row, source, out, resume=True)
    assert (out / "history.csv").read_bytes() == (trained / "seed 1" / "history.csv").read_bytes()
    assert fingerprint(read_capsule(out).run) == fingerprint(read_capsule(trained / "seed 1").run)


def test_a_resume_on_other_patients_is_refused(source, tmp_path):
    out, other = tmp_path / "run", Acdc(write_tiny(tmp_path / "more data", patients=5))
    with pytest.raises(StopTraining):
        run_experiment(ROW, source, out, callback=stop_after(3))
    with pytest.raises(ValueError, match=r"ids\.csv: the labeled, unlabeled or validation images"):
        run_experiment(ROW, other, out, resume=True)
    run_experiment(ROW, source, out, resume=True)
