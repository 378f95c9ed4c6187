"""Solutions to the exercises of lesson 10: your own loss, your own rule, the silent mistake."""

# %% Exercise 1: any loss that has a value per pixel
import math

import torch

import buarl
from buarl.lessons.check import check


def weighted_cross_entropy(logits, label, regions):
    """The mean over all pixels of weight times cross-entropy."""
    per_pixel = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    weight = sum(region.mask * region.weight for region in regions)  # (B, *spatial)
    return (weight * per_pixel).mean()


assert check("10.1", weighted_cross_entropy).right

torch.manual_seed(0)
logits, label = torch.randn(2, 3, 20, 20), torch.randint(3, (2, 20, 20))
probs = logits.softmax(1)
plain = torch.nn.functional.cross_entropy(logits, label)
assert torch.isclose(weighted_cross_entropy(logits, label, buarl.whole()(probs)), plain)
regions = buarl.url(95)(probs)
library = buarl.region_loss(logits, label, regions, reduction="voxel", ce_share=1.0)
assert torch.isclose(weighted_cross_entropy(logits, label, regions), library)
print("exercise 1: the plain mean with whole(), the library's loss with ce_share=1")


# %% Exercise 2: a rule is any function from probabilities to regions
def small_margin(probs):
    """Pixels whose two best classes lie closer than 0.2 weigh 1, the others 0.5.

    A fixed cut, so the share of undecided pixels falls as the network learns; a percentile keeps it
    at 5 % for ever. Neither is right by itself.
    """
    best = probs.topk(2, dim=1).values  # (B, 2, *spatial)
    undecided = best[:, 0] - best[:, 1] < 0.2  # (B, *spatial)
    return [buarl.Region(undecided, 1.0), buarl.Region(~undecided, 0.5)]


assert check("10.2", small_margin).right
loss = buarl.region_loss(logits, label, small_margin(probs), reduction="voxel")
assert loss.isfinite()
# The methods take it as well: they call the rule they were given and never ask what it is.
network = torch.nn.Conv2d(1, 3, 3, padding=1)
buarl.METHODS["supervised"](network, labeled_rule=small_margin)
print("exercise 2: a rule of our own goes into region_loss and into the methods")

# %% Exercise 3: softmax twice
floor = math.log(1 + 1 / math.e)
assert check("10.3", floor).right
perfect = torch.tensor([[1.0, 0.0]])  # probabilities, where logits are wanted
kept = torch.nn.functional.cross_entropy(perfect, torch.tensor([0]))
assert math.isclose(kept.item(), floor, rel_tol=1e-6)
print(f"exercise 3: {floor:.2f} stays, whatever the network learns")
