"""Solutions to lesson 06: CRL by hand, even weights, what half the weight takes; Dice and scope."""

# %%
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import buarl
from buarl.lessons.check import check
from buarl.losses import voxel_weights


# %% 1. CRL by hand
def crl_weights(entropy: np.ndarray, q: float, alpha: float, reduction: str) -> np.ndarray:
    """Weight of every pixel, in units of the plain mean."""
    marked = entropy > np.percentile(entropy, q)
    s = marked.mean()
    if reduction == "voxel":
        return np.where(marked, alpha, 1.0)
    return np.where(marked, alpha / s, 1 / (1 - s))


assert check("06.1", crl_weights).right
torch.manual_seed(0)
logits = 2 * torch.randn(1, 4, 100, 100)
probs, target = logits.softmax(1), torch.randint(0, 4, (1, 100, 100))
entropy = buarl.entropy_map(logits)
for reduction in ("voxel", "region"):
    by_hand = torch.from_numpy(crl_weights(entropy.numpy(), 99, 0.5, reduction)).float()
    assert torch.allclose(by_hand, voxel_weights(buarl.crl(99)(probs), reduction=reduction))

# %% 2. Even weights
# Per region an uncertain pixel weighs alpha / s and a certain one 1 / (1 - s): equal for
# s = alpha / (1 + alpha), a third of all pixels for alpha = 0.5.
assert check("06.2", 100 * (1 - 1 / 3)).right
for alpha in (0.1, 0.5, 1.0):
    balanced = 100 * (1 - alpha / (1 + alpha))
    weights = voxel_weights(buarl.crl(balanced, alpha)(probs), reduction="region")
    print(
        f"2. alpha {alpha}: equal at q = {balanced:.1f}, {weights.min():.2f} to {weights.max():.2f}"
    )
    assert torch.allclose(weights, weights.mean(), rtol=1e-3)


# %% 3. What half the weight takes
def share_under_crl(g: float, alpha: float) -> float:
    """Share of the gradient under CRL per voxel, from the share in the plain loss."""
    return alpha * g / (alpha * g + 1 - g)


assert check("06.3", share_under_crl).right
print("3.", ", ".join(f"{g:.0%} becomes {share_under_crl(g, 0.5):.0%}" for g in (0.01, 0.32, 0.9)))


# %% Further: does the Dice half agree with the 49.5?
# A Dice is a quotient of sums over its region, so its gradient at a pixel shrinks with the size of
# the region: the same mechanism as the mean of cross-entropy. It is no multiple of p - y, so there
# is no longer one ratio, but its median still is tens per region and below one per voxel.
def ratio(reduction: str, ce_share: float) -> float:
    """Size of the gradient per size of p - y, uncertain over certain pixels (medians)."""
    regions = buarl.crl(99)(probs)
    leaf = logits.clone().requires_grad_()
    loss = buarl.region_loss(leaf, target, regions, reduction=reduction, ce_share=ce_share)
    y = torch.nn.functional.one_hot(target, 4).movedim(-1, 1)
    size: Tensor = torch.autograd.grad(loss, leaf)[0].norm(dim=1) / (probs - y).norm(dim=1)
    uncertain = regions[0].mask
    return float(size[uncertain].median() / size[~uncertain].median())


for reduction in ("voxel", "region"):
    alone, both = ratio(reduction, 1.0), ratio(reduction, 0.5)
    print(f"Dice, per {reduction}: cross-entropy alone {alone:.1f}, with Dice {both:.1f}")
    assert both > 20 if reduction == "region" else both < 1

# %% Further: whose pixels are marked?
# Four images of one batch, ever harder: the same logits divided by a temperature. "batch" takes
# nearly all of its 1 % from the hardest image; "image" takes 1 % of each, also where nothing is
# uncertain.
torch.manual_seed(1)
base = 6 * torch.randn(1, 4, 64, 64)
harder = (base / torch.tensor([1.0, 1.5, 2.5, 4.0]).view(4, 1, 1, 1)).softmax(1)
for scope in ("batch", "image"):
    shares = 100 * buarl.crl(99, scope=scope)(harder)[0].mask.double().mean((1, 2)).numpy()
    print(f"scope {scope}: marked % per image", np.round(shares, 1))
    assert (np.diff(shares) >= 0).all() if scope == "batch" else np.allclose(shares, 1, atol=0.05)
