"""Scrubber and explorers on every screen: small and large, dark, forced colors, by keyboard alone.

The pages are files without kernel and network; 850 pixels are what JupyterLab with its sidebar leaves
at 1280x720.
"""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
from browser import browser, new_tab  # noqa: F401 (fixture)
from scrubbed import make_sides, write_explorer
from test_explorers import NAMES, make_term
from tiny import tiny_config, tiny_method, write_tiny

import buarl.widgets as widgets
from buarl.data.acdc import Acdc
from buarl.entropy import uncertain_mask
from buarl.widgets.explorers.live import class_overlay
from buarl.widgets.scrub_pack import pack
from buarl.widgets.scrub_picture import unpack
from buarl.widgets.static import read

SIZES = {"laptop": (850, 720), "desktop": (1920, 1080), "phone": (390, 844), "small": (320, 640)}
STYLES = [read("look.css", f"{name}.css") for name in ("scrubber", "explorer", "scrubber")]
PAGES = ("scrubber", "regions", "copy-paste", "cases", "metrics")


@pytest.fixture(scope="module")
def explorers(tmp_path_factory):
    """Small ones, with long names and numbers of many digits."""
    terms = make_term(spatial=(40, 40)), make_term(count=4, spatial=(40, 40), seed=1)
    source = Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))
    row, column = np.indices((40, 48))
    label = (row - 20) ** 2 + (column - 22) ** 2 < 12**2
    (a, b, *_), (c, d, *_) = terms
    return {
        "regions": widgets.region_explorer(*terms),
        "copy-paste": widgets.copy_paste_explorer(a, b, c, d, NAMES),
        "cases": widgets.case_browser(tiny_method("bcp"), source, tiny_config("bcp")),
        "metrics": widgets.metric_explorer(label, np.roll(label, 2, 1), blob=widgets.Blob(5, 5, 3)),
    }


@pytest.fixture(scope="module")
def addresses(explorers, tmp_path_factory):
    """Per page its file."""
    folder = tmp_path_factory.mktemp("pages")
    widgets.Scrubber(pack(make_sides())).to_html(folder / "scrubber.html", title="Scrubber")
    for name, explorer in explorers.items():
        assert explorer.message == ""
        write_explorer(explorer, folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in PAGES}


@pytest.fixture(scope="module")
def tabs(browser, addresses):  # noqa: F811
    """Opens a page in a tab that is kept: one per size and look; no page may complain."""
    made = {}

    def open_page(name, size="laptop", **look):
        key = (size, *look.items())
        if key not in made:
            made[key] = new_tab(browser, *SIZES[size], **look)
            made[key] = (made[key], made[key].__enter__())
        tab = made[key][1]
        tab.page.goto(addresses[name])
        tab.page.locator(".buarl canvas").first.wait_for()
        for style in STYLES:  # a notebook holds both kinds of widget, in any order
            tab.page.add_style_tag(content=style)
        return tab.page

    yield open_page
    for context, tab in made.values():
        assert tab.errors == [] == tab.refused
        context.__exit__(None, None, None)


def pixels(shown) -> np.ndarray:
    """(H, W, 3), 0-255, as it is painted on the screen."""
    return (255 * matplotlib.image.imread(io.BytesIO(shown.screenshot()))[..., :3]).round()


GEOMETRY = """() => {
  const root = document.querySelector(".buarl"), whole = root.getBoundingClientRect();
  const box = (selector) => root.querySelector(selector)?.getBoundingClientRect();
  const texts = [...root.querySelectorAll("figcaption, td, th, caption, span, output, p, label, legend, text, div.probe")];
  const cut = texts.filter((e) => {
    const r = e.getBoundingClientRect();
    return r.width && (r.right > whole.right + 1 || r.left < whole.left - 1 || e.scrollWidth > e.clientWidth + 1 && e.clientWidth);
  });
  const pen = document.createElement("canvas").getContext("2d");
  for (const select of root.querySelectorAll("select")) {
    pen.font = getComputedStyle(select).font;
    const widest = Math.max(...[...select.options].map((o) => pen.measureText(o.text).width));
    if (widest + 20 > select.clientWidth) cut.push(select);  // 20: the arrow
  }
  return { page: document.documentElement.scrollWidth, height: whole.height, width: whole.width,
    controls: box(".controls").right, below: box(".controls").bottom, views: box(".views").left, top: box(".views").top,
    picture: box("canvas").width, right: Math.max(...[...root.querySelectorAll("canvas, table, svg")].map((e) => e.getBoundingClientRect().right)),
    cut: cut.map((e) => e.textContent) };
}"""


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_and_nothing_flows_over(tabs, name, size):
    found = tabs(name, size).evaluate(GEOMETRY)
    assert found["page"] <= SIZES[size][0]
    assert found["cut"] == []


@pytest.mark.parametrize("name", PAGES)
def test_on_a_laptop_controls_and_pictures_stand_side_by_side_in_sight(tabs, name):
    found = tabs(name, "laptop").evaluate(GEOMETRY)
    assert found["controls"] < found["views"]
    assert found["height"] <= 599  # JupyterLab's cells at 1280x720


@pytest.mark.parametrize("name", PAGES)
def test_a_large_screen_is_used(tabs, name):
    found = tabs(name, "desktop").evaluate(GEOMETRY)
    assert found["controls"] < found["views"]
    assert found["right"] >= 0.9 * SIZES["desktop"][0]
    assert found["picture"] >= 280
    assert found["height"] <= SIZES["desktop"][1] - 100


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_pictures_stand_below_the_controls(tabs, name):
    found = tabs(name, "phone").evaluate(GEOMETRY)
    assert found["top"] > found["below"] - 1
    assert found["picture"] >= 150


@pytest.mark.parametrize("name", PAGES)
def test_in_the_dark_only_pictures_and_letters_are_bright(tabs, name):
    page = tabs(name, color_scheme="dark")
    page.add_style_tag(content="canvas { visibility: hidden; }")  # on black
    painted = pixels(page.locator(".buarl"))
    assert np.median(painted) < 40
    assert (painted.min(-1) > 200).mean() < 0.06
    assert painted.max() > 200  # and letters are there
    light = tabs(name)
    light.add_style_tag(content="canvas, .ground { visibility: hidden; }")
    assert np.median(pixels(light.locator(".buarl"))) > 240


@pytest.mark.parametrize("name", PAGES)
def test_with_forced_colors_the_legend_keeps_its_own(tabs, name):
    page = tabs(name, forced_colors="active")
    for swatch in page.locator(".legend i").all():
        wanted = swatch.evaluate("i => i.style.background.match(/\\d+/g).map(Number)")
        painted = pixels(swatch)
        middle = painted[painted.shape[0] // 2, painted.shape[1] // 2]
        assert np.abs(middle - wanted).max() <= 2


@pytest.mark.parametrize("name", PAGES)
def test_every_control_has_a_name(tabs, name):
    page = tabs(name)
    controls = page.locator("input, select, button").all()
    assert len(controls) >= 3
    names = []
    for control in controls:
        kind = control.evaluate(
            "c => c.ariaLabel || [...(c.labels ?? [])].map((l) => l.textContent).join() || c.textContent"
        )
        assert kind.strip()
        if control.get_attribute("type") == "range":
            assert control.get_attribute("aria-label")
            assert control.get_attribute("aria-valuetext")
            names.append(control.get_attribute("aria-label"))
    assert len(set(names)) == len(names)


VIEWS = ("image", "label", "pseudo", "entropy", "uncertain", "errors")


@pytest.mark.parametrize(
    ("size", "look"), [*((size, {}) for size in SIZES), ("laptop", {"color_scheme": "dark"})]
)
def test_a_key_repaints_what_the_percentile_changes(tabs, size, look):
    page = tabs("scrubber", size, **look)

    def shots():
        return {v: pixels(page.locator(f"canvas[data-view={v}]")).tobytes() for v in VIEWS}

    before, spread = shots(), pixels(page.locator(".spread"))
    slider = page.get_by_role("slider", name="percentile")
    slider.focus()
    slider.press("Home")
    after = shots()
    assert {v for v in VIEWS if before[v] != after[v]} == {"uncertain"}
    assert (pixels(page.locator(".spread")) != spread).any()  # its line has moved
    slider.press("ArrowRight")
    assert shots()["uncertain"] != after["uncertain"]


def test_the_scrubber_works_by_keyboard_alone(tabs):
    page = tabs("scrubber")
    page.locator("body").click(position={"x": 2, "y": 2})
    visited = []
    for _ in range(7):
        page.keyboard.press("Tab")
        visited.append(
            page.evaluate("document.activeElement.dataset.key ?? document.activeElement.className")
        )
    assert visited == ["stop", "alpha", "slice", "step", "side", "scope", "views"]
    page.keyboard.press("ArrowDown")  # a cross in the middle
    first = page.locator(".probe").inner_text()
    assert first.startswith("row 10, column 12: entropy ")
    page.keyboard.press("ArrowRight")
    assert page.locator(".probe").inner_text().startswith("row 10, column 13: entropy ")
    assert page.evaluate("getComputedStyle(document.querySelector('.ground i')).display") == "block"


def test_the_pointer_reads_what_the_library_computed(tabs):
    page = tabs("scrubber")
    side = make_sides()[0]
    entropy = side.entropy(1).numpy()
    index = int(uncertain_mask(side.entropy(1), 95).sum((1, 2)).argmax())  # where it starts
    box = page.locator("canvas[data-view=errors]").bounding_box()
    for row, column in ((3, 5), (19, 23), (0, 0)):
        page.mouse.move(
            box["x"] + box["width"] * (column + 0.5) / 24,
            box["y"] + box["height"] * (row + 0.5) / 20,
        )
        said = page.locator(".probe").inner_text()
        guess = int(side.probs[1, index, :, row, column].argmax())
        place = f"row {row}, column {column}: entropy "
        assert said.startswith(place)
        number = float(said.split("entropy ")[1].split(" ")[0])
        assert number == pytest.approx(entropy[index, row, column], abs=0.01)
        assert f"{side.class_names[guess]} with probability" in said
        chance = float(said.split("probability ")[1][:4])
        assert chance == pytest.approx(side.probs[1, index, guess, row, column], abs=0.01)
        truth = int(side.labels[index, row, column])
        right = "which is right" if truth == guess else f"label {side.class_names[truth]}"
        assert right in said
    page.mouse.move(2, 2)
    assert page.locator(".probe").inner_text().startswith("Point at a pixel")


def test_the_histogram_counts_the_pixels_that_share_the_threshold(tabs):
    page = tabs("scrubber")
    side = unpack(pack(make_sides()))[0]
    counts = np.bincount(side["entropy"][1].ravel() >> 2, minlength=64)
    heights = """() => { const d = document.querySelector(".spread .all").getAttribute("d");
      return [...d.matchAll(/M(\\d+) 20v-([\\d.]+)/g)].map((m) => [+m[1], +m[2]]); }"""
    found = dict(map(tuple, page.evaluate(heights)))
    assert set(found) == set(np.flatnonzero(counts).tolist())
    for bin_, height in found.items():
        wanted = 20 * np.log1p(counts[bin_]) / np.log1p(counts.max())
        assert height == pytest.approx(wanted, abs=0.01)
    place = float(page.locator(".spread line").get_attribute("x1"))
    threshold = float(page.locator("b[data-key=threshold]").get_attribute("data-value"))
    assert place == pytest.approx(64 * threshold / np.log(4))


def test_browser_and_library_paint_classes_alike(tabs):
    page = tabs("scrubber")
    side = unpack(pack(make_sides()))[0]
    index = side["head"]["slice"]
    grey = np.repeat(side["image"][0][index][..., None], 3, 2)
    for view, codes in (("label", side["label"][0]), ("pseudo", side["pseudo_label"][1])):
        data = page.locator(f"canvas[data-view={view}]").evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
        shown = np.array(data).reshape(20, 24, 4)[..., :3]
        wanted = class_overlay(grey, codes[index].astype(int)).astype(int)
        assert np.abs(shown - wanted).max() <= 1  # halves are rounded in two ways


def test_the_words_give_precision_beside_recall_and_its_ceiling(tabs):
    page = tabs("scrubber")
    values = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("td[data-key]")]
        .map((c) => [c.dataset.key, c.textContent]))"""
    )
    said = page.locator(".sentence").inner_text()
    for key in ("share_all", "precision_all", "wrong_all", "recall_all", "ceiling_all"):
        assert values[key] in said


# Explorers


def test_the_browser_paints_the_pixels_of_the_explorer(tabs, explorers):
    for name in PAGES[1:]:
        page = tabs(name)
        painted = page.evaluate(
            """() => [...document.querySelectorAll("canvas")].flatMap((c) =>
            [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 < 3))"""
        )
        assert bytes(painted) == explorers[name].pixels
        titles = page.locator(".views figcaption").all_text_contents()
        assert titles == [panel.title for panel in explorers[name].view.panels]


def test_moved_controls_are_told_to_python(tabs, explorers):
    page = tabs("metrics")
    sent = lambda: [move[:2] for move in page.evaluate("window.sent")]  # noqa: E731
    page.get_by_role("slider", name="radius").press("ArrowRight")
    assert sent() == [["radius", 4]]
    page.get_by_role("checkbox", name="empty the prediction").check()
    assert sent()[-1] == ["empty_prediction", True]
    box = page.get_by_role("combobox", name="empty mask")
    box.select_option(index=1)
    assert sent()[-1] == ["empty", 1]
    page = tabs("copy-paste")
    page.get_by_role("button", name="Draw a box").press("Enter")
    assert page.evaluate("window.sent.at(-1).slice(0, 2)") == ["draw", 1]
    page = tabs("cases")
    page.get_by_role("combobox", name="order").select_option("best first")
    assert page.evaluate("window.sent.at(-1).slice(0, 2)") == ["order", 1]


def test_the_frame_lies_where_the_box_is(tabs, explorers):
    page = tabs("copy-paste")
    (row, column, height, width) = explorers["copy-paste"].view.panels[0].frame
    canvas = page.locator("canvas").first.bounding_box()
    frame = page.locator(".ground i").first.bounding_box()
    dot = canvas["width"] / 40
    found = [frame[k] / dot for k in ("height", "width")]
    found += [(frame["y"] - canvas["y"]) / dot, (frame["x"] - canvas["x"]) / dot]
    assert found == pytest.approx([height, width, row, column], abs=0.1)


def test_a_message_is_text_not_html(tabs, addresses, tmp_path):
    page = tabs("metrics")
    refused = widgets.case_browser(tmp_path / "<b>none<")
    write_explorer(refused, tmp_path / "refused.html")
    page.goto((tmp_path / "refused.html").as_uri())
    alert = page.get_by_role("alert")
    assert "<b>none<" in alert.inner_text()
    assert page.locator(".buarl b").count() == 0
    assert not page.locator(".frame").is_visible()
