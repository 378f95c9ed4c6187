"""The page of `make app` in a real browser: at once, no code, no error, no network, no kernel left."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import time
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
from browser import PATIENCE, Tab, browser, leave, new_tab, server, wait_until  # noqa: F401 (fixtures)

pytest.importorskip("voila")
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "app" / "explorers.ipynb"
TABS = ["Threshold", "Regions and losses", "Copy-paste", "Cases", "Metrics"]


def make_app(**instead: str) -> list[str]:
    """The options `make app` gives to Voila, all but the port; some with another value."""
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^app:.*?\n((?:\t.*\n)+)", makefile, re.M)[1].replace("\\\n", " ")
    line = next(line for line in recipe.splitlines() if "app/explorers.ipynb" in line)
    words = shlex.split(line.replace("$(CURDIR)", str(ROOT)))
    assert f"JUPYTER_PATH={ROOT}/app/jupyter" in words
    options = words[words.index("app/explorers.ipynb") + 1 :]
    kept = [word for word in options if not word.startswith("--port=")]
    for name, value in instead.items():
        (index,) = [i for i, word in enumerate(kept) if word.split("=")[0].endswith(f".{name}")]
        kept[index] = f"{kept[index].split('=')[0]}={value}"
    return [*kept, "--Voila.ip=127.0.0.1"]


@pytest.fixture(scope="module")
def _template():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(ROOT / "app" / "jupyter"))
        yield


def kernels() -> list[psutil.Process]:
    """Kernels of the servers that these tests have started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "ipykernel_launcher" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def test_make_app_serves_this_notebook_without_code():
    options = make_app()
    assert "--strip_sources=True" in options
    assert "--template=buarl" in options
    assert any("cull_idle_timeout" in option for option in options)


def test_the_notebook_is_canonical_and_carries_no_output():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    shown = [cell.source for cell in notebook.cells[-4:]]  # the pages of the template, in order
    assert shown == [f'places["{title}"]' for title in TABS[1:]]


# A page of little weight in the same template: what becomes of its kernels


@pytest.fixture(scope="module")
def small(_template, tmp_path_factory):
    """The address of an app whose notebook imports nothing; it culls after 15 seconds."""
    folder = tmp_path_factory.mktemp("small")
    code = nbformat.v4.new_code_cell("from IPython.display import HTML\nHTML('<b>ready</b>')")
    notebook = nbformat.v4.new_notebook(cells=[code])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "small.ipynb")
    page = Path("figures", "threshold_scrubber.html")
    (folder / page).parent.mkdir()
    shutil.copy(ROOT / page, folder / page)
    options = make_app(root_dir=str(folder), cull_idle_timeout="15", cull_interval="1")
    command = ("voila", str(folder / "small.ipynb"), *options)
    with server(command, folder, probe="/voila/static/voila.js") as address:
        yield address


def test_five_views_leave_no_kernel(small, browser):  # noqa: F811
    with new_tab(browser) as tab:
        for _ in range(5):
            tab.page.goto(small)
            tab.page.get_by_role("tab", name="Regions").click()
            tab.page.get_by_text("ready").wait_for()
            assert len(kernels()) <= 2  # the one before may still be ending
        leave(tab.page)
        wait_until(lambda: not kernels(), "the last kernel to end")
        assert tab.errors == []


def test_a_page_that_is_left_early_or_lost_leaves_no_kernel(small, browser):  # noqa: F811
    with new_tab(browser) as tab:
        tab.page.goto(small, wait_until="commit")
        tab.page.locator("#jupyter-config-data").wait_for(state="attached")
        leave(tab.page)
    with urllib.request.urlopen(small) as reply:  # a browser that crashed says no goodbye
        assert b"ready" in reply.read()
    wait_until(lambda: not kernels(), "all kernels to end")


# The page itself


@pytest.fixture(scope="module")
def app(_template, browser, tmp_path_factory) -> Tab:  # noqa: F811
    """The open page, all widgets there. One for all tests: it takes a kernel to make one."""
    folder = tmp_path_factory.mktemp("voila")
    command = ("voila", os.fspath(NOTEBOOK), *make_app())
    with (
        server(command, folder, probe="/voila/static/voila.js") as address,
        new_tab(browser) as tab,
    ):
        started = time.monotonic()
        tab.page.goto(address, wait_until="commit")
        tab.page.frame_locator("iframe").locator("td[data-value]").first.wait_for()
        tab.first_sight = time.monotonic() - started
        tab.kernels_at_first_sight = len(kernels())
        tab.page.locator("#page-4 canvas").wait_for(state="attached", timeout=2 * PATIENCE * 1000)
        tab.all_there = time.monotonic() - started
        yield tab


def open_page(tab: Tab, title: str):
    tab.page.get_by_role("tab", name=title).click()
    shown = tab.page.get_by_role("tabpanel", name=title)
    shown.wait_for()
    return shown


def pixels(shown) -> str:
    """All pixels of the pictures on show."""
    return shown.evaluate("p => [...p.querySelectorAll('canvas')].map((c) => c.toDataURL()).join()")


def test_the_scrubber_is_there_before_python_is(app):
    assert app.first_sight < app.all_there
    assert app.first_sight < 15  # seconds, on a busy machine; no training, no import


def test_the_page_has_a_title_and_no_code(app):
    assert app.page.title() == "buarl: see it move"
    assert app.page.locator("h1:visible").inner_text().startswith("buarl: see it move")
    titles = app.page.get_by_role("tab").all_inner_texts()
    assert [title.strip() for title in titles] == TABS
    body = app.page.locator("body").inner_text()
    assert "Python is starting" not in body
    assert not re.search(r"\bimport |open_source|In \[|Traceback", body)
    assert app.page.locator(".jp-InputArea-editor, .highlight, .cm-editor").count() == 0


def test_the_scrubber_moves_without_a_kernel(app):
    open_page(app, "Threshold")
    frame = app.page.frame_locator("iframe")
    threshold = frame.locator("b[data-key=threshold]")
    before = threshold.inner_text()
    frame.get_by_role("slider", name="percentile").press("ArrowLeft")
    assert threshold.inner_text() != before


@pytest.mark.parametrize(
    ("title", "slider", "text"),
    [
        ("Regions and losses", "percentile, Labeled term", "url at 96"),
        ("Copy-paste", "row", "at row 22"),
        ("Cases", "slice", "slice {} of"),  # after the one with most errors
        ("Metrics", "column, Stray blob", "ASSD"),
    ],
)
def test_a_slider_changes_pictures_and_read_outs(app, title, slider, text):
    shown = open_page(app, title)
    readout = shown.locator(".readout")
    before, words = pixels(shown), readout.inner_text()
    if "{}" in text:
        text = text.format(int(re.search(r"slice (\d+) of", words)[1]) + 1)
    control = shown.get_by_role("slider", name=slider)
    control.press("ArrowRight")
    wait_until(lambda: readout.inner_text() != words, "other read-outs")
    assert text in readout.inner_text()
    wait_until(lambda: pixels(shown) != before, "other pictures")
    control.press("ArrowLeft")
    wait_until(lambda: pixels(shown) == before, "the first pictures again")


def test_a_slider_that_is_dragged_fast_ends_where_the_hand_left_it(app):
    shown = open_page(app, "Copy-paste")
    slider = shown.get_by_role("slider", name="row")
    for _ in range(8):
        slider.press("ArrowRight")
    value = slider.input_value()
    wait_until(lambda: f"at row {value}," in shown.locator(".readout").inner_text(), "the answer")
    assert slider.input_value() == value
    slider.press("Home")
    wait_until(lambda: "at row 0," in shown.locator(".readout").inner_text(), "the answer")


def test_choosing_a_case_shows_it(app):
    shown = open_page(app, "Cases")
    readout = shown.locator(".readout")
    words = readout.inner_text()
    options = shown.get_by_role("listbox")
    options.focus()
    options.press("ArrowDown")
    wait_until(lambda: readout.inner_text() != words, "another case")
    chosen = options.evaluate("s => s.options[s.selectedIndex].text").split()[1]
    assert readout.inner_text().startswith(f"{chosen}, slice ")


def test_arrow_keys_turn_the_pages(app):
    open_page(app, "Threshold")
    app.page.get_by_role("tab", name="Threshold").press("ArrowLeft")
    assert app.page.get_by_role("tab", selected=True).inner_text() == "Metrics"
    assert app.page.get_by_role("tabpanel", name="Metrics").is_visible()
    assert not app.page.locator("#page-0").is_visible()


def test_the_page_follows_the_reader_into_the_dark(app):
    shown = open_page(app, "Regions and losses")
    ground = "p => getComputedStyle(p.querySelector('.buarl')).backgroundColor"
    assert shown.evaluate(ground) == "rgb(255, 255, 255)"
    app.page.emulate_media(color_scheme="dark")
    wait_until(lambda: shown.evaluate(ground) != "rgb(255, 255, 255)", "darkness")
    levels = re.findall(r"\d+", shown.evaluate(ground))
    assert max(map(int, levels[:3])) < 40
    app.page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("title", TABS)
def test_every_page_fits_a_laptop(app, title):
    open_page(app, title)
    width, height = app.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert width <= 1280
    assert height <= 720


@pytest.mark.parametrize("title", TABS)
def test_every_page_fits_a_phone(app, title):
    app.page.set_viewport_size({"width": 320, "height": 640})
    open_page(app, title)
    width = app.page.evaluate("document.documentElement.scrollWidth")
    app.page.set_viewport_size({"width": 1280, "height": 720})
    assert width <= 320


def test_nothing_went_wrong_and_no_network_was_asked(app):
    assert app.errors == []
    assert app.refused == []


def test_closing_the_page_ends_its_kernel(app):
    """Last: the page is gone afterwards."""
    (kernel,) = kernels()
    assert kernel.memory_info().rss < 1e9
    leave(app.page)
    wait_until(lambda: not kernels(), "the kernel to end")
