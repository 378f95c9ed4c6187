"""The page of `buarl show` in a real browser: any width, light and dark, no errors, no network."""

from __future__ import annotations

from dataclasses import replace

import pytest
from browser import new_tab
from tiny import PRESET, write_tiny

from buarl.data.acdc import Acdc
from buarl.evaluation.score import score_run
from buarl.evaluation.watch import watch_run
from buarl.regions import crl, url
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import run_experiment
from buarl.widgets.run_page import write_run_page

ROW = Experiment(
    "bcp", labeled_rule=url(80), unlabeled_rule=crl(90), source="acdc", labeled=2, preset="tiny"
)
LOOK = """() => {
  const svg = document.querySelector(".charts svg"), text = svg.querySelector("text");
  const ink = getComputedStyle(text).fill, ground = getComputedStyle(document.body).backgroundColor;
  const wide = [...document.querySelectorAll("main *")].filter((e) =>
    !e.closest(".wide, .scrubber, pre, svg") && e.getBoundingClientRect().right > innerWidth + 1);
  return { ink, ground, wide: wide.map((e) => e.outerHTML.slice(0, 80)),
           overflow: document.documentElement.scrollWidth - innerWidth,
           chart: svg.getBoundingClientRect().width };
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of two runs with long names, evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    source = Acdc(write_tiny(folder / "data"))
    names = [f"a_run_with_a_name_without_any_blank_in_it_seed_{seed}" for seed in (1, 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        for seed, name in enumerate(names):
            row = replace(ROW, seed=seed)
            watch = watch_run(source, config_for(row), folder / name)
            run_experiment(row, source, folder / name, callback=watch)
            score_run(folder / name, source.root)
        return write_run_page([folder / name for name in names])[0]


@pytest.mark.parametrize("width", [320, 390, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_any_width_in_light_and_dark(browser, page, width, scheme):
    with new_tab(browser, width, 900, color_scheme=scheme) as tab:
        tab.page.context.set_offline(True)
        tab.page.goto(page.as_uri())
        tab.page.wait_for_selector(".scrubber td[data-value]")
        found = tab.page.evaluate(LOOK)
        assert (found["wide"], found["overflow"]) == ([], 0)
        assert found["chart"] > min(280, width - 60)
        light = scheme == "light"
        assert found["ink"] == ("rgb(27, 27, 27)" if light else "rgb(233, 233, 233)")
        assert found["ground"] == ("rgb(255, 255, 255)" if light else "rgb(24, 24, 24)")
        assert tab.errors == [] == tab.refused


def test_a_phone_shows_the_dice_of_a_run_without_scrolling(browser, page):
    with new_tab(browser, 390, 900) as tab:
        tab.page.goto(page.as_uri())
        table = tab.page.locator("main table").first
        heads = table.locator("th").all_text_contents()
        box = table.locator("th").nth(heads.index("Dice")).bounding_box()
        assert box["x"] > 0
        assert box["x"] + box["width"] < 390
        line = table.locator("tbody tr").first.locator("td").all()
        words = {
            head
            for head, cell in zip(heads, line, strict=True)
            if cell.get_attribute("class") == "text"
        }
        assert words == {"run", "split", "data", "trained"}


def test_on_a_phone_the_name_of_a_run_stays_while_its_numbers_move(browser, page):
    with new_tab(browser, 390, 900) as tab:
        tab.page.goto(page.as_uri())
        table = tab.page.locator(".wide").first
        name, dice = (table.locator("tr").nth(1).locator("td").nth(n) for n in (0, 2))
        before = [cell.bounding_box()["x"] for cell in (name, dice)]
        table.evaluate("e => { e.scrollLeft = 100 }")
        after = [cell.bounding_box()["x"] for cell in (name, dice)]
        assert after == pytest.approx([before[0], before[1] - 100], abs=1)


def test_the_scrubbers_of_both_runs_move(browser, page):
    with new_tab(browser) as tab:
        tab.page.goto(page.as_uri())
        tab.page.wait_for_selector(".scrubber td[data-value]")
        assert tab.page.locator(".scrubber").count() == 2
        for place in tab.page.locator(".scrubber").all():
            share = place.locator("td[data-key=share_all]")
            before = share.text_content()
            place.locator("input[data-key=stop]").focus()
            tab.page.keyboard.press("Home")
            assert share.text_content() != before
