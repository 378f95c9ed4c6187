"""Solutions of lesson 14: hours of a schedule, one step's time, mean and spread of seeds."""

# %% Exercise 1: hours
from __future__ import annotations

import time
from statistics import mean, stdev

import numpy as np

import buarl
from buarl.lessons.check import check


def hours(stages):
    """Pairs of steps and seconds per step -> hours."""
    return sum(steps * seconds for steps, seconds in stages) / 3600


published = buarl.config_for(buarl.Experiment("bcp", source="acdc", labeled=7, preset="paper"))
steps = [stage.steps for stage in published.stages]
assert steps == [10_000, 30_000]
took = hours(zip(steps, (0.4, 1.2), strict=True))
print(f"BCP as published, at 0.4 and 1.2 s a step: {took:.0f} hours")
assert check("14.1", hours).right


# %% Exercise 2: one step's time
def seconds_per_step(times):
    """Clock at the end of every step, seconds, rising -> the seconds of a usual step."""
    return np.median(np.diff(times))


# `fit` calls a function after every step, so the clock can be read there. On a GPU wait for it
# first (torch.cuda.synchronize), or you time how quickly work is handed over.
source = buarl.open_source("phantom")
row = buarl.Experiment("supervised", labeled=3, preset="toy", set={"steps": 8, "labeled_batch": 2})
clock = []
method = buarl.build_method(row, source.num_classes)
buarl.fit(
    method,
    source,
    buarl.config_for(row),
    device="cpu",
    callback=lambda stage, step, method: clock.append(time.perf_counter()),
)
assert len(clock) == 8
assert seconds_per_step(clock) > 0
assert check("14.2", seconds_per_step).right

# %% Exercise 3: mean and spread
dice = [0.780, 0.781, 0.778, 0.779, 0.767]
print(f"Dice {mean(dice):.3f} ± {stdev(dice):.3f}")  # stdev divides by n - 1, pstdev by n
assert check("14.3", (mean(dice), stdev(dice))).right
