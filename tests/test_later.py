"""Places on a page: a bar and words at once, the widget when it is ready, a reason if it never is."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("ipywidgets")
import ipywidgets

from buarl.widgets import Later, fill_later, later


def bar(place: Later) -> str:
    (shown,) = place.children
    return shown.value


def test_a_place_says_what_it_waits_for():
    place = Later("Training <once>")
    assert "Training &lt;once&gt;" in bar(place)
    assert 'value="0.000"' in bar(place)
    place.tell(0.25, "step 1 of 4")
    assert "step 1 of 4" in bar(place)
    assert 'value="0.250"' in bar(place)
    assert 'role="status"' in bar(place)


def test_places_are_filled_in_order_while_the_page_lives(monkeypatch):
    monkeypatch.setattr(later, "EVERY", 0)
    places = {name: Later() for name in ("a", "b")}
    told, go_on = threading.Event(), threading.Event()

    def prepare(tell):
        assert threading.current_thread() is not threading.main_thread()
        tell(0.5, "half way")
        told.set()
        assert go_on.wait(10)
        return 7

    def widget(found):
        return ipywidgets.Label(str(found))

    async def page():
        task = fill_later(places, prepare, {"a": widget, "b": widget})
        while not told.is_set():  # the loop is free: a page would answer
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        seen = [bar(place) for place in places.values()]
        go_on.set()
        await task
        return seen

    for seen in asyncio.run(page()):
        assert "half way" in seen
        assert 'value="0.500"' in seen
    for place in places.values():
        assert [child.value for child in place.children] == ["7"]


def test_what_goes_wrong_is_said_in_every_place():
    places = {name: Later() for name in ("a", "b")}

    def prepare(tell):
        raise OSError("no <space> left")

    async def page():
        await fill_later(places, prepare, {})

    asyncio.run(page())
    for place in places.values():
        assert "no &lt;space&gt; left" in bar(place)
        assert 'role="alert"' in bar(place)
