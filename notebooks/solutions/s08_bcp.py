"""Solutions to lesson 08, bidirectional copy-paste. No trained network is needed."""

# %%
from dataclasses import replace

import torch
from torch.nn import functional as F

import buarl
from buarl.copy_paste import outside_mask, sample_box
from buarl.data.batches import Batches
from buarl.lessons.trained import lesson_row
from buarl.methods.base import Step

source = buarl.open_source("phantom")
row = lesson_row("BCP", source)
config = buarl.config_for(row)

# %% [markdown]
# 1. With size s = 2n/3 and a corner that is uniform in 0 .. n/3 - 1, every box covers the middle
# third: a pixel at the centre lies inside always, a corner pixel almost never. A heart in the
# centre is therefore pasted whole or nearly so, and what surrounds it comes from the other image;
# "bidirectional" makes up for it, as each kind is in the box once.

# %%
torch.manual_seed(0)
inside = torch.stack([~outside_mask((64, 64), sample_box((64, 64))) for _ in range(2000)])
often = inside.double().mean(0)  # (64, 64), share of boxes that cover a pixel
print(f"centre {often[32, 32]:.2f}, middle of an edge {often[0, 32]:.2f}, corner {often[0, 0]:.3f}")
assert often[22:42, 22:42].min() == 1
assert often[0, 0] < 0.01
assert abs(often.mean() - (42 / 64) ** 2) < 1e-6  # every box has the same size

# %% [markdown]
# 2. ACDC adds a loss per part, each a mean over its own pixels; LA takes one mean over the whole
# image. If the losses of the two parts are alike, the sum is twice the mean. With Adam, which
# divides by the size of the gradient, the factor hardly matters; with SGD it is a doubled learning
# rate.

# %%
batches = Batches(source, config.labeled, config.image_size, unlabeled=False)
batch = batches.batch((config.seed, 0), 0, 8, 0)
losses = {}
for mixed_label in (False, True):
    options = {"mixed_label": mixed_label}
    method = buarl.build_method(replace(row, options=options), source.num_classes).train()
    torch.manual_seed(0)
    losses[mixed_label] = method.pretraining_step(batch, Step(0, 1)).loss.item()
factor = losses[False] / losses[True]
print(
    f"a loss per part {losses[False]:.3f}, one mixed label {losses[True]:.3f}: {factor:.2f} times"
)
assert 1.8 < factor < 2.2

# %% [markdown]
# 3. Each place is a mean over its own voxels, so one voxel weighs 1 / (voxels of its place): with
# a tiny box the few voxels in it weigh far more than those around. At the usual share of 2/3 the
# two places are nearly of one size and nobody notices.

# %%
no_dice = replace(buarl.DICE_SSL4MIS, smooth=1e12)  # constant: only cross-entropy is left
for share in (2 / 3, 0.1):
    torch.manual_seed(0)
    outside = outside_mask((64, 64), sample_box((64, 64), share))
    logits = torch.randn(1, 4, 64, 64, requires_grad=True)
    target = torch.randint(0, 4, (1, 64, 64))
    everything = buarl.whole()(logits.detach().softmax(1))
    for place in (outside, ~outside):  # gradients of the two places add up
        regions = buarl.within(everything, place)
        buarl.region_loss(logits, target, regions, reduction="voxel", dice=no_dice).backward()
    plain = logits.detach().softmax(1) - F.one_hot(target, 4).movedim(-1, 1)
    weight = (logits.grad.abs().sum(1) / plain.abs().sum(1))[0]  # (64, 64)
    ratio = float(weight[~outside].mean() / weight[outside].mean())
    expected = float(outside.sum() / (~outside).sum())
    print(f"box share {share:.2f}: a voxel in the box weighs {ratio:.1f} times one around it")
    assert abs(ratio / expected - 1) < 1e-3
