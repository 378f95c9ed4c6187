"""Solutions to the exercises of lesson 14: seeds, a shared first stage, time before money."""

# %% A preset of seconds, as in the lesson
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev

import torch

import buarl
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.scores import write_metrics
from buarl.results.ledger import add_to_ledger, ledger_table, read_ledger
from buarl.training.config import PRESETS, Preset

torch.set_num_threads(1)
source = buarl.open_source("phantom")
PRESETS["rehearsal"] = Preset(steps=10, labeled_batch=4, width=4, image_size={2: (32, 32)})
plain = buarl.Experiment(method="bcp", labeled=3, preset="rehearsal")
temporary = tempfile.TemporaryDirectory()  # removed at exit
scratch = Path(temporary.name)


def same_weights(a, b):
    """Whether two networks agree in every bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


# %% Exercise 1: three seeds, mean and standard deviation
seeds = {f"seed {seed}": replace(plain, method="supervised", seed=seed) for seed in (1, 2, 3)}
case = source.cases("val")[:1]
for title, row in seeds.items():
    folder = scratch / title
    network = buarl.run_experiment(row, source, folder).network
    scores = evaluate(network, source, "val", buarl.config_for(row), cases=case)
    write_metrics(folder / "metrics_val.csv", scores, ("one volume",), "diagonal")
    add_to_ledger(scratch / "results", title.replace(" ", "_"), folder)
ledger = read_ledger(scratch / "results")
dice = [entry["summary"]["dice"] for entry in ledger]
assert len(ledger) == 3
assert "not yet run" not in ledger_table(seeds, ledger)
assert ledger_table({"seed 4": replace(plain, seed=4)}, ledger).count("not yet run") == 1
print(f"exercise 1: mean Dice of {len(dice)} seeds {mean(dice):.3f}, std {stdev(dice):.3f}")
# The spread of a rehearsal is that of nearly untrained networks; it is no estimate of the spread of
# full runs. What carries over is the bookkeeping: seeds are part of the row, and so of the entry.

# %% Exercise 2: stage 1 once, for all rows that differ in stage 2 only
stages = []
with_crl = replace(plain, unlabeled_rule=buarl.crl(99))
buarl.run_experiment(plain, source, scratch / "plain")
short = buarl.run_experiment(
    with_crl,
    source,
    scratch / "crl, stage 1 borrowed",
    pretrained=scratch / "plain",
    callback=lambda stage, step, method: stages.append(stage),
)
whole_run = buarl.run_experiment(with_crl, source, scratch / "crl")
assert set(stages) == {"selftrain"}  # stage 1 was not trained again
assert same_weights(short.network, whole_run.network)  # and nothing was lost

# URL acts in stage 1, so the borrowed stage would belong to another row: refused.
with_url = replace(plain, labeled_rule=buarl.url(95))
try:
    buarl.run_experiment(with_url, source, scratch / "url", pretrained=scratch / "plain")
except ValueError as error:
    refused = str(error)
assert "labeled_rule" in refused
print("exercise 2: stage 1 borrowed, end equal; another labeled rule is refused")

# %% Exercise 3: one step's time, and the full schedule's
row = replace(plain, preset="toy")
config = buarl.config_for(row)
few = replace(config, stages=tuple(replace(stage, steps=6) for stage in config.stages))
ends = {"pretrain": [], "selftrain": []}


def note_time(stage, step, method):
    """A GPU works on behind our back: wait for it, or we time the queue."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    ends[stage].append(time.perf_counter())


method = buarl.build_method(row, source.num_classes)
buarl.fit(method, source, few, callback=note_time)
seconds = 0.0
for stage, times in zip(config.stages, ends.values(), strict=True):
    # The first steps are slow: memory is allocated, kernels are chosen. The median of the later
    # ones is what a long run sees.
    steps = [after - before for before, after in pairwise(times[1:])]
    assert len(steps) == 4
    seconds += median(steps) * stage.steps
assert 0 < seconds < 24 * 3600
print("exercise 3: extrapolated the toy schedule from six steps a stage")
