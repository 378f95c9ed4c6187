"""The first position of a scrubber as a picture: what stays in a notebook and on GitHub."""

from __future__ import annotations

import json
import zlib

import numpy as np
from matplotlib.figure import Figure

from buarl.figures.draw import BOTH, ERROR, UNCERTAIN
from buarl.widgets.explorers.live import CLASSES, class_overlay, overlay
from buarl.widgets.scrub_pack import MORE_COLORS, Packed
from buarl.widgets.still import Panel, draw


def unpack(packed: Packed) -> list[dict]:
    """Per side its header and its bytes by name, uint8 (times, slices, H, W); the browser's twin.

    Args:
        packed: From `pack`.
    """
    header = json.loads(packed.header)
    raw, at, sides = np.frombuffer(zlib.decompress(packed.payload), np.uint8), 0, []
    for head in header["sides"]:
        blocks: dict = {"head": head}
        steps = len(header["steps"])
        per_step = ("entropy", "pseudo_label", "probability", "batch", "per_image")
        once = ("image", "label") if head["hasLabel"] else ("image",)
        for name in (*once, *per_step):
            shape = (1 if name in once else steps, *head["size"])
            blocks[name] = raw[at : at + int(np.prod(shape))].reshape(shape)
            at += int(np.prod(shape))
        sides.append(blocks)
    if at != raw.size:
        raise ValueError(f"the scrubber's bytes must fill its pictures, got {raw.size} for {at}")
    return sides


def picture(packed: Packed) -> Figure | None:
    """The first side at the last step, at the percentile and slice it starts with.

    Args:
        packed: From `pack`; a packed message has no picture.
    """
    header = json.loads(packed.header)
    if "message" in header:
        return None
    side = unpack(packed)[0]
    head = side["head"]
    marked = side["batch"][-1] > head["start"]  # (slices, H, W)
    index, guess = head["slice"], side["pseudo_label"][-1]
    background, mark = np.repeat(side["image"][0][index][..., None], 3, 2), marked[index]
    cividis = np.frombuffer(bytes.fromhex(header["cividis"]), np.uint8).reshape(256, 3)
    colors = [*CLASSES, *MORE_COLORS]

    def classes(values: np.ndarray) -> np.ndarray:
        values = values.astype(int)
        return class_overlay(
            background, np.where(values, (values - 1) % len(colors) + 1, 0), colors
        )

    panels = [Panel(head["names"][index], background)]
    legend = dict(zip(head["classes"][1:], colors, strict=False)) | {"uncertain": UNCERTAIN}
    text = f"The {_percent(marked.mean())} of pixels with the highest entropy"
    codes = mark.astype(int)
    if head["hasLabel"]:
        label = side["label"][0]
        error = guess != label
        panels.append(Panel("label", classes(label[index])))
        codes = mark * (1 + error[index])
        legend = {**legend, "uncertain and wrong": BOTH, "wrong": ERROR}
        text += _captured(marked, error)
    panels += [
        Panel("pseudo-label" if head["rule"] == "crl" else "prediction", classes(guess[index])),
        Panel(f"entropy, 0 to {head['highest']:.2f} nats", cividis[side["entropy"][-1][index]]),
        Panel(
            f"uncertain, percentile {header['stops'][head['start']]:g}",
            overlay(background, codes, (UNCERTAIN, BOTH), 1),
        ),
    ]
    if head["hasLabel"]:
        panels.append(Panel("errors", overlay(background, error[index], (ERROR,), 1)))
    return draw(panels, legend, text=f"{text}\n{header['steps'][-1]}", columns=6)


def _captured(marked: np.ndarray, error: np.ndarray) -> str:
    """How many of the marked pixels are wrong, and how many of all errors they hold."""
    both, wrong, count = (marked & error).sum(), error.sum(), marked.sum()
    if not (both and wrong):
        return ""
    return (
        f": {_percent(both / count)} of them are wrong (of all pixels: "
        f"{_percent(error.mean())}).\nThey hold {_percent(both / wrong)} of all errors "
        f"(so few pixels can hold {_percent(min(count, wrong) / wrong)} at most)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
