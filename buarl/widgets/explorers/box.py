"""What all explorers share on the page: controls, a message line, one picture. Needs ipywidgets."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import ipywidgets

from buarl.widgets.explorers.live import DPI, LiveView

EXPECTED = (ValueError, TypeError, LookupError, OSError, RuntimeError)
"""What bad input raises; anything else is our mistake and may break the cell."""


class Explorer(ipywidgets.VBox):
    """Controls beside a picture, its read-outs below it, and a line for messages.

    Args:
        view: What draws.
        controls: Per name a widget that calls `update` when its value changes.
        update: Takes the values of all controls by name and returns a note for the reader, often
            "". What it raises of `EXPECTED` becomes a message; the picture then stays as it was.
        columns: Per heading the names of the controls below it; others are not shown.
        extra: More widgets below the controls, for example a button.

    Without a kernel, on GitHub for one, the notebook shows the picture as it was at first.
    """

    def __init__(
        self,
        view: LiveView | None,
        controls: Mapping[str, ipywidgets.Widget],
        update: Callable[..., str],
        columns: Mapping[str, Sequence[str]],
        extra: Sequence[ipywidgets.Widget] = (),
    ) -> None:
        self.view, self.controls, self._update = view, dict(controls), update
        self.message, self.readout = ipywidgets.HTML(), ipywidgets.HTML()
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        if view is not None:  # its own size, also on screens with more pixels
            self.picture.layout.width = f"{view.figure.get_figwidth() * DPI:.0f}px"
            self.picture.layout.height = "auto"
        side = []
        for title, names in columns.items():
            heading = ipywidgets.HTML(f"<b>{html.escape(title)}</b>")
            side += [heading, *(self.controls[name] for name in names)]
        panel = ipywidgets.VBox([*side, *extra], layout={"flex": "0 0 300px"})
        shown = ipywidgets.VBox(
            [self.picture, self.readout], layout={"flex": "1 1 560px", "min_width": "0"}
        )
        body = ipywidgets.HBox([panel, shown], layout={"flex_flow": "row wrap"})
        super().__init__([self.message, body] if view is not None else [self.message])
        for control in self.controls.values():
            control.observe(self.changed, "value")
        self._quiet = False

    def refresh(self) -> None:
        """Compute, move the artists, show the picture."""
        try:
            values = {name: control.value for name, control in self.controls.items()}
            note = self._update(**values)
            self.picture.value = self.view.png()
            self.readout.value = readout(self.view.text.get_text())
        except EXPECTED as error:
            self.message.value = alert(error)
        else:
            self.message.value = notice(note)

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

    def _repr_mimebundle_(self, **keywords: object) -> dict:
        """The live widget, and beside it the picture for readers without a kernel."""
        bundle = super()._repr_mimebundle_(**keywords) or {}
        bundle["text/plain"] = "explorer: run this cell to move its sliders"
        if self.view is not None:
            bundle["image/png"] = base64.b64encode(self.view.static_png()).decode()
        return bundle


def guarded(build: Callable[[], Explorer]) -> Explorer:
    """The explorer, or in its place a box that says what is wrong with the input."""
    try:
        explorer = build()
    except EXPECTED as error:
        explorer = Explorer(None, {}, str, {})
        explorer.message.value = alert(error)
        return explorer
    explorer.refresh()
    return explorer


def alert(error: Exception) -> str:
    """An error as HTML."""
    text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return _framed("#D55E00", "Cannot show this", text, "alert")


def notice(text: str) -> str:
    """A remark as HTML, nothing for an empty one."""
    return _framed("#0072B2", "Note", text, "status") if text else ""


def readout(text: str) -> str:
    """Read-outs as HTML, in columns, announced to screen readers."""
    style = "margin:4px 0 0;font:12px/1.35 monospace;white-space:pre;overflow-x:auto"
    return f'<pre role="status" style="{style}">{html.escape(text)}</pre>'


def _framed(colour: str, head: str, text: str, role: str) -> str:
    body = html.escape(text).replace("\n", "<br>")
    style = f"border-left:4px solid {colour};padding:2px 10px;line-height:1.4"
    return f'<div role="{role}" style="{style}"><b>{head}:</b> {body}</div>'


def slider(
    name: str, low: float, high: float, value: float, step: float = 1, **more: object
) -> ipywidgets.Widget:
    """A labelled slider, of whole numbers if the step is 1."""
    kind = ipywidgets.IntSlider if step == 1 else ipywidgets.FloatSlider
    return kind(
        min=low, max=max(high, low), value=value, step=step, description=name, **LOOK, **more
    )


def choice(name: str, options: object, value: object) -> ipywidgets.Dropdown:
    """A labelled drop-down list."""
    return ipywidgets.Dropdown(options=options, value=value, description=name, **LOOK)


LOOK = {"style": {"description_width": "92px"}, "layout": {"width": "290px"}}
