"""Solutions of lesson 13: a signed distance, a gentler sigmoid, which features are remembered."""

# %% Exercise 1: a signed distance
from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from buarl.lessons.check import check
from buarl.methods.ss_net.prototypes import PrototypeMemory


def signed(mask):
    """A bool mask (H, W) with both sides -> its signed distance, -1 to 1."""
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    distance = outside / outside.max() - inside / inside.max()
    return np.where(inside == 1, 0, distance)


square = np.zeros((7, 7), bool)
square[1:6, 1:6] = True
print(signed(square)[3] + 0.0)
assert check("13.1", signed).right

# %% Exercise 2: a gentler sigmoid
# sigmoid(-k z) = 1 / (1 + exp(k z)), so the odds against the pixel are exp(k z) = 0.9 / 0.1.
steepness = 40 * math.log(9)
probability = 1 / (1 + math.exp(steepness / 40))
print(f"k = {steepness:.1f} gives p = {probability:.2f}")
assert math.isclose(probability, 0.1)
assert check("13.2", steepness).right


# %% Exercise 3: which features are remembered?
def remembered(vectors, scores, size):
    """Candidates (M, E) and their scores (M,) -> at most `size` of them, in any order."""
    return vectors[scores.topk(min(size, len(scores))).indices]


# The library's memory does it if asked; its default is the slip of the public code.
vectors = torch.arange(100.0)[:, None].expand(100, 4)
for keep, lowest in (("lowest", 0), ("highest", 90)):
    memory = PrototypeMemory(2, channels=4, size=10, keep=keep)
    memory.store(1, vectors, lambda candidates: candidates[:, 0])
    kept = memory.of_each_class()[1]
    print(f'keep="{keep}": scores {kept.min():.0f} to {kept.max():.0f} stay')
    assert kept.min() == lowest
assert torch.equal(remembered(vectors, vectors[:, 0], 10).sort(0).values, kept.sort(0).values)
assert check("13.3", remembered).right
