"""The controls change one thing each: the place of a weight, its size, the mixing, or the patients."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import PRESET, same_weights, tiny_method, write_tiny

from buarl.commands.train import Train
from buarl.controls import border_distance, border_region, level, random_region
from buarl.copy_paste import copy_paste, outside_mask, sample_box
from buarl.data.acdc import Acdc
from buarl.entropy import entropy_of_probs, uncertain_mask
from buarl.losses import region_loss
from buarl.methods.base import detached_probs
from buarl.regions import RULES, crl, rule_from_dict, url, whole
from buarl.results.controls import control_rows, total_weight
from buarl.results.paper import Reading
from buarl.results.rows import rows_of
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.loop import fit
from buarl.training.run import load_run, run_experiment


def probs_of(*spatial: int, classes: int = 4, batch: int = 2, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(batch, classes, *spatial).softmax(1)


@pytest.mark.parametrize("spatial", [(20, 20), (10, 12, 8)])
@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("make", [random_region, border_region])
def test_a_control_region_is_as_large_as_the_uncertain_one(make, scope, spatial):
    probs = probs_of(*spatial)
    wanted = uncertain_mask(entropy_of_probs(probs), 90, scope)
    chosen, other = make(90, 1.0, 0.5, scope)(probs)
    assert (chosen.weight, other.weight) == (1.0, 0.5)
    assert torch.equal(other.mask, ~chosen.mask)
    axes = tuple(range(1, wanted.ndim))
    if scope == "image":
        assert torch.equal(chosen.mask.sum(axes), wanted.sum(axes))
    assert chosen.mask.sum() == wanted.sum()
    assert not torch.equal(chosen.mask, wanted)


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("make", [random_region, border_region])
def test_a_gpu_sorts_and_chooses_the_same_voxels(make, scope, monkeypatch):
    probs, masks = probs_of(20, 20), []
    for on_cpu in (True, False):
        monkeypatch.setattr("buarl.controls.may_look", lambda tensor, here=on_cpu: here)
        torch.manual_seed(1)
        masks.append(make(90, scope=scope)(probs)[0].mask)
    assert torch.equal(*masks)


def test_a_random_region_is_another_in_every_draw_and_the_same_for_a_seed():
    probs, rule = probs_of(30, 30), random_region(90)
    torch.manual_seed(1)
    first, second = rule(probs)[0].mask, rule(probs)[0].mask
    torch.manual_seed(1)
    assert torch.equal(rule(probs)[0].mask, first)
    assert not torch.equal(first, second)


def test_a_random_region_favors_no_place():
    probs, rule = probs_of(4, 4), random_region(75)
    torch.manual_seed(0)
    often = sum(rule(probs)[0].mask.float() for _ in range(2000)) / 2000
    assert (often - 8 / 32).abs().max() < 0.05


def test_the_distance_to_a_border_by_hand_in_two_and_three_dimensions():
    label = torch.zeros(1, 5, 7, dtype=torch.int64)
    label[0, 2, 3] = 1
    expected = torch.tensor(
        [
            [2, 1, 1, 1, 1, 1, 2],
            [2, 1, 0, 0, 0, 1, 2],
            [2, 1, 0, 0, 0, 1, 2],
            [2, 1, 0, 0, 0, 1, 2],
            [2, 1, 1, 1, 1, 1, 2],
        ]
    ).float()
    assert torch.equal(border_distance(label)[0], expected)
    solid = torch.stack([torch.zeros_like(label), label, torch.zeros_like(label)], 1)
    assert torch.equal(border_distance(solid)[0, 0], expected)
    assert torch.equal(
        border_distance(torch.ones(1, 3, 3, dtype=torch.int64)), torch.full((1, 3, 3), 9.0)
    )


def test_a_border_region_takes_the_nearest_voxels_first():
    probs = torch.full((1, 2, 16, 16), 0.1)
    probs[:, 0, :, :8], probs[:, 1, :, 8:] = 0.9, 0.9
    probs[:, :, 0] = torch.linspace(0.2, 0.8, 16)  # the first row decides how many are uncertain
    probs[:, 1, 0] = 1 - probs[:, 0, 0]
    count = int(uncertain_mask(entropy_of_probs(probs), 95).sum())
    distance = border_distance(probs.argmax(1))
    chosen = border_region(95)(probs)[0].mask
    assert 0 < count <= int((distance == 0).sum())
    assert set(distance[chosen].tolist()) == {0.0}


@pytest.mark.parametrize("name", ["level", "random_region", "border_region"])
def test_a_control_survives_json(name):
    rule = level(0.525) if name == "level" else RULES[name](99, 0.5, 1.0)
    assert rule_from_dict(json.loads(json.dumps(rule.as_dict()))) == rule
    assert rule.as_dict()["name"] == name


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: level(-1), "level: weight must be >= 0, got -1"),
        (lambda: random_region(101), "random_region: percentile must lie in 0-100, got 101"),
        (lambda: border_region(0.95), "did you mean 95, got 0.95"),
        (lambda: border_region(95, -1), "border_region: chosen_weight must be >= 0, got -1"),
        (lambda: random_region(95, scope="all"), "random_region: scope"),
    ],
)
def test_a_control_refuses_what_it_cannot_be(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@given(st.floats(1, 100), st.floats(0, 2), st.floats(0, 2))
def test_the_total_weight_is_that_of_the_regions(percentile, uncertain, certain):
    """Of 1000 voxels in order, those above the percentile are the share that is counted."""
    share = 1 - percentile / 100
    mean = share * uncertain + (1 - share) * certain
    assert total_weight(percentile, uncertain, certain, "voxel") == pytest.approx(mean, abs=1e-9)
    assert total_weight(percentile, uncertain, certain, "region") == uncertain + certain


def test_the_weights_of_the_paper_by_hand():
    rows = control_rows(Reading("voxel", "voxel")), control_rows(Reading("region", "region"))
    weights = [
        (
            row["total weight, no place"].labeled_rule.weight,
            row["total weight, no place"].unlabeled_rule.weight,
        )
        for row in rows
    ]
    assert weights == [(0.525, 0.995), (1.5, 1.5)]


def test_alpha_1_per_voxel_is_the_plain_method_and_is_no_row_of_its_own():
    torch.manual_seed(0)
    logits, label = torch.randn(2, 4, 9, 9), torch.randint(4, (2, 9, 9))
    plain, ours = (rule(logits.softmax(1)) for rule in (whole(), url(95, alpha=1)))
    loss = [region_loss(logits, label, regions, reduction="voxel") for regions in (plain, ours)]
    assert torch.equal(*loss)
    apart = region_loss(logits, label, ours, reduction="region")
    assert not torch.isclose(apart, loss[0], rtol=0.05)
    assert "alpha = 1" not in control_rows(Reading("voxel", "voxel"))
    row = control_rows(Reading("region", "region"))["alpha = 1"]
    assert (row.labeled_rule, row.unlabeled_rule) == (url(95, 1.0), crl(99, 1.0))


def test_bcp_without_copy_paste_learns_from_unmixed_images(semi_2d):
    """Half of the batch labeled, half unlabeled, no voxel of one in the other: by hand."""
    method = tiny_method("bcp", box_share=0.0, teacher_mode="eval").eval()
    method.start_selftraining()
    torch.manual_seed(5)
    step = method.at(0, 10)
    loss = method.training_step(semi_2d, step).loss
    image, label = semi_2d.labeled_image[2:], semi_2d.label[2:]
    unlabeled = semi_2d.unlabeled_image[:2]
    labeled_logits, unlabeled_logits = method.student(image), method.student(unlabeled)
    pseudo = method.pseudo_label(unlabeled)
    options = {"reduction": "voxel", "dice": method.dice}
    by_hand = region_loss(labeled_logits, label, whole()(detached_probs(labeled_logits)), **options)
    by_hand = by_hand + 0.5 * region_loss(
        unlabeled_logits, pseudo.pseudo_label, crl(80)(pseudo.probs), **options
    )
    assert torch.allclose(loss, by_hand, atol=1e-6)
    first = method.pretraining_step(semi_2d, step).loss
    logits = method.student(semi_2d.labeled_image[:2])
    regions = url(80)(detached_probs(logits))
    assert torch.allclose(
        first, region_loss(logits, semi_2d.label[:2], regions, **options), atol=1e-6
    )
    outside = outside_mask((16, 16), sample_box((16, 16), 0.0))
    assert torch.equal(copy_paste(image, unlabeled, outside), image)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    return Acdc(write_tiny(tmp_path / "data", patients=6))


def test_a_lottery_draws_other_patients_and_always_the_same(source):
    published = source.split_labeled(2)
    draws = [source.drawn(number).split_labeled(2) for number in range(6)]
    patients = [{source.patient(name) for name in labeled} for labeled, _ in draws]
    assert all(len(each) == 2 for each in patients)
    assert len(set(map(frozenset, patients))) > 2
    assert source.drawn(3).split_labeled(2) == draws[3]
    assert source.split_labeled(2) == source.drawn(None).split_labeled(2) == published
    for labeled, unlabeled in draws:
        assert sorted(labeled + unlabeled) == sorted(source.training_names())


def test_a_run_of_a_lottery_is_trained_on_its_patients_and_comes_back_with_them(source, tmp_path):
    row = Experiment("supervised", source="acdc", labeled=2, preset="tiny", seed=3)
    weights = []
    for draw in (None, 1, 1, 2):
        own = {} if draw is None else {"labeled_draw": draw}
        out = tmp_path / f"run{len(weights)}"
        run_experiment(replace(row, set=own), source, out)
        _, opened, method = load_run(out, source.root)
        assert opened.labeled_draw == draw
        weights.append(method)
    assert same_weights(weights[1], weights[2])
    assert not same_weights(weights[0], weights[1])
    assert not same_weights(weights[1], weights[3])
    row = replace(row, set={"labeled_draw": 1})
    alone = build_method(row, source.num_classes)  # in a loop of one's own the config says it too
    fit(alone, source, config_for(row))
    assert same_weights(alone, weights[1])
    with pytest.raises(ValueError, match="draw 2, the row those of draw 1; .* set labeled_draw=2"):
        run_experiment(row, source.drawn(2), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("reading", [Reading("voxel", "voxel"), Reading("region", "region")])
def test_every_control_becomes_a_method(reading):
    for name, row in control_rows(reading).items():
        method = build_method(row, 4)
        assert method.labeled_rule == row.labeled_rule, name


def test_every_method_with_rules_has_a_row_that_differs_in_the_rules_alone():
    rows = {row.name: row.experiment for row in rows_of("methods", readings=["voxel"])}
    for name, row in rows.items():
        if name.endswith(("+ URL", "+ URL + CRL")):
            plain = replace(row, labeled_rule=whole(), unlabeled_rule=whole())
            assert plain in rows.values(), name
    assert rows["mean_teacher on pseudo-labels"].options == {"unsupervised": "pseudo_label"}


@pytest.mark.parametrize("what", ["methods", "controls"])
def test_on_la_the_rows_have_the_percentiles_and_scans_of_the_paper(what):
    base = Experiment(source="la", preset="mini")
    for row in (each.experiment for each in rows_of(what, base=base)):
        assert (row.source, row.labeled) == ("la", 8)
        assert row.unlabeled_rule.as_dict().get("percentile") in (None, 95)
    ours = Train(source="la", labeled=8, labeled_rule="url", unlabeled_rule="crl", preset="mini")
    wanted = [each.experiment for each in rows_of("2", labeled=8, readings=["voxel"])]
    assert ours.experiment() in wanted
