"""What a row sets for itself: every number of the config, checked before anything is built."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from buarl.methods.base import Adam, Sgd
from buarl.schedules import Constant, OneCycle, Poly, StepDecay
from buarl.training.config import Config, Experiment, StagePlan, build_method, config_for
from buarl.training.overrides import KEYS

SLICES = Experiment(method="mean_teacher", source="acdc", preset="paper", labeled=7)
VOLUMES = replace(SLICES, source="la", labeled=8)
BCP = Experiment(source="acdc", preset="paper", labeled=7)


def config(row=SLICES, **own):
    return config_for(replace(row, set=own))


def plan(row=SLICES, **own):
    (only,) = config(row, **own).stages
    return only


# Every key changes its number


@pytest.mark.parametrize(
    ("key", "value", "field", "becomes"),
    [
        ("image_size", (192, 192), "image_size", (192, 192)),
        ("width", 32, "width", 32),
        ("precision", "bf16", "precision", "bf16"),
        ("precision", "bf16_logits_fp32", "precision", "bf16_logits_fp32"),
        ("checkpoint_every", 7, "checkpoint_every", 7),
        ("eval_stride", [9, 9, 2], "eval_stride", (9, 9, 2)),
        ("shrink", 2, "shrink", 2),
        ("standardise", True, "standardise", True),
        ("labeled_draw", 3, "labeled_draw", 3),
    ],
)
def test_a_plain_key_changes_its_number_and_no_other(key, value, field, becomes):
    row = VOLUMES if KEYS[key].volumes_only else SLICES
    assert config(row, **{key: value}) == replace(config_for(row), **{field: becomes})


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        ("steps", 2000, {"steps": 2000}),
        ("labeled_batch", 8, {"labeled_batch": 8, "unlabeled_batch": 8}),
        ("unlabeled_batch", 8, {"unlabeled_batch": 8}),
        ("schedule", "constant", {"schedule": Constant()}),
        ("schedule", "poly:0.5", {"schedule": Poly(0.5)}),
        ("schedule", "step_decay:0.4", {"schedule": StepDecay(0.4)}),
        ("schedule", "one_cycle", {"schedule": OneCycle()}),
        ("schedule", "one_cycle:0.3", {"schedule": OneCycle(0.3)}),
    ],
)
def test_a_key_of_a_stage_changes_the_plan_and_nothing_else(key, value, changed):
    base = config_for(SLICES)
    (published,) = base.stages
    expected = replace(base, stages=(replace(published, **changed),))
    assert config(**{key: value}) == expected


def test_one_value_is_for_every_stage_and_a_list_has_one_for_each():
    first, second = config(BCP, steps=5).stages
    assert (first.steps, second.steps) == (5, 5)
    first, second = config(BCP, steps=[1000, 3000], schedule=["poly", "step_decay:0.4"]).stages
    assert first == StagePlan(1000, 12, 0, Poly())
    assert second == StagePlan(3000, 12, 12, StepDecay(0.4))
    assert config(BCP, schedule="poly,step_decay:0.4") == config(
        BCP, schedule=["poly", "step_decay:0.4"]
    )


def test_the_unlabeled_half_follows_the_labeled_one_where_a_stage_has_one():
    first, second = config(BCP, labeled_batch=6).stages
    assert (first.labeled_batch, first.unlabeled_batch) == (6, 0)
    assert (second.labeled_batch, second.unlabeled_batch) == (6, 6)
    first, second = config(BCP, labeled_batch=[24, 6], unlabeled_batch=2).stages
    assert (first.labeled_batch, first.unlabeled_batch) == (24, 0)
    assert (second.labeled_batch, second.unlabeled_batch) == (6, 2)
    assert [p.unlabeled_batch for p in config(BCP, unlabeled_batch=[0, 4]).stages] == [0, 4]
    assert plan(VOLUMES, labeled_batch=3).unlabeled_batch == 3  # volumes too


def test_one_number_of_unlabeled_images_is_for_the_stages_that_use_any():
    supervised = replace(SLICES, method="supervised")
    assert config(supervised, unlabeled_batch=4) == config_for(supervised)


def test_the_optimizer_by_name_and_by_its_numbers():
    def optimizer(row=SLICES, **own):
        return config(row, **own).settings["optimizer"]

    assert optimizer(lr=0.03) == Sgd(lr=0.03)
    assert optimizer(momentum=0.5, weight_decay=0) == Sgd(momentum=0.5, weight_decay=0)
    assert optimizer(optimizer="adam") == Adam()
    assert optimizer(optimizer="adam", lr=1e-3, betas=(0.8, 0.9)) == Adam(1e-3, (0.8, 0.9))
    toy = replace(SLICES, preset="toy")  # its optimizer is Adam
    assert optimizer(toy, lr=0.1) == Adam(0.1)
    assert optimizer(toy, optimizer="sgd") == Sgd()
    assert optimizer(toy, optimizer="adam") == Adam(0.004)
    method = build_method(replace(SLICES, set={"lr": 0.5}), 4)
    assert method.optimizer == Sgd(lr=0.5)
    assert "optimizer" not in config_for(SLICES).settings


def test_every_number_of_the_config_can_be_set():
    of_the_row = {"preset", "labeled", "seed", "settings", "stages"}
    assert {field.name for field in fields(Config)} - of_the_row <= set(KEYS)
    assert {field.name for field in fields(StagePlan)} <= set(KEYS)
    assert {field.name for kind in (Sgd, Adam) for field in fields(kind)} <= set(KEYS)


# What is refused, when the row is made


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"step": 5}, "a row can set .*'steps'.*, got 'step'"),
        ({"seed": 5}, "a row can set .*, got 'seed'"),
        ({"steps": 0}, "steps must be a whole number, at least 1, got 0"),
        ({"steps": 2.0}, "steps must be a whole number, at least 1, got 2.0"),
        ({"steps": True}, "steps must be a whole number, at least 1, got True"),
        ({"steps": "many"}, "steps must be a whole number, at least 1, got 'many'"),
        ({"steps": [5, -1]}, "steps must be a whole number, at least 1, got -1"),
        ({"steps": []}, r"steps must be a whole number, at least 1, got \[\]"),
        ({"steps": np.float32(3)}, "steps must be a whole number, at least 1, got"),
        ({"steps": None}, "steps must be a whole number, at least 1, got None"),
        ({"labeled_batch": 0}, "labeled_batch must be a whole number, at least 1, got 0"),
        ({"unlabeled_batch": -1}, "unlabeled_batch must be a whole number, at least 0, got -1"),
        ({"width": 1.5}, "width must be a whole number, 1 to 256, got 1.5"),
        ({"width": 2**31}, "width must be a whole number, 1 to 256, got 2147483648"),
        ({"image_size": 192}, "image_size must be a whole number, .* per axis, .* got 192"),
        ({"image_size": "192x192"}, "image_size must be .* per axis, .* got '192x192'"),
        ({"image_size": [0, 16]}, r"image_size must be .* got \[0, 16\]"),
        ({"eval_stride": [8]}, r"eval_stride must be .* got \[8\]"),
        ({"lr": 0}, "lr must be a number > 0, got 0"),
        ({"lr": math.nan}, "lr must be a number > 0, got nan"),
        ({"lr": math.inf}, "lr must be a number > 0, got inf"),
        ({"lr": "0,03"}, "lr must be a number > 0, got '0,03'"),
        ({"momentum": 1}, "momentum must be a number in 0-1, below 1, got 1"),
        ({"weight_decay": -1e-4}, "weight_decay must be a number >= 0, got -0.0001"),
        ({"betas": [0.9]}, r"betas must be two numbers in 0-1, below 1, got \[0.9\]"),
        ({"betas": [0.9, 1]}, r"betas must be two numbers in 0-1, below 1, got \[0.9, 1\]"),
        ({"optimizer": "lion"}, r"optimizer must be one of \['adam', 'sgd'\], got 'lion'"),
        ({"optimizer": ["adam"]}, r"optimizer must be one of .* got \['adam'\]"),
        ({"precision": "fp16"}, "precision must be one of .*'fp32'.*, got 'fp16'"),
        ({"standardise": 1}, "standardise must be True or False, got 1"),
        ({"schedule": "cosine"}, "schedule must be constant, poly:POWER .* got 'cosine'"),
        ({"schedule": "step_decay"}, "schedule must be constant, .* got 'step_decay'"),
        ({"schedule": "step_decay:2"}, "schedule must be .*SHARE in 0-1, got 'step_decay:2'"),
        ({"schedule": "one_cycle:1"}, "schedule must be .*between 0 and 1, .*, got 'one_cycle:1'"),
        ({"schedule": "poly:-1"}, "schedule must be .*, got 'poly:-1'"),
        ({"schedule": "poly:nan"}, "schedule must be .*, got 'poly:nan'"),
        ({"schedule": "poly:0.9:1"}, "schedule must be .*, got 'poly:0.9:1'"),
        ({"schedule": "constant:1"}, "schedule must be .*, got 'constant:1'"),
        ({"schedule": 0.9}, "schedule must be .*, got 0.9"),
    ],
)
def test_an_unknown_key_or_a_wrong_value_is_named_when_the_row_is_made(own, said):
    with pytest.raises(ValueError, match=said):
        Experiment(set=own)


@pytest.mark.parametrize(
    ("row", "own", "said"),
    [
        (BCP, {"steps": [1, 2, 3]}, r"steps must be one value, or one for each stage \(2\), got"),
        (SLICES, {"steps": [1, 2]}, r"steps must be one value, or one for each stage \(1\), got"),
        (BCP, {"unlabeled_batch": [4, 4]}, "of stage 1 must be 0: it uses no unlabeled .* got 4"),
        (BCP, {"unlabeled_batch": 0}, "unlabeled_batch of stage 2 must be at least 1, got 0"),
        (SLICES, {"shrink": 2}, "shrink must not be set for slices such as 'acdc', got 2"),
        (SLICES, {"eval_stride": [8, 8]}, "eval_stride must not be set for slices"),
        (SLICES, {"standardise": True}, "standardise must not be set for slices"),
        (SLICES, {"image_size": [32, 32, 32]}, "image_size must be 2 numbers for 'acdc', got"),
        (VOLUMES, {"image_size": [32, 32]}, "image_size must be 3 numbers for 'la', got"),
        (SLICES, {"image_size": [100, 96]}, r"image_size must be multiples of 16 .*\[100, 96\]"),
        (VOLUMES, {"eval_stride": [18, 18, 96]}, r"must not exceed image_size \(112, 112, 80\)"),
        (replace(SLICES, preset="toy"), {"momentum": 0.5}, r"momentum must be one of \['lr', "),
        (SLICES, {"betas": [0.9, 0.9]}, "betas must be one of .*'momentum'.* numbers of Sgd"),
    ],
)
def test_what_does_not_fit_method_or_data_is_named_before_anything_is_built(row, own, said):
    with pytest.raises(ValueError, match=said):
        config(row, **own)


# JSON

sizes = st.lists(st.integers(1, 64).map(lambda n: 16 * n), min_size=2, max_size=3)
schedules = st.sampled_from(
    ["constant", "poly:0.5", "step_decay:0.25", "one_cycle", "one_cycle:0.5"]
)
values = {
    "steps": st.integers(1, 10**6) | st.lists(st.integers(1, 9), min_size=1, max_size=3),
    "labeled_batch": st.integers(1, 64),
    "unlabeled_batch": st.integers(0, 64),
    "schedule": schedules | st.lists(schedules, min_size=1, max_size=3),
    "image_size": sizes | sizes.map(tuple),
    "eval_stride": sizes,
    "width": st.integers(1, 64),
    "shrink": st.integers(1, 4),
    "standardise": st.booleans(),
    "checkpoint_every": st.integers(1, 1000),
    "labeled_draw": st.integers(0, 99),
    "precision": st.sampled_from(["auto", "fp32", "bf16"]),
    "optimizer": st.sampled_from(["sgd", "adam"]),
    "lr": st.floats(0, 1, exclude_min=True),
    "momentum": st.floats(0, 0.99),
    "weight_decay": st.floats(0, 1),
    "betas": st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
}


def test_the_strategy_knows_every_key():
    assert set(values) == set(KEYS)


@given(own=st.fixed_dictionaries({}, optional=values))
def test_what_a_row_sets_survives_json(own):
    row = Experiment(set=own)
    again = Experiment.from_dict(json.loads(json.dumps(row.as_dict())))
    assert again == row
    assert again.changes == row.changes
    assert ("set" in row.as_dict()) == bool(own)


def test_changes_stand_in_one_line():
    row = Experiment(
        set={"steps": (10, 30), "lr": 0.03},
        network="my.nets:Net",
        network_options={"features": [8, 16]},
    )
    assert row.changes == "steps=10,30 lr=0.03 network=my.nets:Net features=8,16"
    assert Experiment().changes == ""


def test_a_config_with_overrides_becomes_json():
    text = json.dumps(asdict(config(BCP, steps=[5, 6], lr=0.5, schedule="step_decay:0.5")))
    assert json.loads(text)["stages"][1]["steps"] == 6
