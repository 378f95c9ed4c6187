"""What all explorers share in the notebook: controls, pictures, read-outs, a line for messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import anywidget
import traitlets

from buarl.widgets.explorers.controls import Button, Control, Update
from buarl.widgets.explorers.live import LiveView, Pixels
from buarl.widgets.static import read
from buarl.widgets.still import beside_widget

EXPECTED = (ValueError, TypeError, LookupError, OSError, RuntimeError)
"""What bad input raises; anything else is our mistake and may break the cell."""


class Explorer(anywidget.AnyWidget):
    """Controls beside pictures and read-outs, and a line for messages.

    Args:
        view: What is shown; None if there is only a message. controls: Per name, what calls
            `update` when its value changes.
        update: Moves the view to the values of all controls but buttons. What it raises of
            `EXPECTED` becomes a message; the pictures then stay as they were.
        columns: Which controls stand under which heading, by name; unnamed ones are not shown.

    Without a kernel, on GitHub for one, the notebook shows the first pictures.
    """

    _esm = read("explorer.js")
    _css = read("look.css", "explorer.css")
    _controls = traitlets.Dict().tag(sync=True)
    _shown = traitlets.Dict().tag(sync=True)
    _pixels = traitlets.Bytes().tag(sync=True)
    _moved = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        view: LiveView | None,
        controls: Mapping[str, Control],
        update: Update,
        columns: Mapping[str, Sequence[str]],
    ) -> None:
        self.view, self.controls = view, dict(controls)
        self._update, self._columns = update, columns
        self._seen: dict[str, float] = {}
        self._quiet = False
        self.message = ""
        super().__init__()
        self._send_controls()
        for control in self.controls.values():
            if not isinstance(control, Button):
                control.observe(self.changed, "value")
        self.observe(self._follow, "_moved")

    @property
    def pixels(self) -> bytes:
        """All pixels on show, RGB, panel by panel."""
        return self._pixels

    @property
    def readout(self) -> str:
        """The read-outs on show, as text."""
        return self._shown.get("text", "")

    def refresh(self) -> None:
        """Compute, and send what is to be seen."""
        try:
            values = {
                name: control.value
                for name, control in self.controls.items()
                if not isinstance(control, Button)
            }
            note = self._update(**values)
        except EXPECTED as error:
            self.say(error)
        else:
            heads, data = Pixels.of(self.view.panels)
            self.message = f"Note: {note}" if note else ""
            with self.hold_sync():
                self._pixels = data
                self._shown = shown_of(self.view, heads, self.message)
        self._send_controls()

    def say(self, error: Exception) -> None:
        """An error in words, above the pictures."""
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        self.message = f"Cannot show this: {text}"
        self._shown = {**self._shown, "message": self.message, "wrong": True}

    def _send_controls(self) -> None:
        sections = [
            {
                "title": title,
                "controls": [{"name": name, **self.controls[name].spec()} for name in names],
            }
            for title, names in self._columns.items()
        ]
        self._controls = {"sections": sections, "seen": dict(self._seen)}

    def _follow(self, change: dict) -> None:
        """Controls moved in the browser: per name a value and when."""
        for name, (value, when) in change["new"].items():
            if name in self.controls and when > self._seen.get(name, 0):
                self._seen[name] = when
                self.controls[name].move(value)
        self._send_controls()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Controls that move inside do not redraw."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def changed(self, _: object) -> None:
        """A control has moved."""
        if not self._quiet:
            self.refresh()

    def __repr__(self) -> str:
        if self.message or self.view is None:
            return self.message or "Explorer: run this cell to move its sliders"
        shown = ", ".join(panel.title for panel in self.view.panels)
        return f"Explorer of {shown}: run this cell to move its sliders"

    def _repr_mimebundle_(self, **keywords: object) -> tuple[dict, dict]:
        """The live widget, and beside it its pictures for readers without a kernel."""
        figure = self.view.figure() if self.view is not None and self.view.panels else None
        return beside_widget(super()._repr_mimebundle_(**keywords), figure, repr(self))


def shown_of(view: LiveView, heads: list[dict], message: str) -> dict:
    """All that the browser draws but the pixels and the controls."""
    return {
        "panels": heads,
        "legend": view.legend,
        "chart": None if view.chart is None else _plain(view.chart),
        "tables": [table._asdict() for table in view.tables],
        "lines": list(view.lines),
        "text": view.text,
        "message": message,
        "wrong": False,
    }


def _plain(chart: object) -> dict:
    return chart._asdict() | {"curves": [curve._asdict() for curve in chart.curves]}


def guarded(build: Callable[[], Explorer]) -> Explorer:
    """The explorer, or in its place a box that says what is wrong with the input."""
    try:
        explorer = build()
    except EXPECTED as error:
        explorer = Explorer(None, {}, str, {})
        explorer.say(error)
        return explorer
    explorer.refresh()
    return explorer
