"""Explorers on a page compute what their NumPy twins compute, wherever their controls stand."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch

from buarl.dice import DICE_BCP_LA, DICE_SSL4MIS
from buarl.widgets.explorer_page import metric_data, region_data, write_explorer_page
from buarl.widgets.explorers.definitions import Blob
from buarl.widgets.explorers.metrics import metric_explorer
from buarl.widgets.explorers.region_terms import Term
from buarl.widgets.explorers.regions import region_explorer

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
SET = """(moves) => {
  const sections = explorer._controls.sections.flatMap((section) => section.controls);
  const inputs = [...document.querySelectorAll(".controls input, .controls select")];
  for (const [name, value] of Object.entries(moves)) {
    const input = inputs[sections.findIndex((control) => control.name === name)];
    if (input.type === "checkbox") input.checked = value;
    else if (input.tagName === "SELECT") input.selectedIndex = value;
    else input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  }
  const { _shown, _pixels } = explorer;
  return { shown: JSON.parse(JSON.stringify(_shown)), pixels: [..._pixels] };
}"""


@pytest.fixture(scope="module")
def masks():
    row, column = np.mgrid[:40, :48]
    label = ((row - 20) ** 2 + (column - 16) ** 2 < 81).astype(np.int64)
    label[18:30, 30:40] = 2
    random = np.random.default_rng(0)
    return label, np.roll(label, 2, axis=0), random.random((40, 48))


@pytest.fixture(scope="module")
def terms():
    generator = torch.Generator().manual_seed(0)

    def term(sharp: float) -> Term:
        image = torch.rand(2, 24, 28, generator=generator)
        logits = sharp * torch.randn(2, 4, 24, 28, generator=generator)
        target = torch.randint(4, (2, 24, 28), generator=generator)
        return Term(image, target, logits, logits.softmax(1))

    return term(2.0), term(3.0)


@pytest.fixture
def opened(tab, tmp_path):
    """Open an explorer's page without any network."""

    def open_it(explorer, data):
        path = tmp_path / "page.html"
        write_explorer_page(path, explorer, data, "Explorer", "made by a test")
        tab.page.context.set_offline(True)
        tab.page.goto(path.as_uri())
        tab.page.wait_for_selector(".buarl-explorer canvas")
        return tab.page

    yield open_it
    assert tab.errors == [] == tab.refused


def same(page, twin, tolerance=0.0):
    """Texts are equal but for numbers, which may differ in their last digit by `tolerance`."""
    assert page.keys() == twin.keys()
    for key in page:
        if key == "chart":
            continue
        ours, theirs = str(page[key]), str(twin[key])
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs), key
        for a, b in zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True):
            assert abs(float(a) - float(b)) <= tolerance + 1e-12, (key, a, b)


def plain(shown):
    """As JSON has it, without the text for readers of a notebook without a kernel."""
    return json.loads(json.dumps({key: value for key, value in shown.items() if key != "text"}))


METRIC_MOVES = [
    {},
    {"radius": 3, "row": 5, "column": 40},
    {"structure": 0, "row_mm": 3.25, "column_mm": 0.5},
    {"empty_prediction": True},
    {"empty": 1},
    {"empty": 2, "empty_label": True},
    {"empty": 0, "empty_prediction": False},
    {"empty_label": False, "radius": 0},
]


def test_the_metric_explorer_moves_as_its_twin(opened, masks):
    label, prediction, image = masks
    names = ("background", "round", "square")
    explorer = metric_explorer(label, prediction, image, names, Blob(8, 8, 2))
    page = opened(explorer, metric_data(label, prediction, image, names))
    for moves in METRIC_MOVES:
        found = page.evaluate(SET, moves)
        for name, value in moves.items():
            explorer.controls[name].move(value)
        same(found["shown"], plain(explorer._shown))
        assert bytes(found["pixels"]) == explorer.pixels
        ours, theirs = found["shown"]["chart"], plain(explorer._shown)["chart"]
        assert [c["name"] for c in ours["curves"]] == [c["name"] for c in theirs["curves"]]
        for a, b in zip(ours["curves"], theirs["curves"], strict=True):
            assert (a["style"], a["color"]) == (b["style"], b["color"])
            np.testing.assert_allclose(a["points"] or 0, b["points"] or 0, atol=1e-9)
        for axis in ("xticks", "yticks"):
            assert [t[1] for t in ours[axis]] == [t[1] for t in theirs[axis]]


REGION_MOVES = [
    {},
    {"labeled percentile": 2, "labeled alpha": 0.2},
    {"labeled reduction": 1, "unlabeled reduction": 1, "weight": 0.35},
    {"unlabeled rule": "drop", "image": 2},
    {"labeled rule": "whole"},
    {"labeled rule": "crl", "unlabeled rule": "url", "unlabeled percentile": 0},
    {"unlabeled percentile": 15},
]


def test_the_region_explorer_moves_as_its_twin(opened, terms):
    explorer = region_explorer(*terms, dice=DICE_SSL4MIS)
    page = opened(explorer, region_data(*terms, DICE_SSL4MIS))
    for moves in REGION_MOVES:
        places = {
            name: [text for text, _ in explorer.controls[name]._pairs()].index(value)
            if isinstance(value, str)
            else value
            for name, value in moves.items()
        }
        found = page.evaluate(SET, places)
        for name, value in places.items():
            explorer.controls[name].move(value)
        same(found["shown"], plain(explorer._shown), tolerance=1.01e-3)
        assert bytes(found["pixels"]) == explorer.pixels


def test_a_drag_changes_pixels_and_the_keyboard_does_too(opened, masks):
    label, prediction, image = masks
    explorer = metric_explorer(label, prediction, image, ("background", "a", "b"), Blob(8, 8, 3))
    page = opened(explorer, metric_data(label, prediction, image, ("background", "a", "b")))
    before = page.evaluate("[...explorer._pixels]")
    slider = page.get_by_label("column, Stray blob, in pixels")
    slider.focus()
    page.keyboard.press("End")
    after = page.evaluate("[...explorer._pixels]")
    assert before != after


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_screen(browser, tmp_path, terms, width, scheme):
    from browser import new_tab

    path = tmp_path / "page.html"
    explorer = region_explorer(*terms)
    write_explorer_page(path, explorer, region_data(*terms, DICE_SSL4MIS), "Explorer", "")
    with new_tab(browser, width, 720, color_scheme=scheme) as tab:
        tab.page.goto(path.as_uri())
        tab.page.wait_for_selector(".buarl-explorer canvas")
        assert tab.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(map(float, NUMBER.findall(ground)[:3])) < 3 * 128
        assert dark == (scheme == "dark")
        assert tab.errors == [] == tab.refused


def test_another_dice_and_volumes_are_refused(terms):
    with pytest.raises(ValueError, match="squared Dice over the batch"):
        region_data(*terms, DICE_BCP_LA)
    volumes = [Term(*(t.unsqueeze(-1) for t in term)) for term in terms]
    with pytest.raises(ValueError, match=r"slices \(B, H, W\)"):
        region_data(*volumes, DICE_SSL4MIS)
    assert math.isclose(region_data(*terms, DICE_SSL4MIS)["dice"]["smooth"], 1e-5)
