"""The threshold scrubber: move percentile, alpha, slice and step; the browser does the rest.

In a notebook it is a widget that needs no kernel once shown; `to_html` writes the same as a page.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from buarl.training.checkpoint import write_atomic
from buarl.widgets.scrub_pack import PERCENTILES, Packed, Side, pack
from buarl.widgets.snapshots import sides_of_lesson, sides_of_run

STATIC = Path(__file__).parent / "static"
# A page that may load nothing: what it shows is all inside.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ font: clamp(14px, 0.9vw, 20px)/1.4 system-ui, sans-serif; margin: 12px auto;
 width: 98vw; max-width: 84em; background: #fff; }}
h1 {{ font-size: 1.4em; margin: 0 0 0.3em; }} p {{ color: #444; margin: 0.6em 0; }}
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

    _esm = STATIC / "scrubber.js"
    _css = STATIC / "scrubber.css"
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
        """Short and without an address, because it stands in committed notebooks."""
        header = json.loads(self._header)
        if "message" in header:
            return f"Scrubber({header['message']!r})"
        slices = " + ".join(str(side["size"][0]) for side in header["sides"])
        return f"Scrubber({slices} slices, {len(header['steps'])} training steps)"


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
        css=(STATIC / "scrubber.css").read_text(encoding="utf-8"),
        header=packed.header.replace("<", "\\u003c"),
        payload=base64.b64encode(packed.payload).decode(),
        script=(STATIC / "scrubber.js").read_text(encoding="utf-8"),
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
        steps: Titles of the S training steps.
        names: Titles of the N images.
        class_names: Names of the C classes, background first.
        percentiles: Stops of the slider in percent, rising, at most 255.
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
