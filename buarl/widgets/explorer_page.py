"""Explorers as pages: one HTML file each, which moves without Python and without a network."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional as F

from buarl.dice import Dice
from buarl.entropy import entropy_of_probs
from buarl.evaluation.metrics import EMPTY_POLICIES
from buarl.figures.draw import BOTH, ERROR, UNCERTAIN
from buarl.training.checkpoint import write_atomic
from buarl.widgets.explorers import live
from buarl.widgets.explorers.box import Explorer
from buarl.widgets.explorers.definitions import ROWS
from buarl.widgets.explorers.region_terms import Term
from buarl.widgets.static import read

MODULES = ("explorer.js", "numbers.js", "metric_model.js", "region_model.js", "standalone.js")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark; }}
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 8px; background: Canvas; color: CanvasText; }}
h1 {{ font-size: 1.3em; margin: 0 0 0.3em; }} #explorer + p {{ margin: 0.6em 0; max-width: 60em; }}
{css}</style></head><body><h1>{title}</h1><div id="explorer"></div><p>{note}</p>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}
const {{ sections, model, ...data }} = JSON.parse(document.getElementById("data").textContent);
const models = {{ metrics: metricModel, regions: regionModel }};
globalThis.explorer = alone(document.getElementById("explorer"), sections, models[model](data));
</script></body></html>
"""


def write_explorer_page(path: Path, explorer: Explorer, data: dict, title: str, note: str) -> None:
    """Write an explorer as one HTML file that may load nothing.

    Args:
        path: The file, replaced if it exists.
        explorer: Whose controls it has, at the values they have now.
        data: From `metric_data` or `region_data`, of what the explorer shows.
        title: Text above.
        note: Text below.
    """
    content = {"sections": explorer._controls["sections"], **data}
    script = read(*MODULES).replace("export default", "const widget =").replace("export ", "")
    text = PAGE.format(
        title=html.escape(title),
        note=html.escape(note),
        css=read("look.css", "explorer.css"),
        data=json.dumps(content).replace("<", "\\u003c"),
        script=script,
    )
    write_atomic(path, lambda temporary: temporary.write_bytes(text.encode()))


def metric_data(
    label: np.ndarray,
    prediction: np.ndarray,
    image: np.ndarray | None = None,
    class_names: tuple[str, ...] = ("background", "structure"),
) -> dict[str, Any]:
    """Pack what the metric explorer computes with.

    Args:
        label: Classes (H, W), whole numbers or bool.
        prediction: Classes, the same shape.
        image: (H, W), drawn below.
        class_names: Background first.
    """
    ground = np.zeros(label.shape) if image is None else image
    return {
        "model": "metrics",
        "height": label.shape[0],
        "width": label.shape[1],
        "classes": [[name, number] for number, name in enumerate(class_names) if number],
        "policies": [[name, text] for name, text in EMPTY_POLICIES.items()],
        "colors": [ERROR, UNCERTAIN, BOTH],
        "legend": {"both": BOTH, "label only": ERROR, "prediction only": UNCERTAIN},
        "rows": [[key, title] for key, title in ROWS.items()],
        "truth": _text(label.astype(np.uint8)),
        "guess": _text(prediction.astype(np.uint8)),
        "ground": _text(live.grey(ground)[..., 0]),
    }


def region_data(labeled: Term, unlabeled: Term, dice: Dice) -> dict[str, Any]:
    """Pack what the region explorer computes with: entropies, cross-entropies and probabilities.

    Args:
        labeled: The labeled term, slices (B, H, W).
        unlabeled: The unlabeled term, of the same size.
        dice: Which Dice: squared, over the batch, with background, as `DICE_SSL4MIS`.
    Raises:
        ValueError: another Dice, or volumes.
    """
    if not dice.squared or dice.per_sample or not dice.background:
        raise ValueError(f"a page computes a squared Dice over the batch, got {dice}")
    if labeled.image.ndim != 3:
        raise ValueError(f"a page shows slices (B, H, W), got {tuple(labeled.image.shape)}")
    return {
        "model": "regions",
        "height": labeled.image.shape[1],
        "width": labeled.image.shape[2],
        "colors": list(live.CLASSES),
        "uncertain": UNCERTAIN,
        "dice": {"smooth": dice.smooth},
        "terms": {"labeled": _packed(labeled), "unlabeled": _packed(unlabeled)},
    }


def _packed(term: Term) -> dict[str, Any]:
    cross_entropy = F.cross_entropy(term.logits, term.target.long(), reduction="none")
    probs = term.logits.softmax(1).movedim(1, 0)  # (C, B, H, W)
    ground = np.stack([live.grey(image)[..., 0] for image in term.image.numpy()])
    return {
        "classes": term.logits.shape[1],
        "entropy": _text(entropy_of_probs(term.probs).numpy()),
        "ce": _text(cross_entropy.numpy()),
        "probs": _text(np.ascontiguousarray(probs.numpy())),
        "target": _text(term.target.numpy().astype(np.uint8)),
        "ground": _text(ground),
    }


def _text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
