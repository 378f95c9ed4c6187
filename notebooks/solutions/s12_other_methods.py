"""Solutions of notebook 12: where DTC teaches, two slips, two cuts on one entropy."""

# %% Exercise 1: where can DTC teach?
import torch
from torch.nn import functional as F

import buarl
from buarl.data.batches import Batches
from buarl.dice import DICE_BCP_ACDC, DICE_MC_NET_ACDC, dice_loss
from buarl.entropy import entropy_of_probs, uncertain_mask
from buarl.lessons.trained import lesson_row, trained
from buarl.losses import region_mean
from buarl.methods.base import Step
from buarl.methods.signed_distance.maps import signed_distance
from buarl.methods.ss_net.prototypes import PrototypeMemory
from buarl.methods.ua_mt import UaMt, smoothed_entropy
from buarl.regions import within

source = buarl.open_source("phantom")
row = lesson_row("supervised", source)
config = buarl.config_for(row)
batch = Batches(source, config.labeled, config.image_size).batch((0,), 0, 4, 8)

one_hot = F.one_hot(batch.label, source.num_classes).movedim(-1, 1).float()  # (4, C, H, W)
probs = F.avg_pool2d(one_hot, 3, stride=1, padding=1, count_include_pad=False)
distance = signed_distance(batch.label, source.num_classes).requires_grad_()
turned = torch.sigmoid(-1500 * distance)
(turned - probs).square().mean().backward()
reached = (distance.grad.abs() > 1e-12).float().mean().item()
print(f"DTC's term reaches {100 * reached:.1f} % of the entries of a true distance map")
assert 0 < reached < 0.2

# All of these have distance 0: the next voxel is at 1 / (largest distance), at least 1 / 90 here,
# and 1500 / 90 is far out on the sigmoid. So a map that is right up to a scale gets no help.
present = one_hot.amax((2, 3), keepdim=True) > 0
assert (distance.grad.abs()[(distance.abs() > 0.012) & present] < 1e-6).all()
# On an inner boundary the true map says 0.5, while the true class has probability 1: the answers
# cannot agree everywhere, even when both are right.
boundary = (distance.detach() == 0) & (one_hot > 0) & present
assert (turned.detach()[boundary] == 0.5).all()
print(f"right and right differ by 0.5 on {int(boundary.sum())} boundary entries")

# %% Exercise 2: two slips
target = batch.label.flatten(1)
everywhere = torch.ones(len(target), 1, target.shape[1])
perfect = one_hot.flatten(2)
right, slip = DICE_BCP_ACDC, DICE_MC_NET_ACDC
costs = [dice_loss(perfect, target, everywhere, dice).item() for dice in (right, slip)]
print(
    f"perfect prediction: {costs[0]:.3f} with DICE_BCP_ACDC, {costs[1]:.3f} with DICE_MC_NET_ACDC"
)
assert abs(costs[0]) < 1e-5
assert abs(costs[1] - 0.5) < 1e-5

gradients = []
for dice in (right, slip):
    soft = probs.flatten(2).clone().requires_grad_()
    dice_loss(soft, target, everywhere, dice).sum().backward()
    gradients.append(soft.grad)
assert torch.allclose(gradients[1], gradients[0] / 2)  # half, everywhere


def first_number(vectors):
    """A stand-in for the selector: a vector's score is its first number."""
    return vectors[:, 0]


vectors = torch.arange(100.0)[:, None].expand(100, 4)
for keep, expected in (("lowest", range(10)), ("highest", range(90, 100))):
    memory = PrototypeMemory(2, channels=4, size=10, keep=keep)
    memory.store(1, vectors, first_number)
    stored = sorted(memory.of_each_class()[1][:, 0].tolist())
    print(f'keep="{keep}": scores {stored[0]:.0f} to {stored[-1]:.0f} stay')
    assert stored == list(expected)

# %% Exercise 3: two cuts, one voxel
ua_mt = UaMt(trained(row, source).student)  # the teacher starts as its copy
torch.manual_seed(0)
mean_probs = ua_mt.mean_probs(batch.unlabeled_image)  # (8, C, H, W)
step = Step(99, 100)
certain = smoothed_entropy(mean_probs) < ua_mt.threshold(step, source.num_classes)
uncertain = uncertain_mask(entropy_of_probs(mean_probs), 99)  # what CRL weighs down
dropped = (uncertain & ~certain).sum() / uncertain.sum()
print(f"the mask leaves out {100 * (~certain).float().mean():.1f} % of the voxels, among them")
print(f"{100 * dropped:.1f} % of those that crl(99) would weigh down")
assert dropped == 1

# Nothing is left of CRL: the most uncertain 1 % lie above the threshold, so all that counts has
# weight 1. It would act once more than 99 % of the voxels were certain, with a good teacher.
error = torch.rand_like(mean_probs[:, 0])
losses = [
    region_mean(error, within(rule(mean_probs), certain), reduction="voxel")
    for rule in (buarl.whole(), buarl.crl(99))
]
assert torch.equal(*losses)
# The wider threshold of "lnC" is no remedy near the end of a run: it masks nothing at all.
wide = UaMt(ua_mt.student, max_entropy="lnC").threshold(Step(100, 100), source.num_classes)
assert (smoothed_entropy(mean_probs) < wide).all()
