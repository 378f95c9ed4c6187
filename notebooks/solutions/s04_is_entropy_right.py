"""Solutions to 04_is_entropy_right: three bins, a temperature, and the risk at a coverage."""

# %%
from __future__ import annotations

import math

import numpy as np
import torch

from buarl.evaluation.calibration import calibration_error, fit_temperature
from buarl.lessons.check import check

# %% 1. Three bins: distances 0.1, 0.2 and 0, weighted by 10, 30 and 60 pixels of 100.
by_hand = 0.10 * 0.1 + 0.30 * 0.2 + 0.60 * 0.0
bins = [
    {"voxels": 10, "confidence": 0.5, "accuracy": 0.6},
    {"voxels": 30, "confidence": 0.7, "accuracy": 0.5},
    {"voxels": 60, "confidence": 0.9, "accuracy": 0.9},
]
assert math.isclose(calibration_error(bins), by_hand)
assert check("04.1", by_hand).right

# %% 2. 75 % are odds of 3 to 1, a difference of ln 3 between the two logits: 4 / T = ln 3.
temperature = 4 / math.log(3)
logits = torch.tensor([[[4.0] * 4, [0.0] * 4]])  # four pixels that all say 98 %
found = fit_temperature(logits, torch.tensor([[0, 0, 0, 1]]))  # three of them right
assert math.isclose(found, temperature, rel_tol=1e-3)
assert check("04.2", temperature).right


# %% 3. Sort, keep, count.
def risk_at(doubt, wrong, coverage):
    kept = np.argsort(doubt)[: round(coverage * len(doubt))]
    return wrong[kept].mean()


assert check("04.3", risk_at).right
print("all three solved")
