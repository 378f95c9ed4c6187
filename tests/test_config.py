"""Numbers of a row: presets shorten the published schedule, unknown names are refused by name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tiny import PRESET, same_weights

from buarl.data.strong_views import StrongViews
from buarl.dice import DICE_BCP_LA, DICE_SSL4MIS, DICE_UA_MT_LA
from buarl.methods import METHODS, Bcp, MeanTeacher, Supervised
from buarl.methods.base import Sgd
from buarl.networks import UNet, VNet
from buarl.regions import PercentileRule, confidence, crl, drop, soft_certainty, url, whole
from buarl.schedules import Constant, OneCycle, Poly, StepDecay
from buarl.training.config import (
    PRESETS,
    Experiment,
    StagePlan,
    build_method,
    config_for,
)


def test_numbers_of_numpy_are_plain_ones_in_a_row():
    row = Experiment(seed=np.int64(3), labeled=np.int32(2))
    assert json.loads(json.dumps(row.as_dict()))["seed"] == 3
    assert type(row.labeled) is int
    for wrong in ({"seed": "3"}, {"seed": None}, {"labeled": "3"}, {"labeled": 2.5}):
        with pytest.raises(ValueError, match=r"(seed|labeled) must be a whole number, got"):
            Experiment(**wrong)


def test_a_patch_smaller_than_the_stride_of_its_preset_is_refused_before_the_training():
    row = Experiment("bcp", source="la", preset="paper", set={"image_size": (16, 96, 80)})
    with pytest.raises(ValueError, match=r"eval_stride must not exceed image_size \(16, 96, 80\)"):
        config_for(row)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)


def paper(method, source="acdc"):
    return config_for(Experiment(method=method, source=source, preset="paper"))


# The published numbers, docs/protocol.md 5


def test_paper_bcp_on_acdc():
    config = paper("bcp")
    assert config.stages == (
        StagePlan(10_000, 12, 0, Constant()),
        StagePlan(30_000, 12, 12, Constant()),
    )
    assert (config.image_size, config.width) == ((256, 256), 16)
    method = build_method(Experiment(source="acdc", preset="paper"), 4)
    assert (method.dice, method.unlabeled_weight) == (replace(DICE_SSL4MIS, smooth=1e-10), 0.5)
    assert (method.ema_decay, method.ema_buffers, method.keep_optimizer) == (0.99, True, True)
    assert (method.teacher_mode, method.mixed_label) == ("train", False)


def test_paper_mean_teacher_on_acdc():
    config = paper("mean_teacher")
    assert config.stages == (StagePlan(30_000, 12, 12, Poly(0.9)),)
    assert config.image_size == (256, 256)
    method = build_method(Experiment(method="mean_teacher", source="acdc", preset="paper"), 4)
    assert (method.consistency_weight, method.ramp_levels, method.ema_limit) == (0.1, 200, 0.99)
    assert method.consistency_start * 30_000 == pytest.approx(1000)
    assert method.dice == DICE_SSL4MIS


def test_paper_supervised():
    assert paper("supervised").stages == (StagePlan(30_000, 24, 0, Poly(0.9)),)
    (plan,) = paper("supervised", "la").stages
    assert (plan.steps, plan.labeled_batch, plan.unlabeled_batch) == (6000, 4, 0)


def test_paper_on_la():
    config = paper("bcp", "la")
    assert config.image_size == (112, 112, 80)
    assert config.eval_stride == (18, 18, 4)
    first, second = config.stages
    assert first == StagePlan(2000, 4, 0, Constant())
    assert (second.steps, second.labeled_batch, second.unlabeled_batch) == (15_000, 4, 4)
    factors = [second.schedule(step, 15_000) for step in (0, 2499, 2500, 5000, 14_999)]
    assert factors == pytest.approx([1, 1, 0.1, 0.01, 1e-5])
    method = build_method(Experiment(source="la", preset="paper"), 2)
    assert isinstance(method.student, VNet)
    assert (method.dice, method.mixed_label, method.keep_optimizer) == (DICE_BCP_LA, True, False)
    assert not method.ema_buffers
    (plan,) = paper("mean_teacher", "la").stages
    assert (plan.steps, plan.labeled_batch, plan.unlabeled_batch) == (6000, 2, 2)
    assert isinstance(plan.schedule, StepDecay)
    teacher = build_method(Experiment(method="mean_teacher", source="la", preset="paper"), 2)
    assert (teacher.ramp_levels, teacher.consistency_start, teacher.dice) == (
        40,
        0.0,
        DICE_UA_MT_LA,
    )


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_recipe_for_slices_and_for_volumes(name, rank):
    stages = METHODS[name].recipe(rank).stages
    assert all(plan.steps >= 2000 and plan.labeled_batch >= 2 for plan in stages)


@pytest.mark.parametrize(
    ("source", "rank"),
    [
        *(("phantom", 2), ("phantom_fine", 2), ("acdc", 2), ("own_2d", 2)),
        *(("la", 3), ("phantom_la", 3), ("own_3d", 3)),
    ],
)
def test_the_rank_of_the_data_decides_recipe_size_and_network(source, rank):
    row = Experiment(method="mean_teacher", source=source)
    config = config_for(row)
    assert len(config.image_size) == rank
    assert config == config_for(replace(row, source="acdc" if rank == 2 else "la"))
    assert isinstance(build_method(row, 2).student, UNet if rank == 2 else VNet)


# Presets


@pytest.mark.parametrize("source", ["acdc", "phantom"])
def test_a_preset_scales_steps_and_batch_and_nothing_else(source):
    config = config_for(Experiment(source=source, preset="tiny", labeled=2, seed=5))
    assert config.stages == (StagePlan(6, 4, 0, Constant()), StagePlan(6, 4, 4, Constant()))
    assert (config.image_size, config.width, config.precision) == ((32, 32), 2, "fp32")
    assert (config.labeled, config.seed, config.preset) == (2, 5, "tiny")
    mean_teacher = config_for(Experiment(method="mean_teacher", source=source, preset="tiny"))
    assert mean_teacher.stages == (StagePlan(6, 4, 4, Poly()),)
    supervised = config_for(Experiment(method="supervised", source=source, preset="tiny"))
    assert supervised.stages == (StagePlan(6, 4, 0, Poly()),)


def test_quick_is_the_published_method_with_other_steps_rate_size_and_views():
    row = Experiment("bcp", source="acdc", preset="quick", labeled=7)
    quick, published = config_for(row), config_for(replace(row, preset="paper"))
    assert quick.stages == (
        StagePlan(4000, 6, 0, OneCycle()),
        StagePlan(8000, 6, 6, OneCycle()),
    )
    added = {"optimizer": Sgd(0.02), "strong_views": StrongViews()}
    assert quick.settings == {**published.settings, **added}
    assert quick.image_size == (128, 128)
    same = {"preset": "paper", "stages": published.stages, "settings": published.settings}
    assert replace(quick, image_size=(256, 256), **same) == published
    (plan,) = config_for(replace(row, method="mean_teacher")).stages
    assert plan.steps == 8000  # a method of one stage takes the last number
    first, second = config_for(replace(row, source="la")).stages
    assert (first.steps, second.steps) == (600, 1400)
    assert config_for(replace(row, source="la")).settings["optimizer"] == Sgd(0.03)


@pytest.mark.parametrize("name", ["toy", "mini"])
def test_small_presets_are_small(name):
    config = config_for(Experiment(preset=name))
    assert max(plan.steps for plan in config.stages) <= 1000
    assert max(config.image_size) <= 128


def test_settings_of_a_preset_lie_on_top_of_the_recipe(monkeypatch):
    monkeypatch.setitem(PRESETS, "odd", replace(PRESET, settings={"box_share": 0.25}))
    config = config_for(Experiment(preset="odd"))
    assert config.settings == {"dice": replace(DICE_SSL4MIS, smooth=1e-10), "box_share": 0.25}
    assert build_method(Experiment(preset="odd"), 4).box_share == 0.25
    assert build_method(Experiment(preset="odd", options={"box_share": 0.5}), 4).box_share == 0.5


@pytest.mark.parametrize(
    ("field", "value"), [("method", "unet"), ("source", "ACDC"), ("preset", "papr")]
)
def test_unknown_names_are_refused_with_the_value(field, value):
    with pytest.raises(ValueError, match=f"{field} must be one of .* got '{value}'"):
        config_for(Experiment(**{field: value}))


def test_a_preset_without_the_source():
    with pytest.raises(ValueError, match="preset 'tiny' has no image size for 'la'"):
        config_for(Experiment(source="la", preset="tiny"))


# Methods


def test_a_row_decides_method_rules_and_options():
    row = Experiment(
        labeled_rule=url(90),
        unlabeled_rule=drop(98),
        labeled_reduction="region",
        options={"unlabeled_weight": 0.25},
        preset="tiny",
    )
    method = build_method(row, 4)
    assert isinstance(method, Bcp)
    assert (method.labeled_rule, method.unlabeled_rule) == (url(90), drop(98))
    assert (method.labeled_reduction, method.unlabeled_reduction) == ("region", "voxel")
    assert method.unlabeled_weight == 0.25
    assert isinstance(method.student, UNet)
    assert isinstance(build_method(replace(row, method="mean_teacher", options={}), 4), MeanTeacher)
    plain = replace(row, method="supervised", unlabeled_rule=whole(), options={})
    supervised = build_method(plain, 4)
    assert isinstance(supervised, Supervised)
    assert supervised.labeled_rule == url(90)
    with pytest.raises(ValueError, match="no_such_option"):
        build_method(replace(row, options={"no_such_option": 1}), 4)


def test_the_seed_decides_the_weights_and_nothing_else_is_touched():
    row = Experiment(preset="tiny")
    before = torch.get_rng_state()
    first = build_method(row, 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert same_weights(first, build_method(row, 4))
    assert not same_weights(first, build_method(replace(row, seed=1), 4))
    assert same_weights(first.student, first.teacher)
    mean_teacher = build_method(replace(row, method="mean_teacher"), 4)
    assert same_weights(first.student, mean_teacher.student)  # rows start alike


# JSON

percentiles = st.integers(0, 100) | st.floats(1, 100)
weights = st.floats(0, 2)
rules = st.one_of(
    st.just(whole()),
    st.builds(url, percentiles, weights, st.sampled_from(["batch", "image"])),
    st.builds(crl, percentiles, weights),
    st.builds(drop, percentiles),
    st.builds(
        PercentileRule, st.sampled_from(["url", "crl", "drop"]), percentiles, weights, weights
    ),
    st.builds(confidence, st.floats(0, 1)),
    st.just(soft_certainty()),
)
experiments = st.builds(
    Experiment,
    method=st.sampled_from(sorted(METHODS)),
    labeled_rule=rules,
    unlabeled_rule=rules,
    labeled_reduction=st.sampled_from(["voxel", "region"]),
    options=st.dictionaries(st.text(max_size=5), st.booleans() | st.floats(0, 1) | st.text()),
    source=st.sampled_from(["phantom", "acdc", "own_2d", "la", "phantom_la", "own_3d"]),
    labeled=st.none() | st.integers(1, 70),
    preset=st.sampled_from(["toy", "lesson", "mini", "quick", "paper"]),
    seed=st.integers(0, 2**32),
)


@given(experiment=experiments)
def test_a_row_survives_json(experiment):
    text = json.dumps(experiment.as_dict())
    assert Experiment.from_dict(json.loads(text)) == experiment


def test_a_config_becomes_json():
    for preset in ("toy", "lesson", "mini", "quick", "paper"):
        text = json.dumps(asdict(config_for(Experiment(preset=preset))))
        assert json.loads(text)["preset"] == preset


def test_the_lesson_preset_is_for_slices():
    with pytest.raises(ValueError, match="preset 'lesson' has no image size for 'la'"):
        config_for(Experiment(source="la", preset="lesson", labeled=4))


def test_mini_on_volumes_has_its_own_numbers():
    config = config_for(Experiment(method="bcp", source="la", preset="mini", labeled=8))
    assert (config.width, config.shrink, config.standardise) == (8, 2, True)
    assert config.image_size == (64, 64, 32)
    assert [(plan.steps, plan.schedule) for plan in config.stages] == [(400, Poly())] * 2
    assert [(plan.labeled_batch, plan.unlabeled_batch) for plan in config.stages] == [
        (4, 0),
        (4, 4),
    ]
    assert config_for(Experiment(source="phantom_la", preset="mini", labeled=8)) == config
    hearts = config_for(Experiment(method="bcp", source="acdc", preset="mini", labeled=7))
    assert (hearts.width, hearts.shrink, hearts.standardise) == (16, 1, False)


def test_the_paper_preset_leaves_volumes_as_they_are():
    config = config_for(Experiment(method="bcp", source="la", preset="paper", labeled=8))
    assert (config.image_size, config.eval_stride) == ((112, 112, 80), (18, 18, 4))
    assert (config.width, config.shrink, config.standardise) == (16, 1, False)
    assert [plan.steps for plan in config.stages] == [2_000, 15_000]
