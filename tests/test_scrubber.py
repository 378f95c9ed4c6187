"""What the scrubber packs is what the library computes, and what it cannot show it says."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import zlib
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch
from scrubbed import make_side, make_sides
from tiny import PRESET, write_tiny

from buarl.data.acdc import Acdc
from buarl.entropy import entropy_threshold, uncertain_mask
from buarl.training.config import PRESETS
from buarl.widgets.scrub_pack import PERCENTILES, SCOPES, pack, slices_of
from buarl.widgets.scrub_picture import picture
from buarl.widgets.scrub_readings import readings

anywidget = pytest.importorskip("anywidget")

from buarl.lessons import moments, trained as lessons  # noqa: E402
from buarl.widgets import scrub as scrubber, snapshots  # noqa: E402


def unpacked(packed):
    """The header, and per side its blocks in the documented order."""
    header, raw = (
        json.loads(packed.header),
        np.frombuffer(zlib.decompress(packed.payload), np.uint8),
    )
    steps, at, sides = len(header["steps"]), 0, []
    for head in header["sides"]:
        blocks = {}
        for name, times in [
            ("image", 1),
            *([("label", 1)] if head["hasLabel"] else []),
            *(
                (name, steps)
                for name in ("entropy", "pseudo_label", "probability", "batch", "image_scope")
            ),
        ]:
            size = times * int(np.prod(head["size"]))
            blocks[name] = raw[at : at + size].reshape(times, *head["size"])
            at += size
        sides.append((head, blocks))
    assert at == raw.size
    return header, sides


# Packing


def test_one_byte_holds_the_librarys_mask_at_every_stop():
    sides = make_sides()
    header, packed = unpacked(pack(sides))
    assert header["stops"] == list(PERCENTILES)
    assert {95, 97, 99} <= set(PERCENTILES)
    for side, (head, blocks) in zip(sides, packed, strict=True):
        for step in range(2):
            entropy = side.entropy(step)
            for scope, block in zip(SCOPES, ("batch", "image_scope"), strict=True):
                for k, stop in enumerate(PERCENTILES):
                    mask = uncertain_mask(entropy, stop, scope).numpy()
                    assert np.array_equal(blocks[block][step] > k, mask)
                    thresholds = head["thresholds"][scope][step][k]
                    assert thresholds == entropy_threshold(entropy, stop, scope).tolist()


def test_pictures_are_packed_as_they_are():
    side = make_side()
    head, blocks = unpacked(pack([side]))[1][0]
    assert np.array_equal(blocks["label"][0], side.labels)
    for step in range(2):
        assert np.array_equal(blocks["pseudo_label"][step], side.probs[step].argmax(1))
        exact = side.entropy(step).numpy() / np.log(4) * 255
        assert np.abs(blocks["entropy"][step] - exact).max() <= 0.5 + 1e-4
        exact = 255 * side.probs[step].max(1)
        assert np.abs(blocks["probability"][step] - exact).max() <= 0.5 + 1e-4
    assert blocks["image"].min() == 0
    assert blocks["image"].max() == 255
    assert head["classes"] == ["back", "a", "b", "c"]
    assert PERCENTILES[head["start"]] == 95


def test_a_volume_is_cut_whole_and_shown_slice_by_slice():
    side = make_side(spatial=(8, 6, 5))
    head, blocks = unpacked(pack([side]))[1][0]
    assert head["size"] == [15, 8, 6]
    assert head["names"][7] == "url slice <1>, slice 3"
    assert head["image"][7] == 1
    mask = uncertain_mask(side.entropy(1), 90, "image").numpy()
    shown = blocks["image_scope"][1][7] > PERCENTILES.index(90)
    assert np.array_equal(shown, mask[1, :, :, 2])
    assert np.array_equal(slices_of(side.labels)[7], side.labels[1, :, :, 2])


def test_a_side_without_a_label_has_no_label_block():
    side = replace(make_side(), labels=None)
    head, blocks = unpacked(pack([side]))[1][0]
    assert not head["hasLabel"]
    assert "label" not in blocks
    assert "recall" not in readings(side, 0, 0, 95)


# Read-outs


@pytest.mark.parametrize(
    ("rule", "percentile", "voxel", "region"),
    [("url", 95, (1, 0.5), (20, 0.5 / 0.95)), ("crl", 99, (0.5, 1), (50, 1 / 0.99))],
)
def test_weights_are_those_of_notebook_4(rule, percentile, voxel, region):
    random = np.random.default_rng(3)
    probs = random.dirichlet(np.ones(4), size=(1, 1, 20, 20)).transpose(0, 1, 4, 2, 3)
    side = replace(
        make_side(rule, spatial=(20, 20)),
        images=np.zeros((1, 20, 20)), labels=None, probs=probs, steps=["now"], names=["one"],
    )  # fmt: skip
    found = readings(side, 0, 0, percentile)
    assert (found["voxel_inside"], found["voxel_outside"]) == pytest.approx(voxel)
    assert (found["region_inside"], found["region_outside"]) == pytest.approx(region)


def test_readings_by_hand():
    probs = np.full((1, 1, 2, 2, 2), 0.5, dtype=np.float32)
    probs[0, 0, :, 0, :] = [[0.99, 0.9], [0.01, 0.1]]  # the lower row ties at ln 2
    labels = np.array([[[0, 1], [0, 1]]])
    side = replace(
        make_side(), images=np.zeros((1, 2, 2)), labels=labels, probs=probs,
        steps=["now"], names=["one"], class_names=None,
    )  # fmt: skip
    found = readings(side, 0, 0, 50, alpha=0.2)  # marks the lower row; predicted 0 everywhere
    assert found["share"] == found["recall"] == found["precision"] == found["wrong"] == 0.5
    assert found["ceiling"] == found["ceiling_all"] == 1
    assert found["region_inside"] == 2
    assert found["region_outside"] == pytest.approx(0.4)
    nothing = readings(side, 0, 0, 99)
    assert nothing["share"] == 0 == nothing["recall"] == nothing["ceiling"]
    assert nothing["precision"] is None is nothing["region_inside"]


# What cannot be shown is said


def bad(**changes):
    side = make_side()
    arrays = {"images": side.images, "labels": side.labels, "probs": side.probs, **changes}
    return scrubber.scrubber(arrays.pop("images"), arrays.pop("labels"), **arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probs": np.full((3, 4, 20, 24), np.nan)}, "probs hold NaN"),
        ({"images": np.full((3, 20, 24), np.inf)}, "images hold infinite values"),
        ({"probs": np.ones((3, 1, 20, 24))}, "one class has no entropy"),
        ({"probs": np.ones((3, 4, 20, 24))}, "sum to 1"),
        ({"probs": np.full((3, 4, 20, 20), 0.25)}, "to fit images"),
        ({"probs": np.full((0, 4, 20, 24), 0.25)}, "to fit images"),
        ({"labels": np.full((3, 20, 24), 4)}, "labels must lie in 0 to 3"),
        ({"labels": np.full((3, 20, 24), 1.5)}, "labels must hold whole numbers, got 1.5"),
        ({"labels": np.zeros((3, 20, 20), int)}, "labels must fit images"),
        ({"labels": np.full((3, 20, 24), 0.5)}, "labels must hold whole numbers"),
        ({"images": np.zeros((20, 24))}, "images must have shape"),
        ({"names": ["one"]}, "names must name all 3"),
        ({"rule": "drop"}, "rule must be one of"),
        ({"percentiles": [99, 95]}, "percentiles must rise"),
        ({"percentiles": [-1]}, "0-100"),
    ],
)
def test_bad_input_becomes_a_message(changes, message):
    shown = bad(**changes)
    assert message in shown.message
    assert message in repr(shown)
    with pytest.raises(ValueError, match="nothing to write"):
        shown.to_html("never.html")


def test_constant_entropy_marks_nothing():
    shown = bad(probs=np.full((3, 4, 20, 24), 0.25))
    assert shown.message is None
    blocks = unpacked(scrubber.Packed(shown._header, shown._payload))[1][0][1]
    assert not blocks["batch"].any()
    assert not blocks["image_scope"].any()


def test_a_missing_run_becomes_a_message(tmp_path):
    assert "is not a run folder" in scrubber.run_scrubber(tmp_path / "none").message


def test_an_unknown_lesson_becomes_a_message(source):
    assert "lesson must be one of" in scrubber.lesson_scrubber("no such row", source).message


# The file


def test_the_page_is_one_file_that_loads_nothing(tmp_path):
    shown = scrubber.Scrubber(pack(make_sides()))
    shown.to_html(tmp_path / "page.html", title="A <title>", note="Phantom & more")
    text = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|src=|href=|@import|url\(", text)
    assert "A &lt;title&gt;" in text
    header = re.search(r'id="header">(.*?)</script>', text, re.S)[1]
    assert "<" not in header
    assert json.loads(header) == json.loads(shown._header)


def test_a_page_is_read_back_as_it_was_written(tmp_path):
    shown = scrubber.Scrubber(pack(make_sides()))
    shown.to_html(tmp_path / "page.html", title="A </script> title")
    again = scrubber.read_page(tmp_path / "page.html")
    assert (json.loads(again._header), again._payload) == (
        json.loads(shown._header),
        shown._payload,
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "<p>no scrubber</p>",
        lambda text: text.replace('"stops"', '"steps2"').replace('"size": [3', '"size": [2'),
    ],
)
def test_another_page_is_refused(tmp_path, spoil):
    scrubber.Scrubber(pack(make_sides())).to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    (tmp_path / "page.html").write_text(spoil(text))
    with pytest.raises(ValueError, match="not a page of|must fill its pictures"):
        scrubber.read_page(tmp_path / "page.html")


# Without a kernel


def test_a_notebook_keeps_a_picture_beside_the_scrubber():
    shown = scrubber.Scrubber(pack(make_sides()))
    data, metadata = shown._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.shape[1] == pytest.approx(1.5 * metadata["image/png"]["width"], abs=2)
    assert data["text/plain"] == "Threshold scrubber: run this cell to move its sliders"
    assert shown._repr_mimebundle_()[0]["image/png"] == data["image/png"]  # repeatable


def test_the_picture_shows_where_the_scrubber_starts():
    sides = make_sides()
    figure = picture(pack(sides))
    panels = {axes.get_title(): axes.images[0].get_array() for axes in figure.axes if axes.images}
    mask = uncertain_mask(sides[0].entropy(1), 95)
    index = int(mask.sum((1, 2)).argmax())
    error = sides[0].pseudo_label(1) != sides[0].labels
    blue = (panels["uncertain, percentile 95"] == [0, 0x72, 0xB2]).all(-1)
    yellow = (panels["uncertain, percentile 95"] == [0xF0, 0xE4, 0x42]).all(-1)
    assert np.array_equal(blue | yellow, mask[index].numpy())
    assert np.array_equal(yellow, mask[index].numpy() & error[index])
    (text,) = [found.get_text() for found in figure.texts]
    precision = (mask.numpy() & error).sum() / mask.sum().item()
    assert f"{100 * precision:.1f} % of them are wrong" in text


def test_a_side_without_labels_has_a_picture_too():
    figure = picture(pack([replace(make_side("crl"), labels=None)]))
    assert [axes.get_title() for axes in figure.axes][2] == "entropy, 0 to 1.39 nats"


def test_a_message_has_words_and_no_picture():
    data, _ = bad(rule="drop")._repr_mimebundle_()
    assert "image/png" not in data
    assert "rule must be one of" in data["text/plain"]


def test_the_output_says_what_to_do_without_an_address():
    said = repr(scrubber.Scrubber(pack(make_sides())))
    assert said == "Threshold scrubber: run this cell to move its sliders"


def test_packing_is_repeatable():
    assert pack(make_sides()) == pack(make_sides())


# Snapshots of a run


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("BUARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(PRESETS, "lesson", PRESET)
    original = lessons.lesson_row

    def two(name, source):
        return replace(original(name, source), labeled=2)

    for module in (lessons, moments, snapshots):
        monkeypatch.setattr(module, "lesson_row", two)
    return Acdc(write_tiny(tmp_path / "data"))


def test_a_lesson_is_recorded_once_and_ends_where_its_training_ends(source, monkeypatch):
    sides = snapshots.sides_of_lesson("BCP + URL + CRL", source)
    assert [side.rule for side in sides] == ["url", "crl"]
    assert re.fullmatch(r"self-training, step (\d+) of \1", sides[0].steps[-1])
    assert len(set(sides[0].steps)) == len(sides[0].steps) >= 4
    with monkeypatch.context() as patch:
        patch.setattr(moments, "fit", None)  # not trained again
        again = snapshots.sides_of_lesson("BCP + URL + CRL", source)
    assert np.array_equal(sides[1].probs, again[1].probs)
    (kept,) = (lessons.cache_root() / "snapshots").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:500])  # damaged: recorded anew
    again = snapshots.sides_of_lesson("BCP + URL + CRL", source)
    assert np.array_equal(sides[1].probs, again[1].probs)
    row = snapshots.lesson_row("BCP + URL + CRL", source)
    folder = lessons.cache_root() / "trained" / lessons.fingerprint(row, source)
    lessons.trained(row, source)
    for side, ended in zip(sides, snapshots.sides_of_run(folder, source.root), strict=True):
        assert ended.steps == ["pre-training, end", "self-training, end"]
        assert np.allclose(side.probs[-1], ended.probs[-1], atol=1e-5)
        assert not np.array_equal(ended.probs[0], ended.probs[1])
    shown = scrubber.run_scrubber(folder, source.root)
    header = json.loads(shown._header)
    assert [side["size"][0] for side in header["sides"]] == [4, 4]
    assert len(header["steps"]) == 2


def test_the_door_names_the_scrubber():
    code = "from buarl import widgets; print(widgets.scrubber, widgets.Scrubber)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_probs_may_be_torch_tensors():
    side = make_side()
    shown = scrubber.scrubber(side.images, None, torch.from_numpy(side.probs))
    assert shown.message is None
