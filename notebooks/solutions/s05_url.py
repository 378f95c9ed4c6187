"""Solutions to lesson 05: the ratio, even weights, share of the loss, the gradient; and borders."""

# %%
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

import buarl
from buarl.data.batches import Batches
from buarl.lessons.check import check
from buarl.lessons.rows import lesson_row, lesson_source
from buarl.lessons.trained import after_stage
from buarl.losses import voxel_weights
from buarl.widgets import method_terms


# %% 1. The ratio
# A mean over a region of share s gives each pixel weight / s. With s = 1 - q/100 uncertain that is
# (1 / s) : (alpha / (1 - s)) = (1 - s) / (alpha s).
def ratio(q: float, alpha: float) -> float:
    """Weight of an uncertain pixel over that of a certain one, per region."""
    return q / (alpha * (100 - q))


assert check("05.1", ratio).right
probs = torch.randn(1, 4, 20, 20, generator=torch.Generator().manual_seed(0)).softmax(1)
for q, alpha in ((95, 0.5), (95, 1.0), (99, 0.5), (80, 0.25)):
    regions = buarl.url(q, alpha)(probs)
    weights, uncertain = voxel_weights(regions, reduction="region"), regions[0].mask
    measured = float(weights[uncertain].mean() / weights[~uncertain].mean())
    print(
        f"1. q = {q}, alpha = {alpha:4}: formula {ratio(q, alpha):5.1f}, measured {measured:5.1f}"
    )
    assert abs(measured / ratio(q, alpha) - 1) < 1e-3

# %% 2. Even weights
# Note alpha = 1: no region is preferred, and still 19 : 1, because the regions are averaged apart.
assert check("05.2", 95 / 5).right
even = voxel_weights(buarl.url(95, alpha=19)(probs), reduction="region")
assert torch.allclose(even, torch.tensor(20.0))  # the plain loss again, 20 times


# %% 3. From weight to loss
def loss_share(q: float, alpha: float, high: float, low: float) -> float:
    """Share of the weighted cross-entropy on uncertain pixels, per voxel."""
    uncertain, certain = (1 - q / 100) * high, alpha * q / 100 * low
    return uncertain / (uncertain + certain)


assert check("05.3", loss_share).right
print(f"3. weight {loss_share(95, 0.5, 1, 1):.1%}, loss {loss_share(95, 0.5, 0.8, 0.008):.0%}")


# %% 4. The gradient
def gradient(logits: Tensor, label: Tensor) -> Tensor:
    """Gradient of each pixel's cross-entropy in its logits, (pixels, C)."""
    return logits.softmax(1) - functional.one_hot(label, logits.shape[1])


assert check("05.4", gradient).right

# %% Further: what borders weigh
# Uncertain pixels lie at borders more often than others, so URL moves weight there. But the
# gradient was there before.
source = lesson_source()
row = lesson_row("BCP", source)
config, method = buarl.config_for(row), after_stage(row, source, "pretrain")
method.start_selftraining()
batches = Batches(source, config.labeled, config.image_size)
term = method_terms(method, batches.batch((config.seed, 1), 0, 8, 8))[0]
planes = term.target[:, None].float()
pool = functional.max_pool2d if source.rank == 2 else functional.max_pool3d
border = (pool(planes, 3, 1, 1) != -pool(-planes, 3, 1, 1))[:, 0]
y = functional.one_hot(term.target, term.logits.shape[1]).movedim(-1, 1)
size = (term.logits.softmax(1) - y).norm(dim=1)
print(f"borders are {border.float().mean():.1%} of the pixels")
shares = []
for name, rule, reduction in (
    ("plain", buarl.whole(), "voxel"),
    ("URL per voxel", buarl.url(95), "voxel"),
    ("URL per region", buarl.url(95), "region"),
):
    weight = voxel_weights(rule(term.probs), reduction=reduction)
    shares.append([float(v[border].sum() / v.sum()) for v in (weight, weight * size)])
    print(f"   {name:15} {shares[-1][0]:5.1%} of the weight, {shares[-1][1]:.0%} of the gradient")
assert shares[0][0] < shares[1][0] < shares[2][0]
