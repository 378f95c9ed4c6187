"""Solutions to 00_start_here."""

# %%
import torch

import buarl

# %% 1. `M` holds the pixels above the order statistic at floor(q/100 * (n - 1)), so k pixels of n
# are marked when that position lies in [n - 1 - k, n - k).
for pixels, percentile in ((100, 97.0), (4096, 100 * (4096 - 3 - 1) / 4095)):
    entropy = torch.randperm(pixels, generator=torch.Generator().manual_seed(1)).float()
    assert buarl.uncertain_mask(entropy.view(1, -1), percentile).sum() == 3

# %% 2. Region means: an uncertain pixel weighs alpha / 1 %, a certain one 1 / 99 %.
# They are equal at alpha = 1 / 99.
chance = torch.rand(1, 1, 100, 100, generator=torch.Generator().manual_seed(2))
uncertain, certain = buarl.crl(99, alpha=1 / 99)(torch.cat([chance, 1 - chance], 1))
weights = [region.weight / region.mask.sum() for region in (uncertain, certain)]
assert torch.isclose(weights[0], weights[1])

# %% Further: `drop` gives the uncertain region weight 0, so its voxels leave the loss and have no
# gradient.
logits = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(3), requires_grad=True)
regions = buarl.drop(95)(logits.detach().softmax(1))
target = torch.zeros(1, 32, 32, dtype=torch.long)
buarl.region_loss(logits, target, regions, reduction="voxel").backward()
assert logits.grad[:, :, regions[0].mask[0]].abs().max() == 0
print("both solved")
