"""The scrubber in a real browser: marks what the library marks, and survives what notebooks do."""

from __future__ import annotations

import io

import matplotlib.image
import nbformat
import numpy as np
import pytest
from browser import PATIENCE, wait_until
from scrubbed import make_side, make_sides

from buarl.entropy import uncertain_mask
from buarl.widgets.scrub_pack import PERCENTILES, SCOPES, pack
from buarl.widgets.scrub_readings import readings

scrubber = pytest.importorskip("buarl.widgets.scrub", exc_type=ImportError)

STATE = """(root) => {
  const canvas = root.querySelector("canvas[data-view=uncertain]");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const marked = [];  // 0 grey, 1 blue: uncertain, 2 yellow: uncertain and wrong
  for (let i = 0; i < data.length; i += 4)
    marked.push(data[i] === data[i + 1] && data[i] === data[i + 2] ? 0 : data[i] ? 2 : 1);
  const cells = root.querySelectorAll("[data-key][data-value]");
  return { marked, numbers: Object.fromEntries([...cells].map((c) => [c.dataset.key, c.dataset.value])),
           note: root.querySelector(".note").textContent };
}"""
MOVE = """(root, [key, value]) => {
  let input = root.querySelector(`input[type=range][data-key=${key}]`);
  if (input) input.value = value;
  else (input = root.querySelector(`input[data-key=${key}][value="${value}"]`)).checked = true;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}"""
ALL_STOPS = f"""(root, [stops, fixed]) => {{
  const move = {MOVE}, state = {STATE};
  for (const pair of fixed) move(root, pair);
  return stops.map((stop) => (move(root, ["stop", stop]), state(root)));
}}"""


@pytest.fixture(scope="module")
def sides():
    return make_sides()


@pytest.fixture
def page(tab, sides, tmp_path):
    """The self-contained file of both sides, opened without any network."""
    scrubber.Scrubber(pack(sides)).to_html(tmp_path / "page.html")
    tab.page.context.set_offline(True)
    tab.page.goto((tmp_path / "page.html").as_uri())
    tab.page.wait_for_selector("td[data-value]")
    yield tab.page
    assert tab.errors == [] == tab.refused


def begin(side):
    """The slice shown first: the one with most marks at the paper's percentile."""
    mask = uncertain_mask(side.entropy(1), {"url": 95, "crl": 99}[side.rule])
    return int(mask.sum((1, 2)).argmax())


def root_of(page):
    return page.locator(".buarl-scrubber")


def expected_marks(side, step, index, percentile, scope):
    mask = uncertain_mask(side.entropy(step), percentile, scope)[index].numpy()
    if side.labels is None:
        return mask.astype(int).ravel()
    wrong = side.pseudo_label(step)[index] != side.labels[index]
    return (mask * (1 + wrong)).ravel()


def assert_state(state, side, step, index, percentile, alpha, scope):
    assert np.array_equal(state["marked"], expected_marks(side, step, index, percentile, scope))
    for key, value in readings(side, step, index, percentile, alpha, scope).items():
        shown = state["numbers"][key]
        assert shown == "null" if value is None else float(shown) == pytest.approx(value), key


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("which", [0, 1])
def test_every_stop_marks_and_reads_what_the_library_computes(page, sides, which, scope):
    side = sides[which]
    for step in range(2):
        for index in range(3):
            alpha = 0.25 + 0.25 * index
            fixed = [["side", which], ["scope", scope], ["step", step]]
            fixed += [["slice", index], ["alpha", alpha]]
            states = root_of(page).evaluate(ALL_STOPS, [list(range(len(PERCENTILES))), fixed])
            assert len(states) == len(PERCENTILES)
            for percentile, state in zip(PERCENTILES, states, strict=True):
                assert_state(state, side, step, index, percentile, alpha, scope)


def test_mouse_and_keys_move_it(page, sides):
    root = root_of(page)
    first = root.evaluate(STATE)
    assert_state(first, sides[0], 1, begin(sides[0]), 95, 0.5, "batch")
    slider = page.get_by_role("slider", name="percentile")
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, middle, steps=5)
    page.mouse.up()
    dragged = root.evaluate(STATE)
    assert_state(dragged, sides[0], 1, begin(sides[0]), PERCENTILES[0], 0.5, "batch")
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    assert_state(root.evaluate(STATE), sides[0], 1, begin(sides[0]), PERCENTILES[2], 0.5, "batch")
    assert slider.get_attribute("aria-valuetext").startswith("60; ")
    page.get_by_role("slider", name="alpha").press("Home")
    assert_state(root.evaluate(STATE), sides[0], 1, begin(sides[0]), PERCENTILES[2], 0.0, "batch")
    page.get_by_role("radio", name="unlabeled, CRL").check()
    page.get_by_role("radio", name="per image").check()
    page.get_by_role("slider", name="training").press("ArrowLeft")
    page.get_by_role("slider", name="slice").press("End")
    last = root.evaluate(STATE)
    assert_state(last, sides[1], 0, 2, 99, 0.0, "image")  # the paper's percentile of CRL
    assert "The label of this slice is empty." in last["note"]
    assert page.locator(".views figcaption").first.text_content() == "crl slice <2>"


def test_every_view_is_painted_and_named(page):
    for canvas in page.locator("canvas").all():
        colours = "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
        assert canvas.evaluate(colours) >= 2
        assert canvas.get_attribute("aria-label")
    for control in page.locator("input").all():
        assert control.evaluate("input => input.labels.length") == 1


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ((np.zeros((1, 8, 8)), None, np.full((1, 2, 8, 8), 0.5)), "Nothing is marked"),
        ((np.zeros((1, 8, 8)), None, np.full((1, 2, 8, 8), 0.5)), "No label was given"),
        ((np.zeros((1, 8, 8)), np.zeros((1, 8, 8), int), np.full((1, 2, 8, 8), 0.5)), "is empty"),
        ((np.zeros((1, 8, 8)), None, np.full((1, 2, 8, 8), np.nan)), "probs hold NaN"),
    ],
)
def test_hard_input_is_told_in_the_widget(tab, tmp_path, arrays, text):
    shown = scrubber.scrubber(*arrays)
    path = tmp_path / "page.html"
    scrubber.write_page(path, scrubber.Packed(shown._header, shown._payload), "title")
    tab.page.goto(path.as_uri())
    message = tab.page.locator(".note, .message")
    message.wait_for()
    assert text in wait_until(message.text_content, "the message")
    assert tab.errors == []


def test_a_volume_scrubs_through_its_slices(tab, tmp_path):
    side = make_side("crl", spatial=(8, 6, 5))
    scrubber.Scrubber(pack([side])).to_html(tmp_path / "page.html")
    tab.page.goto((tmp_path / "page.html").as_uri())
    tab.page.wait_for_selector("td[data-value]")
    found = root_of(tab.page).evaluate(ALL_STOPS, [[9], [["slice", 7], ["scope", "image"]]])[0]
    mask = uncertain_mask(side.entropy(1), PERCENTILES[9], "image")[1, :, :, 2].numpy()
    assert np.array_equal(np.array(found["marked"]) > 0, mask.ravel())
    value = readings(side, 1, 7, PERCENTILES[9], 0.5, "image")["recall"]
    assert float(found["numbers"]["recall"]) == pytest.approx(value)
    assert tab.errors == []


# JupyterLab

CELL = """import sys
sys.path.insert(0, {tests!r})
from scrubbed import make_sides
from buarl.widgets.scrub_pack import pack
from buarl.widgets import Scrubber
first, second = Scrubber(pack(make_sides())), Scrubber(pack(make_sides()[1:]))
"""


@pytest.fixture
def notebook(tab, lab, request):
    """A notebook in JupyterLab, run: two scrubbers at its top, long text below."""
    address, folder = lab
    cells = [
        nbformat.v4.new_code_cell(CELL.format(tests=str(request.path.parent))),
        nbformat.v4.new_code_cell("first"),
        nbformat.v4.new_code_cell("second"),
        *(nbformat.v4.new_markdown_cell("\n\n".join(["text"] * 30)) for _ in range(12)),
    ]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "scrub.ipynb")
    page = tab.page
    page.goto(f"{address}/lab/tree/scrub.ipynb")
    page.locator(".jp-Notebook").wait_for()
    page.wait_for_function(
        "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.locator(".buarl-scrubber:has(td[data-value])").nth(1).wait_for(state="attached")
    yield page
    assert tab.errors == [] == tab.refused


def test_at_1280_with_a_sidebar_it_stands_side_by_side_in_sight(notebook, tmp_path):
    """JupyterLab as it opens: sidebar, toolbars; then its dark theme."""
    notebook.locator(".jp-FileBrowser").wait_for()
    root = notebook.locator(".buarl-scrubber").first
    root.locator(".views").hover()
    found = root.evaluate(
        """(root) => { const box = (s) => root.querySelector(s).getBoundingClientRect();
        return { controls: box(".controls").right, views: box(".views").left, picture: box("canvas").width,
                 height: root.getBoundingClientRect().height,
                 sight: document.querySelector(".jp-WindowedPanel-outer").clientHeight }; }"""
    )
    print(found)
    assert found["controls"] < found["views"]
    assert found["height"] <= found["sight"]
    assert found["picture"] >= 150
    themes = "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab %s'})"
    notebook.evaluate(themes % "Dark")
    wait_until(lambda: root.evaluate("r => getComputedStyle(r).colorScheme") == "dark", "darkness")
    chosen, other = (root.get_by_role("radio", name=n) for n in ("labeled, URL", "unlabeled, CRL"))
    wait_until(  # a control takes a moment to be painted in the new scheme
        lambda: brightness(chosen) > brightness(other) + 30, "the chosen one to stand out"
    )
    notebook.evaluate(themes % "Light")
    wait_until(lambda: root.evaluate("r => getComputedStyle(r).colorScheme") == "light", "light")


def brightness(control) -> float:
    """0-255, of the middle of a control as it is painted."""
    picture = matplotlib.image.imread(io.BytesIO(control.screenshot()))
    height, width = picture.shape[:2]
    middle = picture[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1, :3]
    return 255 * float(middle.mean())


def scroll(page, end):
    """To the last cell or back to the first, and wait until it is there."""
    index = "0" if end == "top" else "notebook.widgets.length - 1"
    page.evaluate(
        f"""async () => {{ const notebook = window.jupyterapp.shell.currentWidget.content;
        await notebook.scrollToItem({index}, "start"); }}"""
    )


def test_in_jupyterlab_it_moves_stays_painted_and_outlives_its_kernel(notebook, sides):
    first, second = (notebook.locator(".buarl-scrubber").nth(i) for i in (0, 1))
    before = second.evaluate(STATE)
    assert_state(before, sides[1], 1, begin(sides[1]), 99, 0.5, "batch")
    slider = first.get_by_role("slider", name="percentile")
    slider.hover()  # waits until the page has stopped moving
    box = slider.bounding_box()
    notebook.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    notebook.mouse.down()
    notebook.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2, steps=4)
    notebook.mouse.up()
    assert_state(first.evaluate(STATE), sides[0], 1, begin(sides[0]), PERCENTILES[0], 0.5, "batch")
    for _ in range(3):
        slider.press("ArrowUp")  # JupyterLab would select another cell
    moved = first.evaluate(STATE)
    assert_state(moved, sides[0], 1, begin(sides[0]), PERCENTILES[3], 0.5, "batch")
    assert second.evaluate(STATE) == before  # two widgets do not interfere

    scroll(notebook, "bottom")
    wait_until(lambda: not in_sight(notebook), "the scrubber to leave the screen")
    scroll(notebook, "top")
    wait_until(lambda: in_sight(notebook), "the scrubber to come back")
    first = notebook.locator(".buarl-scrubber").first
    assert first.evaluate(STATE) == moved  # painted, and where it was left

    started = notebook.evaluate(KERNEL + ".id")
    notebook.evaluate(KERNEL + ".restart()")
    notebook.wait_for_function(KERNEL + ".status === 'idle'", timeout=PATIENCE * 1000)
    assert notebook.evaluate(KERNEL + ".id") == started
    first.get_by_role("slider", name="percentile").press("End")
    assert_state(first.evaluate(STATE), sides[0], 1, begin(sides[0]), PERCENTILES[-1], 0.5, "batch")


KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"


def in_sight(page) -> bool:
    return page.evaluate(
        """() => [...document.querySelectorAll(".buarl-scrubber")].some((el) => {
        const box = el.getBoundingClientRect();
        return box.height > 0 && box.bottom > 120 && box.top < innerHeight; })"""
    )
