"""Solutions to notebook 05: the ratio as a formula, CRL's ratio, and what borders weigh."""

# %%
from __future__ import annotations

import math
import os

import torch
from torch import Tensor
from torch.nn import functional

import buarl
from buarl import regions
from buarl.data.batches import Batches
from buarl.lessons import trained as lessons

NO_DICE = buarl.Dice(squared=True, per_sample=False, background=True, smooth=1e12)


def ce_gradient(logits: Tensor, label: Tensor, parts: list, reduction: str) -> Tensor:
    """Size (B, *spatial) of the gradient that the cross-entropy of the loss has at each pixel."""
    logits = logits.detach().clone().requires_grad_()
    loss = buarl.region_loss(logits, label, parts, reduction=reduction, dice=NO_DICE)
    return torch.autograd.grad(loss, logits)[0].norm(dim=1)


def ce_weights(logits: Tensor, label: Tensor, parts: list, reduction: str) -> Tensor:
    """The same, divided by the gradient of plain cross-entropy: the weight of each pixel."""
    plain = logits.detach().clone().requires_grad_()
    loss = functional.cross_entropy(plain, label, reduction="sum")
    return ce_gradient(logits, label, parts, reduction) / torch.autograd.grad(loss, plain)[0].norm(
        dim=1
    )


def ratio(rule: buarl.Rule, reduction: str) -> float:
    """Weight of an uncertain pixel over that of a certain one."""
    parts = rule(logits.softmax(1))
    weights = ce_weights(logits, label, parts, reduction)
    return (weights[parts[0].mask].mean() / weights[parts[1].mask].mean()).item()


generator = torch.Generator().manual_seed(0)
logits = torch.randn(1, 4, 20, 20, generator=generator)
label = torch.randint(4, (1, 20, 20), generator=generator)

# %% 1. The formula
# A region of share s, divided by its own size, gives each pixel weight / s. With s = 1 - q/100
# uncertain: (1 / s) : (alpha / (1 - s)) = (1 - s) / (alpha s).
for q, alpha in ((95, 0.5), (95, 1.0), (99, 0.5), (80, 0.25)):
    s = 1 - q / 100
    formula = (1 - s) / (alpha * s)
    measured = ratio(buarl.url(q, alpha), "region")
    print(f"1. q = {q}, alpha = {alpha:4}: formula {formula:6.1f}, measured {measured:6.1f}")
    assert math.isclose(measured, formula, rel_tol=1e-3)
# Equal weights need alpha = (1 - s) / s: 19 at q = 95. Then each pixel counts once, as in plain CE.
assert math.isclose(ratio(buarl.url(95, alpha=19), "region"), 1, rel_tol=1e-3)
# Note alpha = 1, "no re-weighting": still 19 : 1, because the regions are averaged apart.

# %% 2. CRL
# Now alpha sits on the uncertain pixels. Under "voxel" they weigh half, as the paper's text wants.
# Under "region" they are so few that dividing by their number outweighs alpha: 49.5 : 1.
for reduction, expected in (("region", 49.5), ("voxel", 0.5)):
    measured = ratio(buarl.crl(99, alpha=0.5), reduction)
    print(f"2. CRL, {reduction:6}: uncertain : certain = {measured:.1f} : 1")
    assert math.isclose(measured, expected, rel_tol=1e-3)

# %% 3. What borders weigh in a real batch
source = buarl.open_source(os.environ.get("BUARL_SOURCE", "phantom"), os.environ.get("BUARL_ROOT"))
row = lessons.lesson_row("supervised", source)
config = buarl.config_for(row)
student = lessons.trained(row, source).student.eval()
batches = Batches(source, config.labeled, config.image_size, unlabeled=False)
batch = batches.batch((0,), 0, 8, 0)
with torch.no_grad():
    scores = student(batch.labeled_image)  # (B, C, H, W)
probs = scores.softmax(1)
padded = functional.pad(batch.label[:, None].float(), (1, 1, 1, 1), mode="replicate")
border = (functional.max_pool2d(padded, 3, 1) != -functional.max_pool2d(-padded, 3, 1))[:, 0]
losses = {
    "plain": (regions.whole(), "voxel"),
    "URL, voxel": (buarl.url(95), "voxel"),
    "URL, region": (buarl.url(95), "region"),
}
print(f"3. {border.float().mean():.1%} of the pixels are near a border")
weight_share = {}
for name, (rule, reduction) in losses.items():
    parts = rule(probs)
    # The weight of a pixel does not depend on what is predicted: take it from the regions.
    scale = [1 / (r.mask.sum() if reduction == "region" else r.mask.numel()) for r in parts]
    weight = sum(r.weight * k * r.mask for r, k in zip(parts, scale, strict=True))
    gradient = ce_gradient(scores, batch.label, parts, reduction)
    weight_share[name] = (weight[border].sum() / weight.sum()).item()
    share = gradient[border].sum() / gradient.sum()
    print(f"   {name:11} {weight_share[name]:.1%} of the weight, {share:.1%} of the gradient")
# Uncertain pixels lie at borders more often than others, so URL moves weight there.
assert weight_share["plain"] < weight_share["URL, voxel"] < weight_share["URL, region"]
# The gradient was at borders before: a certain, correct pixel has little, whatever its weight.
# The sober view of URL per voxel: it doubles a part of what cross-entropy already dwells on.
