"""Solutions to lesson 07, Mean Teacher. No trained network is needed."""

# %%
import math

import torch
from torch import nn

import buarl
from buarl.ema import ema_decay_at


def one_weight(value):
    """A network with a single weight."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, value)
    return net


# %% [markdown]
# 1. Unrolled, the teacher is a weighted sum of all students: the one of k steps ago has weight
# (1 - d) d^k with d = 0.99. The sum of the last n of these is 1 - d^n, so half of the teacher comes
# from the last ln(1/2) / ln(d) = 69 steps, and the mean age is d / (1 - d) = 99 steps.

# %%
decay = 0.99
half_life = math.log(0.5) / math.log(decay)
teacher = one_weight(0.0)
buarl.update_teacher(teacher, one_weight(1.0), decay)  # a student that is 1 once ...
for _ in range(30):
    buarl.update_teacher(teacher, one_weight(0.0), decay)  # ... and 0 ever after
remembered = teacher.weight.item()
print(f"30 steps later: {remembered:.5f}, expected {(1 - decay) * decay**30:.5f}")
assert math.isclose(remembered, (1 - decay) * decay**30, rel_tol=1e-4)

teacher = one_weight(0.0)
steps = 0
while (
    teacher.weight.item() < 0.5
):  # a student that jumps from 0 to 1: half the way takes a half-life
    buarl.update_teacher(teacher, one_weight(1.0), decay)
    steps += 1
print(f"half-life: {steps} steps, expected {half_life:.1f}")
assert steps == math.ceil(half_life)
mean_age = sum(k * (1 - decay) * decay**k for k in range(5000))
assert math.isclose(mean_age, decay / (1 - decay), rel_tol=1e-6)

# %% [markdown]
# 2. Literally, (1 - lambda) stays with the teacher. lambda is 0 at step 0, so the teacher first
# ignores the student altogether; it keeps 1/2 of its start after step 1, 1/6 after step 2,
# 1/(i + 1)! after step i, so the start is gone after a few steps. Then it is 99 % the newest
# student. That the decay was meant for the other side shows at step 0: a teacher that ignores the
# student there makes no sense, one that copies it does.

# %%
start, student = 1.0, 0.0  # what is left of the teacher's start if every student is 0
for step in range(8):
    factor = ema_decay_at(step)
    start = (1 - factor) * start + factor * student
    assert math.isclose(start, 1 / math.factorial(step + 1))
print(f"literal: after 8 steps {start:.1e} of the start is left")
newest = ema_decay_at(500)
print(f"literal: at step 500 the newest student makes up {newest:.0%} of the teacher")
assert newest == 0.99
usual = one_weight(1.0)
buarl.update_teacher(usual, one_weight(0.0), ema_decay_at(0))
assert usual.weight.item() == 0.0  # usual: a copy after the first step

# %% [markdown]
# 3. The teacher says class 1. For cross-entropy the gradient in the logits is p - y: the more the
# student disagrees, the stronger, up to 1. For the squared difference it is multiplied by p (1 - p)
# on the way through the softmax, so it vanishes for a student that is confidently opposed. A wrong
# hard pseudo-label pushes as hard as a right one: that is why its errors matter, and why Eq. 8
# weighs regions at all.

# %%
teacher_probs = torch.tensor([0.02, 0.98]).view(1, 2, 1, 1)
place = buarl.whole()(teacher_probs)
pushes = []
for gap in (0.0, 2.0, 4.0, 8.0):  # how strongly the student prefers class 0
    sizes = []
    for kind in ("mse", "pseudo_label"):
        logits = torch.tensor([gap, 0.0]).view(1, 2, 1, 1).requires_grad_(True)
        if kind == "mse":
            loss = buarl.consistency_loss(
                logits.softmax(1), teacher_probs, place, reduction="voxel"
            )
        else:
            pseudo_label = teacher_probs.argmax(1)
            loss = buarl.region_loss(logits, pseudo_label, place, reduction="voxel")
        loss.backward()
        sizes.append(logits.grad.abs().max().item())
    pushes.append(sizes)
    wrong = torch.tensor([gap, 0.0]).softmax(0)[0].item()
    print(f"p(class 0) = {wrong:.4f}: gradient {sizes[0]:.4f} (mse), {sizes[1]:.4f} (pseudo-label)")
assert pushes[-1][0] < 0.01 < 0.4 < pushes[-1][1]
