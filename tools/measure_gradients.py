"""How much does a rule change one step, near the end of a training? Lesson 11's question on hearts.

    python tools/measure_gradients.py ACDC_FOLDER [BATCHES]

Takes the students that come with buarl (BCP, with and without both rules, preset quick, 7 labeled
patients) as student and as teacher, since released weights have no teacher; where they end, the two
score alike. For every batch of stage 2 the gradient of BCP's loss is computed under each rule, with
the same box and dropout pattern, and without rule once more with others: that is chance. Writes
results/gradients/quick.json: the norm of the difference over that without rule, of every batch, and
of the means over all batches, in which chance averages out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import buarl
from buarl.data.batches import Batches, SemiBatch
from buarl.files.weights import read_weights
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.environment import environment
from buarl.weights import SHIPPED, weights_file

HOME = Path(__file__).resolve().parent.parent
OUT = HOME / "results" / "gradients" / "quick.json"
PLAIN = Experiment("bcp", source="acdc", labeled=7, preset="quick")
CRL = replace(PLAIN, unlabeled_rule=buarl.crl(99))
ROWS = {
    "CRL per voxel": CRL,
    "CRL per region": replace(CRL, unlabeled_reduction="region"),
    "removed instead of weighed down": replace(PLAIN, unlabeled_rule=buarl.drop(99)),
    "CRL per voxel, q = 95": replace(PLAIN, unlabeled_rule=buarl.crl(95)),
}
CHANCE = "another box and dropout pattern"


def gradient(row: Experiment, weights: Mapping[str, Tensor], batch: SemiBatch, seed: int) -> Tensor:
    """The gradient that a row sends into a student half-way through stage 2, as a vector."""
    method = build_method(row, 4)
    exact = {key: w.float() if w.is_floating_point() else w for key, w in weights.items()}
    for network in (method.student, method.teacher):
        network.load_state_dict(exact)
    method.train()
    torch.manual_seed(seed)
    steps = config_for(row).stages[-1].steps
    method.training_step(batch, method.at(steps // 2, steps)).loss.backward()
    return torch.cat([p.grad.flatten() for p in method.student.parameters() if p.grad is not None])


def changes(root: Path, name: str, count: int) -> dict[str, dict[str, list[float] | float]]:
    """What each rule, and chance, changes in the steps of one released student."""
    weights, _ = read_weights(weights_file(name))
    config = config_for(PLAIN)
    batches = Batches(buarl.open_source("acdc", root), PLAIN.labeled, config.image_size)
    sizes = config.stages[-1].labeled_batch, config.stages[-1].unlabeled_batch
    drawn = [batches.batch((PLAIN.seed, 1), number, *sizes) for number in range(count)]

    def of(row: Experiment, first: int = 0) -> Tensor:
        return torch.stack([gradient(row, weights, b, first + n) for n, b in enumerate(drawn)])

    plain = of(PLAIN)
    others = {title: of(row) for title, row in ROWS.items()} | {CHANCE: of(PLAIN, 10_000)}
    found = {}
    for title, theirs in others.items():
        each = (theirs - plain).norm(dim=1) / plain.norm(dim=1)
        mean = (theirs.mean(0) - plain.mean(0)).norm() / plain.mean(0).norm()
        found[title] = {"each": [round(x, 4) for x in each.tolist()], "mean": round(mean.item(), 4)}
    return found


def main() -> None:
    if len(sys.argv) < 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("name the folder of ACDC: python tools/measure_gradients.py ACDC_FOLDER")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    found = {name: changes(Path(sys.argv[1]), name, count) for name in SHIPPED}
    write_json(OUT, {"batches": count, "environment": environment(), "changes": found})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
