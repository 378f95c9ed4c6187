"""Two small sides of a batch with what is hard about masks: ties, an empty label, no errors."""

from __future__ import annotations

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
