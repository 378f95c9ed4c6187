"""Does bf16 point the gradients the same way as fp32? Lowest cosine over the layers' weights.

    python tools/bf16_gradients.py ACDC_FOLDER [RUN ...]    fresh networks, then those of the runs

Dropout is off, so that both see the same network; biases in front of a normalisation are left out,
their true gradient is 0. On hardware without bf16 the arithmetic is emulated: slow, same rounding.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from buarl.config import Experiment, build_method
from buarl.data.batches import Batches, SemiBatch
from buarl.data.source import open_source
from buarl.engine import choose_engine
from buarl.methods import METHODS, Method
from buarl.methods.base import Step
from buarl.regions import crl, url
from buarl.run import load_method

SLICES, SIZE = 4, (128, 128)


def gradients(method: Method, precision: str, batch: SemiBatch) -> dict[str, torch.Tensor]:
    """Gradient of every weight after one step's loss in the middle of the last stage."""
    engine = choose_engine("cpu", precision)
    engine.place(method).train()
    for module in method.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    torch.manual_seed(0)  # noise and boxes
    with engine.autocast():
        output = method.stages()[-1].players[0].training_step(batch, Step(500, 1000))
    engine.backward(output.loss)
    named = [(name, p.grad) for name, p in method.student.named_parameters()]
    reached = [(name, g) for name, g in named if name.endswith("weight") and g is not None]
    return {name: gradient.double().flatten() for name, gradient in reached}


def report(title: str, make, batch: SemiBatch) -> None:
    exact = gradients(make(), "fp32", batch)
    for precision in ("bf16_backward", "bf16"):
        low = gradients(make(), precision, batch)
        cosine = {
            name: float(nn.functional.cosine_similarity(exact[name], low[name], dim=0))
            for name in exact
        }
        worst = min(cosine, key=cosine.get)
        median = sorted(cosine.values())[len(cosine) // 2]
        found = f"lowest {cosine[worst]:.5f} ({worst}), median {median:.5f}"
        print(f"{title}, {precision}: {found}", flush=True)


def main() -> None:
    source = open_source("acdc", sys.argv[1])
    names = source.training_names()[:400]
    source.training_names = lambda: names  # enough patients for one batch
    batch = Batches(source, 3, SIZE).batch((0, 0), 0, SLICES, SLICES)
    rules = {"labeled_rule": url(95), "unlabeled_rule": crl(99)}
    for name in METHODS:
        row = Experiment(method=name, source="acdc", labeled=3, preset="mini", **rules)
        report(f"{name}, fresh", lambda row=row: build_method(row, 4), batch)
    for run in map(Path, sys.argv[2:]):
        report(f"{run.name}, trained", lambda run=run: load_method(run, 4), batch)


if __name__ == "__main__":
    main()
