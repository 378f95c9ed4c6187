"""What a row sets is written into the run folder, decides the training, and survives a resume."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import PRESET, Cut, InMemory, cut_after, same_weights, write_tiny

from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.h5 import Sample
from buarl.regions import url
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.overrides import KEYS
from buarl.training.run import load_run, read_run, row_of_run, run_experiment

TINY = replace(PRESET, image_size={2: (32, 32), 3: (16, 16, 16)})
SLICES = Experiment(
    method="mean_teacher", labeled_rule=url(80), source="acdc", labeled=2, preset="tiny"
)
VOLUMES = replace(SLICES, source="la")
OFTEN = {"checkpoint_every": 2}
VALUES = {
    "steps": 5,
    "labeled_batch": 3,
    "unlabeled_batch": 2,
    "schedule": "step_decay:0.5",
    "image_size": [16, 48],
    "eval_stride": [4, 4, 4],
    "width": 3,
    "shrink": 2,
    "standardise": True,
    "checkpoint_every": 3,
    "precision": "bf16",
    "optimizer": "adam",
    "lr": 0.5,
    "momentum": 0.1,
    "weight_decay": 0.1,
    "betas": [0.5, 0.5],
    "labeled_draw": 3,
}
TOGETHER = {"betas": {"optimizer": "adam"}}
TRAINING_IS_THE_SAME = {"checkpoint_every", "eval_stride"}


class Volumes(InMemory):
    """Three volumes in memory, bright where the label is."""

    name, rank, class_names = "la", 3, ("background", "blob")

    def training_names(self):
        return ["a", "b", "c"]

    def training_sample(self, name, *, labeled=True):
        rng = np.random.default_rng("abc".index(name))
        label = np.zeros((34, 36, 33), np.uint8)
        label[8:24, 8:24, 8:24] = 1
        image = (label + rng.normal(3, 0.2, label.shape)).astype(np.float32)
        return Sample(name, image, label if labeled else None)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.fixture(scope="module")
def acdc(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny data")))


@pytest.fixture(scope="module")
def plain(acdc, tmp_path_factory):
    """The student of a row that sets nothing, by rank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        out = tmp_path_factory.mktemp("plain")
        return {
            2: run_experiment(SLICES, acdc, out / "2").network,
            3: run_experiment(VOLUMES, Volumes(), out / "3").network,
        }


def test_every_key_is_tried():
    assert set(VALUES) == set(KEYS)


@pytest.mark.parametrize("key", VALUES)
def test_a_key_is_written_decides_and_survives_a_resume(key, acdc, plain, tmp_path):
    row, source = (VOLUMES, Volumes()) if KEYS[key].volumes_only else (SLICES, acdc)
    own = {**OFTEN, **TOGETHER.get(key, {}), key: VALUES[key]}
    row = replace(row, set=own)
    straight = run_experiment(row, source, tmp_path / "straight")
    assert read_run(tmp_path / "straight")["experiment"]["set"] == own
    cut = tmp_path / "cut"
    with pytest.raises(Cut):
        run_experiment(row, source, cut, callback=cut_after("train", 3))
    assert (cut / "last.pt").is_file()
    assert row_of_run(cut) == row
    resumed = run_experiment(row_of_run(cut), source, cut, resume=True)
    assert same_weights(resumed.network, straight.network)
    assert resumed.history == straight.history
    same = key in TRAINING_IS_THE_SAME
    assert same_weights(straight.network, plain[source.rank]) == same
    with pytest.raises(ValueError, match="cut: experiment has set = .*, now it is None"):
        run_experiment(replace(row, set={}), source, cut, resume=True)


def test_run_json_holds_the_row_and_the_numbers_that_came_of_it(acdc, tmp_path):
    row = replace(SLICES, method="bcp", set={"steps": [3, 4], "lr": 0.5, "schedule": "poly"})
    run_experiment(row, acdc, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert [stage["steps"] for stage in run["config"]["stages"]] == [3, 4]
    assert run["config"]["stages"][0]["schedule"] == {"type": "Poly", "power": 0.9}
    assert run["config"]["settings"]["optimizer"]["lr"] == 0.5
    assert run["experiment"]["set"] == row.set
    loaded, _, method = load_run(tmp_path / "run")
    assert loaded == row
    assert method.optimizer.lr == 0.5


def test_a_row_without_overrides_is_written_as_it_always_was(acdc, tmp_path):
    run_experiment(SLICES, acdc, tmp_path / "run")
    keys = ["method", "labeled_rule", "unlabeled_rule", "labeled_reduction", "unlabeled_reduction"]
    keys += ["options", "source", "labeled", "preset", "seed"]
    assert list(read_run(tmp_path / "run")["experiment"]) == keys


def test_a_run_of_the_time_before_overrides_loads_and_resumes(acdc, tmp_path):
    """Rows of old run folders have neither `set` nor `network`."""
    out = tmp_path / "run"
    with pytest.raises(Cut):
        run_experiment(SLICES, acdc, out, callback=cut_after("train", 3))
    assert "set" not in read_run(out)["experiment"]
    assert run_experiment(row_of_run(out), acdc, out, resume=True).history


def test_precision_is_said_once(acdc, tmp_path):
    row = replace(SLICES, set={"precision": "bf16"})
    with pytest.raises(ValueError, match="one that the row sets, 'bf16', got 'fp32'"):
        run_experiment(row, acdc, tmp_path / "run", precision="fp32")
    assert not (tmp_path / "run").exists()
    run_experiment(row, acdc, tmp_path / "run", precision="bf16")
    run = read_run(tmp_path / "run")
    assert run["config"]["precision"] == run["environment"]["precision"] == "bf16"


def test_a_wrong_number_leaves_no_folder(acdc, tmp_path):
    row = replace(SLICES, set={"steps": [1, 2]})
    with pytest.raises(ValueError, match="steps must be one value, or one for each stage"):
        run_experiment(row, acdc, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pretrained_looks_at_what_decided_the_first_stage_and_at_no_more(acdc, tmp_path):
    row = replace(SLICES, method="bcp", set={"steps": [3, 4]})
    first = run_experiment(row, acdc, tmp_path / "first")
    longer = replace(row, set={"steps": [3, 6]})
    run_experiment(longer, acdc, tmp_path / "longer", pretrained=tmp_path / "first")
    again = run_experiment(row, acdc, tmp_path / "again", pretrained=tmp_path / "first")
    assert same_weights(again.network, first.network)
    for own, key in (({"steps": [4, 4]}, "first stage"), ({"steps": [3, 4], "width": 3}, "width")):
        other = replace(row, set=own)
        with pytest.raises(ValueError, match=f"first: first stage has {key} = "):
            run_experiment(other, acdc, tmp_path / "other", pretrained=tmp_path / "first")
    net = replace(row, network="buarl.networks:UNet")
    code = ["buarl.networks:UNet"]
    with pytest.raises(ValueError, match="first stage has network = None"):
        run_experiment(net, acdc, tmp_path / "net", pretrained=tmp_path / "first", code=code)


def test_the_config_is_built_once(acdc, tmp_path, monkeypatch):
    rows = []

    def counted(*row):
        rows.append(row)
        return config_for(*row)

    for module in ("run", "run_folder", "config"):
        monkeypatch.setattr(f"buarl.training.{module}.config_for", counted)
    run_experiment(SLICES, acdc, tmp_path / "run")
    assert len(rows) == 1


def test_the_command_line_sets_what_python_sets(acdc, tmp_path):
    words = ["--source", "acdc", "--root", str(acdc.root), "--labeled", "2", "--preset", "tiny"]
    words += ["--method", "bcp", "--set", "steps=3,4", "lr=0.03", "image_size=32,48"]
    words += ["--set", "optimizer=sgd", "schedule=poly,step_decay:0.4"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    assert row_of_run(tmp_path / "run") == Experiment(
        method="bcp",
        source="acdc",
        labeled=2,
        preset="tiny",
        set={
            "steps": [3, 4],
            "lr": 0.03,
            "image_size": [32, 48],
            "optimizer": "sgd",
            "schedule": ["poly", "step_decay:0.4"],
        },
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "stesp=3"], "a row can set ["),
        (["--set", "steps=-3"], "steps must be a whole number, at least 1, got -3"),
        (["--set", "steps"], "--set takes KEY=VALUE, got 'steps' without a value"),
        (["--set", "steps=3", "--set", "steps=4"], "--set takes every key once, got 'steps' twice"),
        (["--set", "image_size=30,30"], "image_size must be multiples of 16"),
        (["--set", "steps=3,3,3"], "steps must be one value, or one for each stage (2)"),
        (["--network-option", "width=3"], "network_options need a network, got {'width': 3}"),
    ],
)
def test_a_wrong_word_is_one_line_and_leaves_nothing(acdc, tmp_path, words, said, capsys):
    data = ["--source", "acdc", "--root", str(acdc.root), "--labeled", "2", "--preset", "tiny"]
    assert main(["train", *data, *words, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_set_belongs_to_a_new_run(acdc, tmp_path, capsys):
    run_experiment(SLICES, acdc, tmp_path / "run")
    assert main(["train", "--resume", str(tmp_path / "run"), "--set", "steps=9"]) == 2
    assert "--set belongs to a new run" in capsys.readouterr().err
    text = (tmp_path / "run" / "run.json").read_text()
    assert "set" not in json.loads(text)["experiment"]
