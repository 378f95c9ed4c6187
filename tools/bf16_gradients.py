"""Does bf16 point the gradients the same way as fp32? Lowest cosine over the layers' weights.

    python tools/bf16_gradients.py acdc|la FOLDER [RUN ...]    fresh networks, then those of runs

Prints, and writes results/bench/gradients_acdc.json (_la) after every network: what is there stays
when the rest is cut short. At the size of preset mini. Dropout is off, so that all see the same
network; biases in front of a normalisation are left out, their true gradient is 0. On hardware
without bf16, bf16_backward is fp32 between bf16's roundings and bf16 is emulated, slowly.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from buarl.data.batches import Batches, SemiBatch
from buarl.data.source import open_source
from buarl.methods import METHODS, Method
from buarl.methods.base import Step
from buarl.regions import crl, url
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.engine import choose_engine
from buarl.training.run import environment, load_method

BENCH = Path(__file__).resolve().parent.parent / "results" / "bench"
SAMPLES = {"acdc": (400, 4), "la": (6, 2)}  # looked at; labeled per step, and as many unlabeled
PERCENTILE = {"acdc": 99, "la": 95}


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


def cosines(make: Callable[[], Method], batch: SemiBatch) -> Iterator[dict]:
    """For each precision the lowest cosine to fp32 over the weights, its layer, the median."""
    exact = gradients(make(), "fp32", batch)
    for precision in ("bf16_backward", "bf16"):
        low = gradients(make(), precision, batch)
        cosine = {
            name: float(nn.functional.cosine_similarity(exact[name], low[name], dim=0))
            for name in exact
        }
        worst = min(cosine, key=cosine.get)
        middle = statistics.median(cosine.values())
        yield {
            "precision": precision,
            "lowest": round(cosine[worst], 5),
            "layer": worst,
            "median": round(middle, 5),
        }


def main() -> None:
    name, folder, *runs = sys.argv[1:]
    source, (few, size) = open_source(name, Path(folder)), SAMPLES[name]
    names = source.training_names()[:few]
    source.training_names = lambda: names  # enough patients for one batch
    rules = {"labeled_rule": url(95), "unlabeled_rule": crl(PERCENTILE[name])}
    row = Experiment(source=name, labeled=3, preset="mini", **rules)
    config = config_for(row)
    how = {"shrink": config.shrink, "standardise": config.standardise}
    batch = Batches(source, 3, config.image_size, **how).batch((0, 0), 0, size, size)
    classes = source.num_classes
    networks = {
        (method, "fresh"): partial(build_method, replace(row, method=method), classes)
        for method in METHODS
    }
    networks |= {(run, "trained"): partial(load_method, Path(run), classes) for run in runs}
    about, lines = {"source": name, "environment": environment()}, []
    for (title, state), make in networks.items():
        for line in cosines(make, batch):
            lines.append({"network": Path(title).name, "state": state, **line})
            print(*lines[-1].values(), flush=True)
        write_json(BENCH / f"gradients_{name}.json", {**about, "lines": lines})


if __name__ == "__main__":
    main()
