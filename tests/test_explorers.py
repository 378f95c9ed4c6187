"""The explorers show what the library computes, move their artists and never break a cell."""

from __future__ import annotations

import base64
import io
import math

import matplotlib.image
import numpy as np
import pytest
import torch
from conftest import make_semi_batch
from medpy.metric import binary
from tiny import PRESET, tiny_config, tiny_method, write_tiny

import buarl
from buarl.copy_paste import Box, copy_paste, outside_mask
from buarl.data.acdc import Acdc
from buarl.data.batches import SemiBatch
from buarl.dice import DICE_BCP_ACDC
from buarl.evaluation.evaluate import evaluate, predict_volume
from buarl.evaluation.metrics import EMPTY_POLICIES, case_metrics
from buarl.evaluation.scores import summary, write_metrics
from buarl.losses import region_loss
from buarl.regions import PERCENTILE_RULES, Region, confidence, crl, drop, url, whole
from buarl.training import config
from buarl.widgets.explorers import live
from buarl.widgets.explorers.case_list import Cases, error_codes
from buarl.widgets.explorers.cases import CaseView, draw_case
from buarl.widgets.explorers.controls import Choice, Slider
from buarl.widgets.explorers.copy_paste import (
    DIRECTIONS,
    CopyPasteView,
    Images,
    draw_copy_paste,
    mix,
)
from buarl.widgets.explorers.definitions import (
    ROWS,
    Blob,
    add_blob,
    directed_distances,
    every_definition,
)
from buarl.widgets.explorers.metrics import MetricView, draw_metrics
from buarl.widgets.explorers.region_terms import Term, method_terms, read_term
from buarl.widgets.explorers.regions import RegionView, draw_regions

pytest.importorskip("ipywidgets")
from buarl.widgets import case_browser, copy_paste_explorer, metric_explorer, region_explorer

NAMES = ("background", "RV", "myocardium", "LV")


def make_term(count=3, spatial=(16, 12), num_classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, num_classes, *spatial, generator=generator)
    target = torch.randint(num_classes, (count, *spatial), generator=generator)
    image = torch.rand(count, *spatial, generator=generator)
    return Term(image, target, logits, logits.softmax(1))


@pytest.fixture
def terms():
    return make_term(), make_term(count=4, seed=1)


@pytest.fixture
def images(terms):
    (a, label, *_), (b, pseudo, *_) = terms
    return Images(a.numpy(), label.numpy(), b.numpy(), pseudo.numpy(), NAMES)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def method():
    return tiny_method("bcp")


@pytest.fixture(scope="module")
def masks():
    """A disc of 12 and the same, shifted by two columns."""
    row, column = np.indices((40, 48))
    label = (row - 20) ** 2 + (column - 22) ** 2 < 12**2
    return label, np.roll(label, 2, 1)


def pixels(png):
    return matplotlib.image.imread(io.BytesIO(png))


# Redrawing: other content, and back to the first


def shown(view):
    """All that a view shows, comparable."""
    panels = [(panel.title, panel.pixels.tobytes(), panel.frame) for panel in view.panels]
    return panels, view.legend, view.chart, view.text


def test_region_view_changes_and_comes_back(terms):
    view = RegionView(*terms)
    view.show([url(90), crl(90)], ["voxel", "voxel"])
    first = shown(view)
    view.show([url(50), crl(50)], ["voxel", "region"])
    assert shown(view)[0] != first[0]
    assert view.text != first[3]
    view.show([url(90), crl(90)], ["voxel", "voxel"])
    assert shown(view) == first


def test_copy_paste_view_changes(images):
    view = CopyPasteView(images)
    view.show(Box((1, 1), (8, 8)), "labeled around unlabeled")
    before = shown(view)
    view.show(Box((4, 2), (8, 8)), "labeled around unlabeled", 1, 2)
    assert shown(view)[0] != before[0]
    assert {panel.frame for panel in view.panels} == {(4, 2, 8, 8)}


def test_metric_view_changes_and_comes_back(masks):
    label, prediction = masks
    view = MetricView(None, label.shape)
    view.show(label, prediction)
    before = shown(view)
    view.show(label, add_blob(prediction, Blob(2, 2, 2)))
    assert shown(view)[0] != before[0]
    assert shown(view)[2] != before[2]
    view.show(label, prediction)
    assert shown(view) == before


def test_no_two_curves_look_alike(masks):
    view = MetricView(None, masks[0].shape)
    view.show(*masks)
    looks = [(curve.style, curve.color) for curve in view.chart.curves]
    assert len(set(looks)) == len(looks) == 5
    curves = {curve.name: curve for curve in view.chart.curves}
    assert curves["both lists pooled"].style != curves["95HD, pooled"].style


def test_curves_climb_to_the_share_of_the_surface_within_a_distance(masks):
    view = MetricView(None, masks[0].shape)
    scores = view.show(*masks)["pixels"]
    curve = next(c for c in view.chart.curves if c.name == "both lists pooled")
    cut = next(c for c in view.chart.curves if c.name == "95HD, pooled")
    places, shares = np.array(curve.points).T
    assert (np.diff(places) >= 0).all()
    assert (np.diff(shares) >= 0).all()
    assert shares[-1] == 1
    reached = shares[places <= cut.points[0][0] + 1e-9].max()
    distances = np.concatenate(
        [directed_distances(masks[1], masks[0]), directed_distances(masks[0], masks[1])]
    )
    assert reached == pytest.approx((distances <= scores["hd95"]).mean())


def test_case_view_takes_another_shape(method, source):
    cases = Cases(method, source, tiny_config("bcp"))
    case = cases.get(source.cases("val")[0])
    other = case._replace(**{k: getattr(case, k)[:, :9] for k in ("image", "label", "prediction")})
    other = other._replace(entropy=case.entropy[:, :9])
    view = CaseView(source.class_names)
    view.show(case, 0)
    before = shown(view)
    view.show(other, 1)
    assert [panel.pixels.shape[0] for panel in view.panels] == [9] * 5
    view.show(case, 0)
    assert shown(view) == before


# Regions


@pytest.mark.parametrize("spatial", [(16, 12), (6, 8, 4)])
@pytest.mark.parametrize("reduction", ["voxel", "region"])
@pytest.mark.parametrize("rule", [whole(), url(80, 0.25), crl(90), drop(90)], ids=lambda r: r.name)
def test_terms_are_those_of_the_library(rule, reduction, spatial):
    term = make_term(spatial=spatial)
    reading = read_term(term, rule, reduction, DICE_BCP_ACDC)
    regions = rule(term.probs)
    arguments = {"reduction": reduction, "dice": DICE_BCP_ACDC}
    assert reading.loss == region_loss(term.logits, term.target, regions, **arguments).item()
    for part, region in zip(reading.parts, regions, strict=True):
        alone = [Region(region.mask, 1.0)]
        assert part.weight == region.weight
        assert part.voxels == region.mask.sum()
        for value, ce_share in ((part.ce, 1), (part.dice, 0)):
            loss = region_loss(
                term.logits,
                term.target,
                alone,
                reduction="region",
                dice=DICE_BCP_ACDC,
                ce_share=ce_share,
            )
            assert value == loss.item()
    assert sum(part.ce_share for part in reading.parts) == pytest.approx(1)


def test_shares_of_the_cross_entropy_add_up_to_the_loss_under_both_reductions(terms):
    term, rule = terms[0], url(80, 0.25)
    for reduction in ("voxel", "region"):
        parts = read_term(term, rule, reduction).parts
        total = region_loss(
            term.logits, term.target, rule(term.probs), reduction=reduction, ce_share=1
        ).item()
        count = sum(part.voxels for part in parts)
        for part in parts:
            of_it = part.weight * part.ce * (1 if reduction == "region" else part.voxels / count)
            assert part.ce_share == pytest.approx(of_it / total, rel=1e-5)


def test_the_drawn_regions_are_the_rules(terms):
    view = RegionView(*terms)
    readings = view.show([url(80), crl(90)], ["voxel", "voxel"], image=1)
    for number, (term, reading) in enumerate(zip(terms, readings, strict=True)):
        pixels = view.panels[2 * number + 1].pixels
        colored = (pixels != live.grey(term.image[1].numpy())).any(-1)
        assert np.array_equal(colored, reading.regions[0].mask[1].numpy())


def test_dropped_voxels_are_striped(terms):
    view = RegionView(*terms)
    view.show([whole(), crl(80, 0.5)], ["voxel", "voxel"])
    plain = view.panels[3].pixels
    assert "stripes" not in view.text
    view.show([whole(), drop(80)], ["voxel", "voxel"])
    assert "Black stripes: weight 0" in view.text
    striped = (view.panels[3].pixels != plain).any(-1)
    mask = drop(80)(terms[1].probs)[0].mask[0].numpy()
    assert 0 < striped.sum() < mask.sum()
    assert not (striped & ~mask).any()


def test_region_explorer_follows_its_controls(terms):
    explorer = region_explorer(*terms)
    picture = explorer.pixels
    explorer.controls["labeled rule"].value = "crl"
    explorer.controls["labeled percentile"].value = 90
    explorer.controls["labeled alpha"].value = 0.25
    explorer.controls["labeled reduction"].value = "region"
    explorer.controls["weight"].value = 0.5
    losses = [
        region_loss(t.logits, t.target, rule(t.probs), reduction=how).item()
        for t, rule, how in zip(terms, (crl(90, 0.25), crl(99)), ("region", "voxel"), strict=True)
    ]
    total = f"LOSS = {losses[0]:.4f} + 0.5 x {losses[1]:.4f} = {losses[0] + losses[1] / 2:.4f}"
    assert explorer.view.text.endswith(total)
    assert total in explorer.readout
    assert explorer.pixels != picture
    assert explorer.message == ""


def test_controls_without_effect_are_greyed_out(terms):
    explorer = region_explorer(*terms)
    for name in PERCENTILE_RULES:
        explorer.controls["labeled rule"].value = name
        assert explorer.controls["labeled percentile"].disabled is (name == "whole")
        assert explorer.controls["labeled alpha"].disabled is (name in ("whole", "drop"))


def test_a_rule_without_controls_becomes_a_message(terms):
    explorer = region_explorer(*terms, rules=(url(95), confidence(0.9)))
    assert "begins with one of" in explorer.message
    assert "Confidence(threshold=0.9)" in explorer.message


@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "bcp"])
def test_terms_of_any_method(name):
    method, batch = tiny_method(name), make_semi_batch(4, 4, (16, 16))
    method.train()
    labeled, unlabeled = method_terms(method, batch)
    assert method.training
    method.eval()
    with torch.no_grad():
        assert torch.equal(labeled.logits, method.student(batch.labeled_image))
        teacher = getattr(method, "teacher", method.student)
        assert torch.equal(unlabeled.probs, teacher(batch.unlabeled_image).softmax(1))
    assert torch.equal(unlabeled.target, unlabeled.probs.argmax(1))
    assert region_explorer(labeled, unlabeled).message == ""
    without = SemiBatch.from_parts(batch.labeled_image, batch.label)
    assert method_terms(method, without)[1] is None
    assert "weight" not in region_explorer(labeled, None).controls


# Copy-paste


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_mixture_is_the_librarys(images, direction):
    box = Box((3, 2), (8, 6))
    mixed = mix(images, box, direction, around=1, inside=2)
    outside = outside_mask((16, 12), box)
    pairs = {
        "labeled": (images.labeled, images.label),
        "unlabeled": (images.unlabeled, images.pseudo_label),
    }
    around, inside = (pairs[kind] for kind in DIRECTIONS[direction])
    for ours, a, b in zip((mixed.image, mixed.target), around, inside, strict=True):
        wanted = copy_paste(torch.tensor(a[1]), torch.tensor(b[2]), outside)
        assert np.array_equal(ours, wanted.numpy())
    kinds = np.array(DIRECTIONS[direction])[1 - outside.numpy().astype(int)]
    assert np.array_equal(mixed.is_label, kinds == "labeled")


def test_stripes_lie_on_pseudo_labels_only(images):
    view = CopyPasteView(images._replace(label=images.label * 0, pseudo_label=images.label * 0))
    mixed = view.show(Box((2, 2), (8, 8)), "labeled around unlabeled")
    striped = (view.panels[3].pixels != live.grey(mixed.image)).any(-1)
    assert striped.any()
    assert not (striped & mixed.is_label).any()


def test_copy_paste_explorer_keeps_the_box_inside(images):
    explorer = copy_paste_explorer(*images)
    explorer.controls["height"].value = 4
    explorer.controls["row"].value = explorer.controls["row"].max
    assert explorer.controls["row"].value == 12
    picture = explorer.pixels
    explorer.controls["height"].value = 10  # the corner has to give way
    assert explorer.controls["row"].value == 6
    assert explorer.pixels != picture
    assert "box: 10 x 8 pixels at row 6" in explorer.readout
    explorer.controls["height"].value = 0
    explorer.controls["direction"].value = "labeled around unlabeled"
    assert "a pseudo-label on 0.0% of the image" in explorer.readout
    torch.manual_seed(0)
    explorer.controls["draw"].click()
    assert explorer.controls["height"].value == int(16 * 2 / 3)
    assert explorer.message == ""


# Cases


def test_cases_are_sorted_by_dice_and_scored_by_the_library(method, source):
    cases = Cases(method, source, tiny_config("bcp"), "val")
    rows = evaluate(method.student, source, "val", tiny_config("bcp"))
    assert repr(cases.rows) == repr(rows)
    name = source.cases("val")[0]
    case = cases.get(name)
    volume = source.volume(name)
    prediction, entropy = predict_volume(method.student, volume.image, 2, tiny_config("bcp"))
    assert np.array_equal(case.prediction, prediction)
    assert np.array_equal(case.entropy, entropy)
    assert cases.ranking()[name] == pytest.approx(summary(rows)["dice"])
    made_up = [
        {"case": name, "class": "RV", "dice": dice}
        for name, dice in (("b", 0.9), ("a", math.nan), ("c", 0.2), ("a", math.nan), ("c", 0.4))
    ]
    ranking = Cases(method, source, tiny_config("bcp"), rows=made_up).ranking()
    assert list(ranking) == ["c", "b", "a"]
    assert ranking["c"] == pytest.approx(0.3)


def test_error_codes_tell_missed_added_and_confused():
    label = np.array([0, 0, 1, 1, 2])
    prediction = np.array([0, 1, 0, 1, 1])
    assert error_codes(label, prediction).tolist() == [0, 2, 1, 0, 3]


def test_volumes_of_3d_networks_are_cut_along_their_last_axis(method, source):
    case = Cases(method, source, tiny_config("bcp")).get(source.cases("val")[0])
    turned = case._replace(
        axis=2, **{k: np.moveaxis(getattr(case, k), 0, 2) for k in case._fields[1:5]}
    )
    assert turned.worst_slice() == case.worst_slice()
    for ours, theirs in zip(turned.cut(1), case.cut(1), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.fixture
def run(tmp_path, source, monkeypatch):
    """A finished tiny run folder."""
    monkeypatch.setitem(config.PRESETS, "tiny", PRESET)
    row = buarl.Experiment(method="supervised", source="acdc", labeled=2, preset="tiny")
    buarl.run_experiment(row, source, tmp_path / "a run")
    return tmp_path / "a run"


def test_case_browser_of_a_run_folder(run, source):
    explorer = case_browser(run, split="test")
    assert explorer.message == "" or "Note" in explorer.message
    assert [value for _, value in explorer.controls["case"].options] == source.cases("test")
    index = explorer.controls["index"]
    assert (index.min, index.max) == (1, 3)
    picture = explorer.pixels
    index.value = 1 + index.value % 3
    assert explorer.pixels != picture
    assert f"slice {index.value} of 3" in explorer.readout


def test_case_browser_uses_the_scores_in_the_folder_and_sorts(run, source):
    name = source.cases("test")[0]
    scores = {"dice": 0.123, "jaccard": 0.123 / 1.877, "hd95": 7.0, "asd": 2.0, "missed": False}
    rows = [{"case": case, "class": "RV", **scores} for case in (name, source.cases("val")[0])]
    rows[1] |= {"dice": 0.9, "jaccard": 0.9 / 1.1}
    write_metrics(run / "metrics_test.csv", rows, [], "diagonal")
    explorer = case_browser(run, split="test")
    box = explorer.controls["case"]
    assert box.options[0] == (f"0.123  {name}", name)
    assert "0.123" in explorer.readout
    explorer.controls["order"].value = "best first"
    assert box.options[1] == (f"0.123  {name}", name)
    assert box.value == name
    before = explorer.readout
    box.value = source.cases("val")[0]
    assert explorer.readout != before
    assert "0.900" in explorer.readout


# Metrics


def test_every_definition_agrees_with_medpy_and_the_library():
    rng = np.random.default_rng(0)
    for spacing in (None, (1.5, 0.8)):
        for _ in range(20):
            a, b = rng.random((2, 9, 11)) < rng.uniform(0.1, 0.9)
            ours = every_definition(a, b, spacing)
            library = case_metrics(a, b, spacing)
            assert all(ours[key] == library[key] for key in ("dice", "jaccard", "hd95", "asd"))
            both = (binary.__surface_distances(*pair, spacing) for pair in ((a, b), (b, a)))
            there, back = both
            assert ours["hd"] == pytest.approx(binary.hd(a, b, spacing))
            assert ours["asd_back"] == pytest.approx(binary.asd(b, a, spacing))
            assert ours["assd_pooled"] == pytest.approx(binary.assd(a, b, spacing))
            larger = max(np.percentile(there, 95), np.percentile(back, 95))
            assert ours["hd95_max"] == pytest.approx(larger)
            means = (ours["asd"] + ours["asd_back"]) / 2
            assert ours["assd_means"] == pytest.approx(means)


def test_the_stray_blob_moves_the_two_95hd_apart():
    row, column = np.indices((40, 48))
    label = (row - 20) ** 2 + (column - 18) ** 2 < 16**2  # the blob is 4 % of both surfaces
    scores = every_definition(add_blob(label, Blob(2, 44, 2)), label)
    assert scores["hd95"] == 0 < 5 < scores["hd95_max"]
    assert add_blob(label, Blob(2, 44, 1)).sum() == label.sum() + 1
    assert np.array_equal(add_blob(label, Blob(2, 44, 0)), label)


@pytest.mark.parametrize("empty", EMPTY_POLICIES)
def test_metric_explorer_shows_the_policy_for_empty_masks(masks, empty):
    label, prediction = masks
    explorer = metric_explorer(label, prediction)
    explorer.controls["empty"].value = empty
    explorer.controls["empty_prediction"].value = True
    scores = case_metrics(prediction & False, label, None, empty)
    shown = "-" if math.isnan(scores["hd95"]) else f"{scores['hd95']:.2f}"
    line = next(x for x in explorer.readout.splitlines() if ROWS["hd95"] in x)
    assert line.split()[-2] == shown
    assert "empty: prediction" in explorer.message
    explorer.controls["empty_label"].value = True
    assert "empty: label and prediction" in explorer.message


def test_an_emptied_prediction_is_empty_whatever_the_blob(masks):
    label, prediction = masks
    explorer = metric_explorer(label, prediction, blob=Blob(8, 8, 3))
    explorer.controls["empty_prediction"].value = True
    scores = case_metrics(prediction & False, label, None, "diagonal")
    line = next(x for x in explorer.readout.splitlines() if x.startswith("Dice"))
    assert float(line.split()[-1]) == scores["dice"] == 0
    assert "empty: prediction" in explorer.message
    assert all(explorer.controls[name].disabled for name in ("row", "column", "radius"))
    explorer.controls["empty_prediction"].value = False
    assert explorer.message == ""
    assert not explorer.controls["radius"].disabled


def test_metric_explorer_follows_its_controls(masks):
    label, prediction = masks
    explorer = metric_explorer(label.astype(int) * 2, prediction.astype(int) * 2, None, NAMES[:3])
    explorer.controls["radius"].value = 3
    explorer.controls["row"].value = 36
    explorer.controls["column"].value = 5
    explorer.controls["row_mm"].value = 4
    found = add_blob(prediction, Blob(36, 5, 3))
    for key, value in every_definition(found, label, (4, 1.5)).items():
        line = next(x for x in explorer.readout.splitlines() if ROWS[key] in x)
        digits = 3 if key in ("dice", "jaccard") else 2
        assert line.endswith(f" {value:.{digits}f}")
    explorer.controls["structure"].value = 1  # nothing there but the blob
    assert "empty: label." in explorer.message


# Bad input: a message, never an exception


def term_with(term, **changes):
    return term._replace(**changes)


BAD_TERMS = {
    "NaN": (lambda t: term_with(t, probs=t.probs * math.nan), "probs must be finite"),
    "logits for probs": (lambda t: term_with(t, probs=t.logits), "sum to 1"),
    "shapes": (lambda t: term_with(t, target=t.target[:, 1:]), "must have one shape"),
    "one slice": (lambda t: term_with(t, image=t.image[0], target=t.target[0]), "(B, H, W)"),
    "class": (lambda t: term_with(t, target=t.target + 9), "target must lie in 0 to 3"),
    "no tensors": (lambda t: Term("a", "b", "c", "d"), "TypeError"),
}


@pytest.mark.parametrize("name", BAD_TERMS)
def test_bad_batches_become_a_message(terms, name):
    spoil, message = BAD_TERMS[name]
    explorer = region_explorer(spoil(terms[0]), terms[1])
    assert "Cannot show this" in explorer.message
    assert message in explorer.message


def test_constant_entropy_and_one_class_are_remarked(terms):
    flat = torch.full_like(terms[0].logits, 1.0)
    constant = term_with(terms[0], logits=flat, probs=flat.softmax(1), target=terms[0].target * 0)
    explorer = region_explorer(constant, terms[1])
    assert "labeled: no entropy exceeds the percentile" in explorer.message
    assert "the whole target is class 0" in explorer.message
    assert "Cannot" not in explorer.message
    assert explorer.pixels


def test_a_wrong_value_keeps_the_last_picture_and_recovers(terms):
    explorer = region_explorer(*terms)
    picture, good = explorer.pixels, explorer.view.terms[0]
    explorer.view.terms[0] = term_with(good, probs=good.probs * math.nan)
    explorer.controls["labeled percentile"].value = 50
    assert "must be finite" in explorer.message
    assert explorer.pixels == picture
    explorer.view.terms[0] = good
    explorer.controls["labeled percentile"].value = 60
    assert explorer.message == ""
    assert explorer.pixels != picture


def test_bad_images_to_mix_become_a_message(images):
    volume = images._replace(labeled=np.zeros((2, 4, 4, 4)))
    for bad, message in (
        (volume, "of a volume, give slices"),
        (images._replace(unlabeled=images.unlabeled * np.nan), "unlabeled must be finite"),
        (images._replace(pseudo_label=images.pseudo_label[:, 1:]), "must hold images of"),
        (images._replace(labeled=images.labeled[:0]), "must hold images of"),
    ):
        assert message in copy_paste_explorer(*bad).message


def test_a_missing_run_folder_becomes_a_message(tmp_path, method):
    explorer = case_browser(tmp_path / "<none>")
    assert "is not a run folder" in explorer.message
    assert "<none>" in explorer.message  # escaped by the browser: test_browser_explorers.py
    assert "give its source and config" in case_browser(method).message


def test_an_unfinished_run_becomes_a_message(run):
    (run / "run.json").write_text((run / "run.json").read_text().replace("true", "false"))
    assert "resume it first" in case_browser(run).message


def test_bad_masks_become_a_message(masks):
    label, prediction = masks
    for args, message in (
        ((label[None], prediction[None]), "of a volume, give one"),
        ((label, prediction[1:]), "must have one shape"),
        ((label * np.nan, prediction), "label must be finite"),
        ((label * 0.5, prediction), "whole numbers"),
        ((label * 2, prediction * 1), "label must lie in 0 to 1, as many as class_names"),
        ((label * 1, prediction * -1), "prediction must lie in 0 to 1"),
    ):
        assert message in metric_explorer(*args).message
    assert "Cannot" not in metric_explorer(label & False, prediction).message  # an empty label


# Without a kernel


def test_static_pictures_are_figures_with_their_read_outs(terms, images, masks, method, source):
    case = Cases(method, source, tiny_config("bcp")).get(source.cases("val")[0])
    figures = {
        "LOSS = ": draw_regions(*terms),
        "box: 8 x 8": draw_copy_paste(images, Box((1, 1), (8, 8))),
        "pixels wrong": draw_case(case, source.class_names),
        "ASSD": draw_metrics(*masks, Blob(2, 2, 2)),
    }
    for text, figure in figures.items():
        assert any(text in found.get_text() for found in figure.texts)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", bbox_inches="tight", dpi=50)
        height = pixels(buffer.getvalue()).shape[0]
        assert height > 50 * figure.get_figheight()  # grown to hold the text


def test_a_notebook_keeps_a_picture_beside_the_widget(masks):
    explorer = metric_explorer(*masks)
    bundle, metadata = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    picture = pixels(base64.b64decode(bundle["image/png"]))
    assert picture.shape[1] == pytest.approx(1.5 * metadata["image/png"]["width"], abs=2)
    words = bundle["text/plain"]
    assert words.startswith("Explorer of ")
    assert words.endswith(": run this cell to move its sliders")
    assert metadata["image/png"]["alt"] == words
    refused = metric_explorer(masks[0], masks[1][1:])._repr_mimebundle_()[0]
    assert "image/png" not in refused
    assert "must have one shape" in refused["text/plain"]


# Controls, as the browser moves them


def follow(explorer, **moves):
    """What a browser sends: per control a value and when it was moved."""
    explorer._moved = {**explorer._moved, **moves}


def test_what_the_browser_sends_moves_the_controls(masks):
    explorer = metric_explorer(*masks, None, NAMES[:2])
    before = explorer.pixels
    follow(explorer, row=[31, 1.0])
    assert explorer.controls["row"].value == 31
    follow(explorer, radius=[4, 2.0])
    assert explorer.pixels != before
    follow(explorer, row=[5, 0.5])  # older than what was seen
    assert explorer.controls["row"].value == 31
    assert explorer._controls["seen"] == {"row": 1.0, "radius": 2.0}
    policies = list(EMPTY_POLICIES)
    follow(explorer, empty=[1, 3.0])  # by place
    assert explorer.controls["empty"].value == policies[1]
    follow(explorer, empty_label=[True, 4.0])
    assert "empty: label" in explorer.message


def test_sliders_stay_within_their_bounds():
    slider = Slider("row", 0, 10, 12)
    assert slider.value == 10
    slider.value = -3
    assert slider.value == 0
    slider.value = 7.4  # whole numbers
    assert slider.value == 7
    slider.max = 5
    assert slider.value == 5
    assert Slider("alpha", 0, 1, 0.25, 0.05).value == 0.25


def test_a_choice_knows_its_options():
    choice = Choice("rule", [("first", 1), ("second", 2)], 2)
    assert choice.spec()["options"] == ["first", "second"]
    assert choice.spec()["value"] == 1
    with pytest.raises(ValueError, match="rule must be one of"):
        choice.value = 3


def test_every_control_is_shown_and_labeled(terms, images, masks, method, source):
    for explorer in (
        region_explorer(*terms),
        copy_paste_explorer(*images),
        case_browser(method, source, tiny_config("bcp")),
        metric_explorer(*masks),
    ):
        assert explorer.message == ""
        sections = explorer._controls["sections"]
        specs = {c["name"]: c for section in sections for c in section["controls"]}
        assert specs.keys() == explorer.controls.keys()
        assert all(spec["label"] and spec["kind"] for spec in specs.values())
