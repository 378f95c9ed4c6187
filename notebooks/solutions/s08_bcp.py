"""Solutions of lesson 08: the share of the box, mixing by hand, and what a small box weighs."""

# %%
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

import buarl
from buarl.copy_paste import Box, copy_paste, outside_mask, sample_box
from buarl.data.batches import Batches
from buarl.lessons.check import check
from buarl.lessons.rows import lesson_row
from buarl.methods.base import Step

# %% 1. How much is inside
in_2d, in_3d = (2 / 3) ** 2, (2 / 3) ** 3
for spatial, share in (((256, 256), in_2d), ((112, 112, 80), in_3d)):
    inside = 1 - outside_mask(spatial, sample_box(spatial)).double().mean().item()
    print(f"image {spatial}: {inside:.3f} in the box, {share:.3f} without rounding")
    assert share - 0.01 < inside <= share

# Where is it? With two thirds of every edge, every box covers the middle third: a pixel at the
# center lies inside always, a corner almost never. A heart in the middle is pasted whole or nearly
# so, and what surrounds it comes from the other image; that is why there are two directions.
torch.manual_seed(0)
drawn = torch.stack([~outside_mask((64, 64), sample_box((64, 64))) for _ in range(2000)])
often = drawn.double().mean(0)  # (64, 64), share of boxes that cover a pixel
print(f"center {often[32, 32]:.2f}, middle of an edge {often[0, 32]:.2f}, corner {often[0, 0]:.3f}")
assert often[22:42, 22:42].min() == 1
assert often[0, 0] < 0.01


# %% 2. Mix
def paste(around, inside, top, left, height, width):
    """The box of one array on a copy of the other."""
    rows, columns = slice(top, top + height), slice(left, left + width)
    mixed = around.copy()
    mixed[rows, columns] = inside[rows, columns]
    return mixed


first, second = np.random.default_rng(0).normal(size=(2, 20, 30))
outside = outside_mask((20, 30), Box((3, 5), (8, 11)))
library = copy_paste(torch.from_numpy(first), torch.from_numpy(second), outside)
assert np.array_equal(paste(first, second, 3, 5, 8, 11), library.numpy())

# %% 3. A small box
# Each place is a mean over its own pixels, so a pixel weighs 1 / (pixels of its place).
times = (1 - 0.1**2) / 0.1**2
assert round(times) == 99
no_dice = replace(buarl.DICE_SSL4MIS, smooth=1e12)  # constant: only cross-entropy is left
for share in (2 / 3, 0.1):
    torch.manual_seed(0)
    outside = outside_mask((60, 60), sample_box((60, 60), share))
    logits = torch.randn(1, 4, 60, 60, requires_grad=True)
    target = torch.randint(0, 4, (1, 60, 60))
    everything = buarl.whole()(logits.detach().softmax(1))
    for place in (outside, ~outside):  # gradients of the two places add up
        regions = buarl.within(everything, place)
        buarl.region_loss(logits, target, regions, reduction="voxel", dice=no_dice).backward()
    plain = logits.detach().softmax(1) - F.one_hot(target, 4).movedim(-1, 1)
    weight = (logits.grad.abs().sum(1) / plain.abs().sum(1))[0]  # (60, 60)
    ratio = float(weight[~outside].mean() / weight[outside].mean())
    print(f"box share {share:.2f}: a pixel in the box weighs {ratio:.2f} times one around it")
    assert abs(ratio / ((1 - share**2) / share**2) - 1) < 1e-3

# %% More: one mixed label (LA) or a loss for each place (ACDC)?
# ACDC adds a loss for each place, each a mean over its own pixels; LA takes one mean over the whole
# image. If the losses of the two places are alike, the sum is twice the mean. With Adam, which
# divides by the size of the gradient, the factor hardly matters; with SGD it is a doubled learning
# rate.
source = buarl.open_source("phantom")
row = lesson_row("BCP", source)
config = buarl.config_for(row)
batches = Batches(source, config.labeled, config.image_size, unlabeled=False)
batch = batches.batch((config.seed, 0), 0, 8, 0)
losses = {}
for mixed_label in (False, True):
    options = {"mixed_label": mixed_label}
    method = buarl.build_method(replace(row, options=options), source.num_classes).train()
    torch.manual_seed(0)
    losses[mixed_label] = method.pretraining_step(batch, Step(0, 1)).loss.item()
factor = losses[False] / losses[True]
print(f"a loss for each place {losses[False]:.2f}, one mixed label {losses[True]:.2f}")
assert 1.8 < factor < 2.2

# %%
assert check("08.1", (in_2d, in_3d)).right
assert check("08.2", paste).right
assert check("08.3", times).right
