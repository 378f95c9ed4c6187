"""Solutions to lesson 06, certainty-aware region learning. No trained network is needed."""

# %%
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

import buarl

NO_DICE = replace(buarl.DICE_SSL4MIS, smooth=1e12)


def gradient_sizes(logits, target, regions, reduction, dice):
    """Per voxel: the size of the loss's gradient in its logits, (B, H, W)."""
    leaf = logits.clone().requires_grad_(True)
    buarl.region_loss(leaf, target, regions, reduction=reduction, dice=dice).backward()
    return leaf.grad.abs().sum(1)


def ratio_by_gradient(logits, target, rule, reduction, dice=NO_DICE):
    """Gradient per unit of p - y, uncertain over certain voxels (medians)."""
    regions = rule(logits.softmax(1))
    sizes = gradient_sizes(logits, target, regions, reduction, dice)
    plain = (logits.softmax(1) - F.one_hot(target, logits.shape[1]).movedim(-1, 1)).abs().sum(1)
    weight, uncertain = sizes / plain, regions[0].mask
    return float(weight[uncertain].median() / weight[~uncertain].median())


torch.manual_seed(0)
logits = 2 * torch.randn(1, 4, 100, 100)
target = torch.randint(0, 4, (1, 100, 100))

# %% [markdown]
# 1. Under "region" an uncertain voxel weighs alpha / u and a certain one 1 / (1 - u), where u is
# the uncertain share, u = 1 - q / 100. They are equal for alpha (1 - u) = u, that is
# u = alpha / (1 + alpha): a third of all voxels for alpha = 0.5, so q = 66.7. Any higher
# percentile, and so every one in the paper, weighs uncertain voxels UP.

# %%
for alpha in (0.1, 0.5, 1.0):
    balanced = 100 * (1 - alpha / (1 + alpha))
    found = ratio_by_gradient(logits, target, buarl.crl(balanced, alpha), "region")
    print(f"alpha {alpha}: equal weights at q = {balanced:.1f}, measured ratio {found:.2f}")
    assert abs(found - 1) < 0.01
    assert ratio_by_gradient(logits, target, buarl.crl(99, alpha), "region") > 9

# %% [markdown]
# 2. With Dice. A Dice is a quotient of sums over its region, so its gradient at a voxel shrinks
# with the size of the region: the same mechanism as the mean of cross-entropy. Per voxel it isn't
# a multiple of p - y, so there is no longer one ratio, but its median still is tens under "region"
# and below one under "voxel".

# %%
for reduction in ("region", "voxel"):
    full = ratio_by_gradient(logits, target, buarl.crl(99), reduction, buarl.DICE_SSL4MIS)
    alone = ratio_by_gradient(logits, target, buarl.crl(99), reduction)
    print(f"{reduction:>6}: cross-entropy alone {alone:.1f}, with Dice {full:.1f}")
    assert full > 20 if reduction == "region" else full < 1

# %% [markdown]
# 3. Whose pixels fall above the threshold? Four slices of one batch, ever harder: the same logits
# divided by a temperature. "batch" takes nearly all of its 1 % from the hardest slice, so under CRL
# the slices that need correcting pay alone; "image" takes 1 % of every slice, also where nothing is
# uncertain. The shares add up to the same.

# %%
torch.manual_seed(1)
base = 6 * torch.randn(1, 4, 64, 64)
hardness = torch.tensor([1.0, 1.5, 2.5, 4.0]).view(4, 1, 1, 1)
probs = (base / hardness).softmax(1)  # (4, C, H, W)
shares = {}
for scope in ("batch", "image"):
    uncertain = buarl.crl(99, scope=scope)(probs)[0].mask
    shares[scope] = 100 * uncertain.double().mean((1, 2)).numpy()
    print(f"{scope}: uncertain % per slice", np.round(shares[scope], 1))
    assert abs(shares[scope].mean() - 1) < 0.05
assert (np.diff(shares["batch"]) >= 0).all()
assert shares["batch"][-1] > 2
assert np.allclose(shares["image"], 1, atol=0.05)
