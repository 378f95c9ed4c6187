"""Two small sides of a batch with what is hard about masks: ties, an empty label, no errors."""

from __future__ import annotations

import base64
import json

import numpy as np

from buarl.widgets.scrub_pack import Side


def make_side(rule: str = "url", seed: int = 0, spatial: tuple[int, ...] = (20, 24)) -> Side:
    """3 images, 2 training steps, 4 classes."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(2, 3, 4, *spatial)).round(1) * 2  # rounded: some entropies tie
    logits[:, 2, 0] += 9  # a sure slice: under scope "batch" it is hardly marked
    probs = np.exp(logits).astype(np.float32)
    probs /= probs.sum(2, keepdims=True)
    labels = np.where(random.random((3, *spatial)) < 0.8, probs[1].argmax(1), 1)
    labels[2] = 0  # empty, and at both steps predicted without an error
    images = random.random((3, *spatial), dtype=np.float32)
    names = [f"{rule} slice <{i}>" for i in range(3)]
    return Side(rule, images, labels, probs, ["early", "late"], names, ["back", "a", "b", "c"])


def make_sides() -> list[Side]:
    """Labeled, URL, and unlabeled, CRL."""
    return [make_side("url", 0), make_side("crl", 1)]


EXPLORER_PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>explorer</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>:root {{ color-scheme: light dark; }} body {{ margin: 8px; background: Canvas; }} {css}</style>
<body><div id="here"></div><script type="module">
{script}
const state = {state};
const pixels = Uint8Array.from(atob("{pixels}"), (letter) => letter.charCodeAt(0));
window.sent = [];
const read = (name) => (name === "_pixels" ? pixels : state[name]);
mount(document.getElementById("here"), read, (...move) => window.sent.push(move));
</script></body></html>"""


def write_explorer(explorer, path) -> None:
    """An explorer as it stands, as a page without a kernel; `window.sent` gathers what it tells."""
    state = {"_controls": explorer._controls, "_shown": explorer._shown}
    page = EXPLORER_PAGE.format(
        css=explorer._css,
        script=explorer._esm,
        state=json.dumps(state).replace("<", "\\u003c"),
        pixels=base64.b64encode(explorer.pixels).decode(),
    )
    path.write_text(page, encoding="utf-8")
