"""Pictures in notebooks get the words that their outputs carry; some explorers move in the page."""

import json
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

HEADLINE = 90  # letters of a picture without words of its own
LIVE = {  # how the words of a widget's picture begin, its page, and the page's height in pixels
    "Threshold scrubber": ("threshold_scrubber.html", 820),
    "Explorer of the masks": ("explorer_metrics.html", 760),
    "Explorer of labeled": ("explorer_regions.html", 980),
}
FRAME = (
    '<iframe class="explorer" src="{up}_static/explorers/{page}" height="{height}" '
    'title="{words}" loading="lazy"></iframe>'
)


def _texts(path: Path) -> list[str]:
    """The alternative text of every PNG output of a notebook, in order."""
    found = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                words = output.get("metadata", {}).get("image/png", {}).get("alt")
                plain = "".join(output["data"].get("text/plain", []))
                found.append(words or plain[:HEADLINE])
    return found


def describe(app: Sphinx, doctree: nodes.document) -> None:
    """Set `alt` of every image in a cell's output; a widget that has a page becomes that page."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    outputs = [
        image
        for image in doctree.findall(nodes.image)
        if "jupyter_execute" in image["uri"] and image["uri"].endswith(".png")
    ]
    for image, text in zip(outputs, _texts(path), strict=True):
        image["alt"] = text
        page = next((page for start, page in LIVE.items() if text.startswith(start)), None)
        if page is not None and app.builder.format == "html":
            up = "../" * app.env.docname.count("/")
            frame = FRAME.format(up=up, page=page[0], height=page[1], words=escape(text))
            image.replace_self(nodes.raw("", frame, format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
