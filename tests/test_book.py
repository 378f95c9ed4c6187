"""The book, built once: every page opens from a file with the network off, and what moves, moves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import new_tab, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
from make_book import add_buttons

ROOT = Path(__file__).resolve().parent.parent
PICTURES = "[...document.querySelectorAll('canvas')].map((c) => c.toDataURL()).join()"
LINK = re.compile(r'(?:href|src)="([^"]+)"')


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Built with every warning an error, so no link to a page or a picture is dead."""
    out = tmp_path_factory.mktemp("book") / "html"
    done = subprocess.run(
        [sys.executable, "tools/make_book.py", str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"the book: {out / 'index.html'}" in done.stdout
    return out


def pages(book):
    return sorted(p for p in book.rglob("*.html") if "_static" not in p.parts)


def test_every_lesson_and_every_document_is_a_page(book):
    for lesson in (ROOT / "notebooks").glob("*.ipynb"):
        assert (book / "notebooks" / f"{lesson.stem}.html").is_file()
    for document in (ROOT / "docs").glob("*.md"):
        assert (book / "docs" / f"{document.stem}.html").is_file()


def test_links_and_pictures_lead_somewhere_without_a_network(book):
    dead = []
    for page in pages(book):
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            place = urlsplit(link)
            if place.scheme or link.startswith(("#", "data:", "//")) or not place.path:
                continue
            listed = page.parent.name == "_modules" and place.path == "builtins.html"  # viewcode's
            if not listed and not (page.parent / unquote(place.path)).exists():
                dead.append(f"{page.relative_to(book)}: {link}")
    assert dead == []


def test_equations_stand_on_one_page_with_their_functions(book):
    text = (book / "equations.html").read_text(encoding="utf-8")
    for number in range(1, 11):
        assert f"Eq. {number}<" in text or f"Eq. {number} " in text
    assert "region_loss" in text


def test_every_page_opens_without_an_error_and_fits_its_screen(book, browser):
    """Of the pages of source code, which differ in their text alone, one in twenty."""
    sources = [page for page in pages(book) if "_modules" in page.parts]
    chosen = [page for page in pages(book) if page not in sources] + sources[::20]
    with new_tab(browser, 1280, 720) as tab:
        tab.page.context.set_offline(True)
        for page in chosen:
            tab.page.goto(page.as_uri())
            for width, scheme in ((1280, "light"), (390, "dark")):
                tab.page.emulate_media(color_scheme=scheme)
                tab.page.set_viewport_size({"width": width, "height": 720})
                wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{page.name} is {wide} pixels too wide at {width}"
        assert tab.errors == [] == tab.refused


def test_formulas_are_drawn_by_the_browser(book, browser):
    with new_tab(browser) as tab:
        tab.page.goto((book / "notebooks" / "02_entropy.html").as_uri())
        heights = tab.page.evaluate(
            "[...document.querySelectorAll('math')].map((m) => m.getBoundingClientRect().height)"
        )
        assert len(heights) >= 5
        assert min(heights) > 5
        assert "$$" not in tab.page.inner_text("article")


@pytest.mark.parametrize(
    ("lesson", "page"),
    [
        ("03_thresholds", "threshold_scrubber.html"),
        ("06_crl", "explorer_regions.html"),
        ("09_evaluation", "explorer_metrics.html"),
    ],
)
def test_an_explorer_moves_in_its_page_without_a_kernel(book, browser, lesson, page):
    with new_tab(browser) as tab:
        tab.page.context.set_offline(True)
        tab.page.goto((book / "notebooks" / f"{lesson}.html").as_uri())
        tab.page.locator(f"iframe[src$='{page}']").scroll_into_view_if_needed()  # it loads then
        slider = tab.page.frame_locator(f"iframe[src$='{page}']").locator("input[type=range]").first
        slider.wait_for(state="attached")
        (frame,) = [each for each in tab.page.frames if page in each.url]
        before = frame.evaluate(PICTURES)
        slider.focus()
        tab.page.keyboard.press("Home")  # with the keyboard alone
        wait_until(lambda: frame.evaluate(PICTURES) != before, "other pictures")
        assert tab.errors == [] == tab.refused


def test_pictures_have_words(book):
    for lesson in (book / "notebooks").glob("*.html"):
        article = lesson.read_text(encoding="utf-8").split("<article", 1)[1]
        for image in re.findall(r"<img[^>]*>", article):
            alt = re.search(r'alt="([^"]*)"', image)
            assert alt is not None, image
            assert len(alt[1]) >= 20, image


def test_buttons_appear_with_a_public_address_and_not_before(tmp_path):
    lesson = tmp_path / "05_url.ipynb"
    lesson.write_text(json.dumps({"cells": [{"source": ["# 05. URL\n", "text"]}]}))
    add_buttons(tmp_path, "")
    assert "Colab" not in lesson.read_text()
    add_buttons(tmp_path, "https://github.com/someone/buarl")
    source = "".join(json.loads(lesson.read_text())["cells"][0]["source"])
    assert source.startswith(
        "# 05. URL\n\n[Open in Colab](https://colab.research.google.com/github"
    )
    assert "someone/buarl/blob/main/notebooks/05_url.ipynb" in source
    assert "mybinder.org/v2/gh/someone/buarl" in source
