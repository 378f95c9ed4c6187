"""Solutions to notebook 02: other rankings, how much must be marked, and merged classes."""

# %%
from __future__ import annotations

import math
import os

import numpy as np
import torch

import buarl
from buarl import entropy
from buarl.evaluation import errors as analysis, predict
from buarl.figures import views
from buarl.lessons import trained as lessons

source = buarl.open_source(os.environ.get("BUARL_SOURCE", "phantom"), os.environ.get("BUARL_ROOT"))
row = lessons.lesson_row("BCP", source)
config = buarl.config_for(row)
student = lessons.trained(row, source).student
images, labels = views.unlabeled_views(source, config, 48)
probs = predict.predict_probs(student, images)  # (N, C, *spatial)
label = torch.from_numpy(labels.astype(np.int64))
error = probs.argmax(1) != label
uncertainty = entropy.entropy_of_probs(probs)  # nats

# %% 1. Another ranking: one minus the largest probability
# Both are 0 for a certain pixel and largest for a uniform one, and both rank two classes alike.
# They part where three or four classes compete: 0.5/0.5/0/0 and 0.5/0.2/0.2/0.1 have the same
# largest probability, the second the higher entropy.
doubt = 1 - probs.amax(1)
by_entropy = buarl.uncertain_mask(uncertainty, 95)
by_doubt = buarl.uncertain_mask(doubt, 95)
shared = (by_entropy & by_doubt).sum() / by_entropy.sum()
recalls = [analysis.error_capture(error, values, 95).recall for values in (uncertainty, doubt)]
print(f"1. shared by both masks {shared:.0%}; errors caught {recalls[0]:.0%} and {recalls[1]:.0%}")
assert 0.2 < shared <= 1
two_classes = torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0))
two_classes = torch.cat([two_classes, 1 - two_classes], 1)
assert torch.equal(  # with C = 2 the two rankings mark the same pixels
    buarl.uncertain_mask(entropy.entropy_of_probs(two_classes), 90),
    buarl.uncertain_mask(1 - two_classes.amax(1), 90),
)

# %% 2. How many percent must be marked?
# Sort the pixels by entropy, most uncertain first, and count the errors met on the way.
order = uncertainty.flatten().argsort(descending=True)
found = error.flatten()[order].cumsum(0) / error.sum()
needed = {}
for share in (0.5, 0.9):
    needed[share] = (int((found < share).sum()) + 1) / found.numel()
    perfect = share * error.float().mean().item()  # a perfect ranking meets the errors first
    print(
        f"2. {share:.0%} of the errors: mark {needed[share]:.1%}, a perfect ranking {perfect:.1%}"
    )
    assert needed[share] >= perfect
    # A random ranking would have to mark `share` of all pixels.
    assert needed[share] < share
# The library counts the same: at that percentile it catches that share of the errors.
check = analysis.error_capture(error, uncertainty, 100 * (1 - needed[0.5])).recall
assert math.isclose(check, 0.5, abs_tol=0.01)

# %% 3. Foreground merged: heart or not?
merged = torch.stack([probs[:, 0], probs[:, 1:].sum(1)], 1)  # (N, 2, *spatial)
heart_entropy = entropy.entropy_of_probs(merged)
assert heart_entropy.max() <= math.log(2) + 1e-6
# Merging can only lose doubt. What is lost is the doubt about which part of the heart it is:
# H = H(heart or not) + p(heart) * H(which part, if heart), the chain rule of entropy.
parts = probs[:, 1:] / probs[:, 1:].sum(1, keepdim=True).clamp_min(1e-12)
lost = probs[:, 1:].sum(1) * entropy.entropy_of_probs(parts)
assert torch.allclose(uncertainty, heart_entropy + lost, atol=1e-4)
print(f"3. share of all entropy that is about the part: {lost.sum() / uncertainty.sum():.0%}")
# Pixel (d): surely heart, part unknown. Merged, it looks certain.
where = uncertainty.masked_fill(probs[:, 0] >= 0.05, -1).argmax()
pixel = probs.movedim(1, -1).flatten(0, -2)[where]  # (C,)
four = float(torch.special.entr(pixel).sum())
two = float(torch.special.entr(torch.stack([pixel[0], pixel[1:].sum()])).sum())
print(f"   pixel (d): {four:.2f} nats with four classes, {two:.2f} with two")
assert two < 0.2 < four
