"""Solutions to 03_thresholds: ties, a batch of two images, and the ceiling of recall."""

# %%
from __future__ import annotations

import math

import torch

import buarl
from buarl.lessons.check import check

# %% 1. The threshold lies on the plateau: nothing is above it, and all of the plateau reaches it.
generator = torch.Generator().manual_seed(0)
values = 0.4 * torch.rand(1, 64, 64, generator=generator)
values = torch.where(values > 0.36, math.log(2), values)  # the top tenth ties at ln 2
cut = buarl.entropy_threshold(values, 95)  # float64: compared in float64, or rounding decides
assert cut.item() == torch.tensor(math.log(2)).item()
strict, loose = values.double() > cut, values.double() >= cut
assert not strict.any()
assert 0.09 < loose.float().mean() < 0.11
assert torch.equal(strict, buarl.uncertain_mask(values, 95))
assert check("03.1", (0, 10)).right


# %% 2. One threshold for both: the pixels are thrown together, then each image is counted.
def shares_of_two(images, q):
    cut = buarl.entropy_threshold(images, q)  # (1,), over all pixels
    return (images.double() > cut).double().flatten(1).mean(1)


assert check("03.2", shares_of_two).right


# %% 3. With every marked pixel wrong, 100 - q percent of the pixels are caught, of `wrong` in all.
def ceiling(q, wrong):
    return min(1.0, (100 - q) / 100 / wrong)


assert check("03.3", ceiling).right
print("all three solved")
