"""The page of `make app` in a real browser: no code, no error, no network, and its sliders work."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from browser import PATIENCE, Tab, browser, new_tab, server, wait_until  # noqa: F401 (fixtures)

import buarl
from buarl.lessons.trained import lesson_row, trained
from buarl.widgets.scrub import lesson_scrubber

pytest.importorskip("voila")
ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "app" / "explorers.ipynb"
TABS = ["Threshold", "Regions and losses", "Copy-paste", "Cases", "Metrics"]


def test_make_app_serves_this_notebook_without_code():
    makefile = (ROOT / "Makefile").read_text()
    command = next(line for line in makefile.splitlines() if "app/explorers.ipynb" in line)
    assert "--strip_sources=True" in command
    assert "--template=buarl" in command
    assert 'JUPYTER_PATH="$(CURDIR)/app/jupyter"' in command


def test_the_notebook_is_canonical_and_carries_no_output():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def app(browser, tmp_path_factory) -> Tab:  # noqa: F811
    """The open page, all widgets there. One for all tests: it takes a kernel to make one."""
    source = buarl.open_source("phantom")
    name = "BCP + URL + CRL"
    trained(lesson_row(name, source), source)  # into the cache, before anything waits for it
    lesson_scrubber(name, source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(ROOT / "app" / "jupyter"))
        options = (
            "--no-browser",
            "--template=buarl",
            "--strip_sources=True",
            "--Voila.ip=127.0.0.1",
        )
        folder = tmp_path_factory.mktemp("voila")
        command = ("voila", os.fspath(NOTEBOOK), *options)
        with (
            server(command, folder, probe="/voila/static/voila.js") as address,
            new_tab(browser) as tab,
        ):
            tab.page.goto(address)
            tab.page.get_by_role("tab").first.wait_for(timeout=2 * PATIENCE * 1000)
            yield tab


def open_page(tab: Tab, title: str):
    tab.page.get_by_role("tab", name=title).click()
    panel = tab.page.locator(".widget-tab-contents > .lm-mod-hidden").first
    panel.wait_for(state="hidden")
    shown = tab.page.locator(".widget-tab-contents > :not(.lm-mod-hidden)")
    shown.first.wait_for()
    return shown.first


def painted(shown) -> str:
    """The address of the picture on show: a new one for every redraw; loaded, not broken."""
    image = shown.locator("img").first
    image.wait_for()
    wait_until(lambda: image.evaluate("i => i.complete && i.naturalWidth > 300"), "the picture")
    return image.get_attribute("src")


def pixels(shown) -> str:
    """All pixels of the picture on show."""
    painted(shown)
    return shown.locator("img").first.evaluate(
        """i => { const c = document.createElement("canvas");
        c.width = i.naturalWidth; c.height = i.naturalHeight;
        const g = c.getContext("2d"); g.drawImage(i, 0, 0); return c.toDataURL(); }"""
    )


def press(shown, label: str, key: str = "ArrowRight") -> None:
    """Move a slider with the keyboard."""
    name = shown.page.get_by_text(label, exact=True)
    row = shown.locator(".widget-inline-hbox").filter(has=name).first
    row.get_by_role("slider").press(key)


def test_the_page_has_a_title_and_no_code(app):
    assert app.page.title() == "buarl: see it move"
    assert app.page.locator("h1").inner_text().startswith("buarl: see it move")
    titles = app.page.get_by_role("tab").all_inner_texts()
    assert [title.strip() for title in titles] == TABS
    body = app.page.locator("body").inner_text()
    assert not re.search(r"\bimport |open_source|In \[|Traceback", body)
    assert app.page.locator(".jp-InputArea-editor, .highlight, .cm-editor").count() == 0


@pytest.mark.parametrize(
    ("title", "slider", "text"),
    [
        ("Regions and losses", "percentile", "url at 96"),
        ("Copy-paste", "row", "at row 12"),
        ("Cases", "slice", "slice {} of"),  # after the one with most errors
        ("Metrics", "column", "ASSD"),
    ],
)
def test_a_slider_changes_picture_and_read_outs(app, title, slider, text):
    shown = open_page(app, title)
    before, words = pixels(shown), shown.locator("pre").inner_text()
    if "{}" in text:
        text = text.format(int(re.search(r"slice (\d+) of", words)[1]) + 1)
    press(shown, slider)
    wait_until(lambda: shown.locator("pre").inner_text() != words, "other read-outs")
    assert text in shown.locator("pre").inner_text()
    wait_until(lambda: pixels(shown) != before, "another picture")
    press(shown, slider, "ArrowLeft")
    wait_until(lambda: pixels(shown) == before, "the first picture again")


def test_choosing_a_case_shows_it(app):
    shown = open_page(app, "Cases")
    words = shown.locator("pre").inner_text()
    options = shown.locator("select").first
    options.focus()
    options.press("ArrowDown")
    wait_until(lambda: shown.locator("pre").inner_text() != words, "another case")
    chosen = options.evaluate("s => s.options[s.selectedIndex].text").split()[1]
    assert shown.locator("pre").inner_text().startswith(f"{chosen}, slice ")


@pytest.mark.parametrize("title", TABS)
def test_every_page_fits_a_laptop(app, title):
    open_page(app, title)
    width, height = app.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert width <= 1280
    assert height <= 760  # 720 and the page's own margin


def test_nothing_went_wrong_and_no_network_was_asked(app):
    assert app.errors == []
    assert app.refused == []
