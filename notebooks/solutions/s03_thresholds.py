"""Solutions to notebook 03: strict or not, percentile over a region, and the batch size."""

# %%
from __future__ import annotations

import math
import os

import torch

import buarl
from buarl import entropy
from buarl.evaluation import predict
from buarl.figures import views
from buarl.lessons import trained as lessons

source = buarl.open_source(os.environ.get("BUARL_SOURCE", "phantom"), os.environ.get("BUARL_ROOT"))
row = lessons.lesson_row("BCP", source)
config = buarl.config_for(row)
student = lessons.trained(row, source).student
images, _ = views.unlabeled_views(source, config, 120)
probs = predict.predict_probs(student, images)  # (N, C, *spatial)
uncertainty = entropy.entropy_of_probs(probs)  # (N, *spatial), nats

# %% 1. Greater or equal
generator = torch.Generator().manual_seed(0)
spread_out = 0.4 * torch.rand(1, 64, 64, generator=generator)
maps = {
    "all values differ": spread_out,
    "constant map": torch.full_like(spread_out, 0.3),
    "10 % tie at the top": torch.where(spread_out > 0.36, math.log(2), spread_out),
    "saturated": buarl.entropy_map(
        (3000 * torch.randn(1, 4, 64, 64, generator=generator)).bfloat16()
    ),
}
loose = {}
for name, values in maps.items():
    strict = buarl.uncertain_mask(values, 95).float().mean().item()
    # The threshold is a float64: compare in float64, or rounding decides about ties.
    cut = buarl.entropy_threshold(values, 95)
    loose[name] = (values.double() >= cut).float().mean().item()
    print(f"1. {name:20} strict {strict:.1%}, greater or equal {loose[name]:.1%}")
# Without ties the two agree, unless the position is whole: then one pixel is the threshold.
assert math.isclose(loose["all values differ"], 0.05, abs_tol=1e-3)
assert loose["constant map"] == 1  # everything is "uncertain"
assert 0.08 < loose["10 % tie at the top"] < 0.12  # the whole plateau
assert loose["saturated"] == 1  # threshold 0: every pixel reaches it

# %% 2. Percentile over predicted heart only
# `uncertain_mask` takes any shape (B, ...), so the chosen pixels can be handed over as one row.
heart = probs.argmax(1) > 0  # (N, *spatial)
row_of_heart = uncertainty[heart][None]  # (1, pixels)
cut_heart = buarl.entropy_threshold(row_of_heart, 95).item()
cut_all = buarl.entropy_threshold(uncertainty, 95).item()
marked = torch.zeros_like(heart)
marked[heart] = buarl.uncertain_mask(row_of_heart, 95)[0]
print(f"2. threshold {cut_all:.3f} over all pixels, {cut_heart:.3f} over predicted heart")
print(f"   marked {marked.float().mean():.2%} of all pixels, heart is {heart.float().mean():.1%}")
# Background is easy and fills the low end; without it the same q is a much harder cut.
assert cut_heart > cut_all
assert math.isclose(marked.sum() / heart.sum(), 0.05, abs_tol=1e-3)
assert not (marked & ~heart).any()  # missed heart can no longer be marked: a price to know

# %% 3. Batch size
# A percentile of few images depends on which images they are.
spread = {}
for size in (2, 12, 60):
    cuts = [buarl.entropy_threshold(part, 95).item() for part in uncertainty.split(size)]
    spread[size] = max(cuts) - min(cuts)
    print(f"3. batches of {size:2}: thresholds {min(cuts):.3f} to {max(cuts):.3f} nats")
assert spread[60] < spread[2]
# scope="image" is the extreme case of one image per threshold:
singles = buarl.entropy_threshold(uncertainty, 95, "image")
assert singles.shape == (len(images),)
assert singles.max() - singles.min() >= spread[2]
