"""Give the pictures in notebooks the alternative text that their outputs carry."""

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

HEADLINE = 90  # letters of a picture without words of its own


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
    """Set `alt` of every image that stands in a cell's output."""
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


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
