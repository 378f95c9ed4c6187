"""Parts of an evaluation: the metrics of a case, and a volume predicted window by window."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from math import prod

import numpy as np
import torch

from benchmarks import plain as bench_plain
from benchmarks.scene import SEED, Part
from buarl.data.source import Source
from buarl.evaluation.metrics import multiclass_metrics
from buarl.evaluation.predict import predict_windows
from buarl.evaluation.sliding_window import window_starts
from buarl.networks import VNet
from buarl.training.engine import Engine

SCORES = ("dice", "jaccard", "hd95", "asd")


def metrics(source: Source) -> Part:
    """All metrics of one validation case, its label moved by two pixels as the prediction."""
    sample = source.volume(source.cases("val")[0])
    label, classes = sample.label, source.num_classes
    prediction = np.roll(label, 2, -1)
    installed = find_spec("medpy") is not None

    def difference() -> float | None:
        if not installed:
            return None
        ours = [
            row[key] for row in multiclass_metrics(prediction, label, classes) for key in SCORES
        ]
        return float(
            np.abs(
                np.subtract(ours, bench_plain.metrics_by_medpy(prediction, label, classes))
            ).max()
        )

    return Part(
        f"metrics of one case, {'x'.join(map(str, label.shape))}",
        "MedPy" if installed else "MedPy: not installed",
        lambda: multiclass_metrics(prediction, label, classes),
        (lambda: bench_plain.metrics_by_medpy(prediction, label, classes)) if installed else None,
        difference,
        "scores",
        "15 x",
        "one core: surfaces of the joint box, then neighbours and a k-d tree",
    )


def windows(engine: Engine, patch: Sequence[int], width: int) -> Part:
    """A volume of one and a half patches per axis, by windows that overlap by half.

    In the engine's precision: `evaluate --precision bf16`, where another one is not the default.
    """
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = VNet(2, width).eval().to(engine.device)
    shape, stride = tuple(3 * n // 2 for n in patch), tuple(n // 2 for n in patch)
    volume = np.random.default_rng(SEED).normal(size=shape).astype(np.float32)
    axes = zip(shape, patch, stride, strict=True)
    count = prod(len(window_starts(*axis)) for axis in axes)

    def ours() -> np.ndarray:
        with engine.autocast():
            return predict_windows(network, volume, patch, stride)[0]

    def plain() -> np.ndarray:
        return bench_plain.window_by_window(network, volume, patch, stride)

    return Part(
        f"sliding window, {count} windows, {engine.precision}",
        "window by window, fp32",
        ours,
        plain,
        lambda: float((ours() != plain()).mean()),
        "share of voxels with another label",
        "4 x" if engine.device.type == "cuda" else "2 x",
        units=count,
    )
