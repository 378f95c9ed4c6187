"""The threshold scrubber: move percentile, alpha, slice and step; the browser does the rest.

In a notebook it is a widget that needs no kernel once shown; `to_html` writes the same as a page.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from buarl.training.checkpoint import write_atomic
from buarl.widgets.scrub_pack import PERCENTILES, Packed, Side, pack
from buarl.widgets.scrub_picture import picture, unpack
from buarl.widgets.snapshots import sides_of_lesson, sides_of_run
from buarl.widgets.static import read
from buarl.widgets.still import beside_widget

SCRIPT = read("readings.js", "paint.js", "scrubber.js")
STYLE = read("look.css", "scrubber.css")
# A page that may load nothing: what it shows is all inside.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark; }}
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 8px; background: Canvas; color: CanvasText; }}
h1 {{ font-size: 1.3em; margin: 0 0 0.3em; }} #scrubber + p {{ margin: 0.6em 0; max-width: 60em; }}
{css}</style></head><body><h1>{title}</h1><div id="scrubber"></div><p>{note}</p>
<script type="application/json" id="header">{header}</script>
<script type="text/plain" id="payload">{payload}</script>
<script type="module">
{script}
const text = (id) => document.getElementById(id).textContent;
const payload = Uint8Array.from(atob(text("payload")), (letter) => letter.charCodeAt(0));
await mount(document.getElementById("scrubber"), JSON.parse(text("header")), payload);
</script></body></html>
"""


class Scrubber(anywidget.AnyWidget):
    """The widget; `scrubber`, `lesson_scrubber` and `run_scrubber` make one.

    Args:
        packed: What to show, as `buarl.widgets.scrub_pack.pack` returns it.
    """

    _esm = SCRIPT
    _css = STYLE
    _header = traitlets.Unicode().tag(sync=True)
    _payload = traitlets.Bytes().tag(sync=True)

    def __init__(self, packed: Packed) -> None:
        super().__init__(_header=packed.header, _payload=packed.payload)

    @property
    def message(self) -> str | None:
        """Why there is nothing to show; None if there is something."""
        return json.loads(self._header).get("message")

    def to_html(self, path: str | Path, title: str = "Threshold scrubber", note: str = "") -> None:
        """Write one HTML file that shows the same without kernel and network.

        The file carries the images: mind whose they are before you publish it.

        Args:
            path: The file, replaced if it exists.
            title: Text above.
            note: Text below.
        Raises:
            ValueError: there is nothing to show.
        """
        if self.message:
            raise ValueError(f"nothing to write: {self.message}")
        write_page(Path(path), Packed(self._header, self._payload), title, note)

    def __repr__(self) -> str:
        """Without an address: it stands in committed notebooks."""
        if self.message:
            return f"Threshold scrubber. {self.message}"
        return "Threshold scrubber: run this cell to move its sliders"

    def _repr_mimebundle_(self, **keywords: object) -> tuple[dict, dict]:
        """The live widget, and beside it a picture for readers without a kernel."""
        figure = picture(Packed(self._header, self._payload))
        return beside_widget(super()._repr_mimebundle_(**keywords), figure, repr(self))


def read_page(path: str | Path) -> Scrubber:
    """The scrubber of a page that `to_html` wrote: nothing is computed.

    Args:
        path: The file.
    Raises:
        ValueError: not such a page, or one of another version of buarl.
    """
    text = Path(path).read_text(encoding="utf-8")
    parts = [
        re.search(rf'id="{name}">(.*?)</script>', text, re.S) for name in ("header", "payload")
    ]
    if None in parts:
        raise ValueError(f"{path}: not a page of the threshold scrubber")
    header, payload = (part[1] for part in parts)
    packed = Packed(header, base64.b64decode(payload))
    unpack(packed)
    return Scrubber(packed)


def write_page(path: Path, packed: Packed, title: str, note: str = "") -> None:
    """Write a scrubber as one HTML file, UTF-8 on every system.

    Args:
        path: The file, replaced if it exists.
        packed: What to show.
        title: Text above.
        note: Text below.
    """
    text = PAGE.format(
        title=html.escape(title),
        note=html.escape(note),
        css=STYLE,
        header=packed.header.replace("<", "\\u003c"),
        payload=base64.b64encode(packed.payload).decode(),
        script=SCRIPT,
    )
    write_atomic(path, lambda temporary: temporary.write_bytes(text.encode()))


def scrubber(
    images: np.ndarray,
    labels: np.ndarray | None,
    probs: np.ndarray,
    *,
    rule: str = "crl",
    steps: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    percentiles: Sequence[float] = PERCENTILES,
) -> Scrubber:
    """Make a scrubber of your own arrays. What cannot be shown is said in its place.

    Args:
        images: (N, H, W), or volumes (N, X, Y, Z), shown slice by slice along the last axis.
        labels: Whole numbers of the same shape, 0 to C-1, or None.
        probs: (N, C, ...), or (S, N, C, ...) with a prediction for each of S training steps; sums
            to 1 over classes.
        rule: "crl" or "url": which region is weighed down.
        steps, names, class_names: Titles of the S steps, the N images, the C classes.
        percentiles: Stops of the slider, rising, in percent.
    Returns:
        A widget; show it in a notebook, or write it with its `to_html`.

    >>> images = np.zeros((1, 8, 8))
    >>> probs = np.random.default_rng(0).dirichlet(np.ones(3), (1, 8, 8)).transpose(0, 3, 1, 2)
    >>> scrubber(images, None, probs, rule="url")
    Threshold scrubber: run this cell to move its sliders
    >>> print(scrubber(images, None, 2 * probs).message)
    Nothing to show: probs must be probabilities that sum to 1 over classes (softmax the logits), \
got sums from 2 to 2
    """

    def sides() -> list[Side]:
        stack = np.asarray(probs)
        if stack.ndim == np.ndim(images) + 1:
            stack = stack[None]
        step_names = steps or [str(i + 1) for i in range(len(stack))]
        image_names = names or [f"image {i + 1}" for i in range(len(images))]
        return [Side(rule, np.asarray(images), labels, stack, step_names, image_names, class_names)]

    return _shown(sides, percentiles)


def lesson_scrubber(name: str, source, *, progress: bool = False) -> Scrubber:
    """Make a scrubber of a lesson's row: both halves of a batch, at several steps of training.

    Args:
        name: One of `buarl.lessons.trained.LESSON_ROWS`.
        source: Its data set.
        progress: Show a bar while training.
    """
    return _shown(lambda: sides_of_lesson(name, source, progress=progress))


def run_scrubber(folder: str | Path, root: str | Path | None = None) -> Scrubber:
    """Make a scrubber of a finished run of your own, at the end of each of its stages.

    Args:
        folder: Folder of the run.
        root: Where its data lie, if they have moved.
    """
    return _shown(lambda: sides_of_run(Path(folder), root))


def _shown(sides, percentiles: Sequence[float] = PERCENTILES) -> Scrubber:
    """The scrubber, or one that says what is wrong: a cell of a lesson never breaks."""
    try:
        return Scrubber(pack(sides(), percentiles))
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        return Scrubber(Packed(json.dumps({"message": f"Nothing to show: {error}"}), b""))
