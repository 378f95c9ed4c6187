"""Solutions of lesson 07: half-life, the average by hand, the ramp, which term pushes harder."""

# %%
import math

import numpy as np
import torch
from torch import nn

import buarl
from buarl.ema import ema_decay_at
from buarl.lessons.check import check
from buarl.schedules import ramp


def one_weight(value):
    """A network with a single weight."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, value)
    return net


# %% 1. Half-life
# Unrolled, the teacher is a weighted sum of all students: the one of k steps ago has the weight
# (1 - d) d^k with d = 0.99. What was there n steps ago has the weight d^n, so half of it is gone
# after ln(1/2) / ln(d) = 69 steps, and the mean age is d / (1 - d) = 99 steps.
decay = 0.99
half_life = math.log(0.5) / math.log(decay)
teacher, steps = one_weight(0.0), 0
while teacher.weight.item() < 0.5:  # a student that stands at 1: half the way takes a half-life
    buarl.update_teacher(teacher, one_weight(1.0), decay)
    steps += 1
print(f"half-life: {steps} steps, expected {half_life:.1f}")
assert steps == math.ceil(half_life)
mean_age = sum(k * (1 - decay) * decay**k for k in range(5000))
assert math.isclose(mean_age, decay / (1 - decay), rel_tol=1e-6)


# %% 2. The average by hand
def follow(teacher, student, step):
    """Eq. 10 as it is meant: lambda stays with the old teacher, and is 0 at step 0."""
    decay = min(step / (step + 1), 0.99)
    return decay * teacher + (1 - decay) * student


for step in (0, 5, 400):
    library = one_weight(2.0)
    buarl.update_teacher(library, one_weight(-1.0), ema_decay_at(step))
    assert math.isclose(library.weight.item(), follow(2.0, -1.0, step), rel_tol=1e-6)

# As printed, lambda stands on the student. At step 0 the teacher then ignores it altogether; it
# keeps 1/2 of its start after step 1, 1/6 after step 2, 1/(i + 1)! after step i. Then it is 99 %
# the newest student. That the decay was meant for the other side shows at step 0.
kept = 1.0  # of the teacher's start
for step in range(8):
    kept *= 1 - ema_decay_at(step)
    assert math.isclose(kept, 1 / math.factorial(step + 1))
print(f"as printed: after 8 steps {kept:.1e} of the start is left")

# %% 3. The ramp
weight_at_half = 0.1 * math.exp(-5 * (1 - 0.5) ** 2)
assert math.isclose(weight_at_half, 0.1 * ramp(15_000, 30_000))
reached = 1 - math.sqrt(math.log(2) / 5)  # where the weight is half of its end
assert math.isclose(ramp(round(reached * 30_000), 30_000), 0.5, abs_tol=0.01)
print(f"halfway {weight_at_half:.4f}; half of the end is reached at {reached:.2f} of the run")

# %% More: which unlabeled term pushes, and which gives up?
# The teacher says class 1. For cross-entropy the gradient in the logits is p - y: the more the
# student disagrees, the stronger, up to 1. For the squared difference it is multiplied by p (1 - p)
# on the way through the softmax, so it vanishes for a student that is confidently opposed. A wrong
# pseudo-label pushes as hard as a right one; that is why Eq. 8 weighs regions at all.
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

# %%
assert check("07.1", half_life).right
assert check("07.2", follow).right
assert check("07.2", lambda old, new, step: np.asarray(follow(old, new, step))).right
assert check("07.3", weight_at_half).right
