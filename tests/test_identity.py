"""Which row a run is of: its numbers decide, not the words that once gave them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tiny import PRESET, write_tiny

from buarl.data.acdc import Acdc
from buarl.evaluation.metrics import metric_definition
from buarl.methods import Supervised
from buarl.results.measured import read_results, runs_of
from buarl.results.plan import Plan, state_of
from buarl.schedules import OneCycle
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.identity import changed_since, plain_row
from buarl.training.run import load_method, run_experiment

ROW = Experiment("bcp", source="acdc", labeled=7, preset="mini")


def entry_of(row, score=0.5, **others):
    """An entry of a ledger as it would be written today."""
    case = dict.fromkeys(("dice", "jaccard", "hd95", "asd"), score) | {"missed": 0}
    case["jaccard"] = score / (2 - score)
    cases = [{"case": "a", "class": "RV", **case}]
    experiment = json.loads(json.dumps(row.as_dict()))
    return {
        "experiment": experiment,
        "config": config_for(row).as_dict(),
        "split": "val",
        "cases": cases,
        "summary": {**case, "missed": 0},
        "environment": {"precision": "fp32", "commit": "abc123"},
        "data": {},
        "seconds": {},
        "metric": metric_definition(),
        "selection": "last checkpoint",
        "notes": [],
        "started": "2026-01-01",
        **others,
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"steps": 1000, "labeled_batch": 12}, {}),
        ({"steps": [1000, 1000]}, {}),
        ({"steps": 1000, "lr": 0.02}, {"lr": 0.02}),
        ({"steps": 900, "optimizer": "adam"}, {"steps": 900, "optimizer": "adam"}),
        ({"labeled_draw": 3}, {"labeled_draw": 3}),
    ],
)
def test_what_the_preset_gives_anyway_is_not_set(given, kept):
    assert plain_row(replace(ROW, set=given)) == replace(ROW, set=kept)


def test_a_row_with_code_from_elsewhere_stays():
    row = replace(ROW, method="mine.py:Mine", set={"steps": 1000})
    assert plain_row(row) == row
    assert changed_since({"experiment": row.as_dict(), "config": {}}) == []


def test_a_run_that_says_its_numbers_itself_is_of_the_same_row(tmp_path):
    spelled = replace(ROW, set={"steps": 1000}, seed=5)
    (tmp_path / "a.json").write_text(json.dumps(entry_of(spelled)))
    results = read_results(tmp_path)
    assert results.left_out == {}
    assert [run["name"] for run in runs_of(ROW, results.entries)] == ["a"]
    assert runs_of(replace(ROW, set={"steps": 1000}), results.entries)


def test_a_run_of_a_preset_that_has_changed_is_named_and_left_out(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text(json.dumps(entry_of(ROW)))
    monkeypatch.setitem(PRESETS, "mini", replace(PRESETS["mini"], steps=1500, schedule=OneCycle()))
    results = read_results(tmp_path)
    assert results.entries == []
    (said,) = results.left_out
    assert "was trained when preset mini gave its row other stages" in said
    assert "commit abc123" in said
    with pytest.raises(ValueError, match=r"a\.json: was trained when .* move it away"):
        state_of(tmp_path, "a", ROW, Plan(("3",), validate=0))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 999}, ["stages"]),
        ({"schedule": OneCycle()}, ["stages"]),
        ({"image_size": {2: (64, 64)}}, ["image_size"]),
        ({"width": 8, "settings": {"unlabeled_weight": 1.0}}, ["width", "settings"]),
        ({"shrink": 2}, ["shrink"]),
        ({"precision": "bf16"}, []),
    ],
)
def test_every_number_that_changed_is_named(monkeypatch, change, named):
    entry = entry_of(ROW)
    assert changed_since(entry) == []
    monkeypatch.setitem(PRESETS, "mini", replace(PRESETS["mini"], **change))
    assert changed_since(entry) == named


def test_an_old_file_without_later_numbers_is_read_with_their_defaults(monkeypatch):
    entry = entry_of(ROW)
    for key in ("shrink", "standardise", "labeled_draw"):
        del entry["config"][key]
    for stage in entry["config"]["stages"]:
        del stage["type"]
        stage["schedule"] = {}
    assert changed_since(entry) == []
    monkeypatch.setitem(PRESETS, "mini", replace(PRESETS["mini"], schedule=OneCycle()))
    assert changed_since(entry) == ["stages"]


class Mine(Supervised):
    """A method from outside the package."""


@pytest.mark.parametrize("method", ["supervised", Mine])
def test_a_run_folder_is_not_read_with_numbers_it_was_not_trained_with(
    tmp_path, monkeypatch, method
):
    code = () if method == "supervised" else [Mine]
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    source = Acdc(write_tiny(tmp_path / "data"))
    row = Experiment(method, source="acdc", labeled=2, preset="tiny")
    run_experiment(row, source, tmp_path / "run", device="cpu", code=code)
    assert load_method(tmp_path / "run", source.num_classes, code) is not None
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESET, image_size={2: (64, 64)}))
    with pytest.raises(ValueError, match="when preset tiny gave its row other image_size"):
        load_method(tmp_path / "run", source.num_classes, code)
    assert config_for(row, code).as_dict()["image_size"] == [64, 64]
