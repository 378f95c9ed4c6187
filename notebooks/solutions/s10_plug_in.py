"""Solutions to the exercises of lesson 10: your classes, your loss, your rule."""

# %% A folder in the ACDC layout with one structure (background and disc)
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

import buarl
from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.scores import summary
from buarl.training.config import StagePlan

torch.set_num_threads(1)
rng = np.random.default_rng(0)
temporary = tempfile.TemporaryDirectory()  # removed at exit
root = Path(temporary.name)
(root / "data" / "slices").mkdir(parents=True)


def write_case(path, shape):
    """A bright disc on noise, at a random place."""
    row, column = np.mgrid[-1 : 1 : shape[-2] * 1j, -1 : 1 : shape[-1] * 1j]
    inside = np.hypot(row - rng.uniform(-0.3, 0.3), column - rng.uniform(-0.3, 0.3)) < 0.6
    label = np.broadcast_to(inside, shape).astype(np.uint8)
    with h5py.File(path, "w") as file:
        file["image"] = (label + rng.normal(0, 0.3, shape)).astype(np.float32)
        file["label"] = label


names = [f"p{patient}_frame01_slice_{k}" for patient in (1, 2) for k in (1, 2, 3)]
for name in names:
    write_case(root / "data" / "slices" / f"{name}.h5", (40, 44))
write_case(root / "data" / "p3_frame01.h5", (4, 40, 44))
(root / "train_slices.list").write_text("\n".join(names) + "\n")
(root / "val.list").write_text("p3_frame01\n")


# %% Exercise 1: a source with two classes, and URL on it
class Discs(Acdc):
    """The layout stays; only name and classes are ours."""

    name = "discs"
    class_names = ("background", "disc")


source = Discs(root)
config = replace(
    buarl.config_for(buarl.Experiment(method="supervised")),  # any row: we replace its numbers
    image_size=(32, 32),
    stages=(StagePlan(steps=40, labeled_batch=4, unlabeled_batch=0),),
    labeled=None,
)
torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 5, padding=2)
)
adam = config.settings["optimizer"]
method = buarl.METHODS["supervised"](network, labeled_rule=buarl.url(95), optimizer=adam)
buarl.fit(method, source, config)
scores = summary(evaluate(network, source, "val", config))
assert scores["dice"] > 0.7
assert "dice disc" in scores

# A label outside the classes is refused when the file is read, and the file is named.
with h5py.File(root / "data" / "slices" / f"{names[0]}.h5", "a") as file:
    file["label"][0, 0] = 2
try:
    buarl.fit(method, source, config)
except DataError as error:
    refused = str(error)
assert names[0] in refused
print("exercise 1: two classes trained; the label 2 is refused with the file's name")


# %% Exercise 2: any loss that has a value per voxel
def weighted_cross_entropy(logits, label, regions):
    """Every voxel's cross-entropy times the weight of its region, mean over all voxels."""
    per_voxel = torch.nn.functional.cross_entropy(logits, label, reduction="none")  # (B, *spatial)
    weight = sum(region.mask * region.weight for region in regions)  # (B, *spatial)
    return (weight * per_voxel).mean()


torch.manual_seed(0)
logits, label = torch.randn(2, 3, 20, 20), torch.randint(3, (2, 20, 20))
probs = logits.softmax(1)
plain = torch.nn.functional.cross_entropy(logits, label)
assert torch.isclose(weighted_cross_entropy(logits, label, buarl.whole()(probs)), plain)
with_url = weighted_cross_entropy(logits, label, buarl.url(95)(probs))
assert 0.5 * plain < with_url < plain  # all voxels weigh between alpha and 1
print("exercise 2: cross-entropy on regions, equal to the plain one with whole()")


# %% Exercise 3: a rule is any function from probabilities to regions
def small_margin(probs, margin=0.2, alpha=0.5):
    """Voxels whose two best classes lie closer than `margin` weigh 1, the others alpha.

    A fixed cut, so the share of undecided voxels falls as the network learns; a percentile keeps it
    at 5 % for ever. Neither is right by itself.
    """
    best = probs.detach().topk(2, dim=1).values  # (B, 2, *spatial)
    undecided = best[:, 0] - best[:, 1] < margin  # (B, *spatial)
    return [buarl.Region(undecided, 1.0), buarl.Region(~undecided, alpha)]


regions = small_margin(probs)
assert regions[0].mask.shape == label.shape
assert (regions[0].mask ^ regions[1].mask).all()  # every voxel lies in exactly one region
loss = buarl.region_loss(logits, label, regions, reduction="voxel")
assert loss.isfinite()
# The methods take it as well: they call the rule they were given and never ask what it is.
buarl.METHODS["supervised"](network, labeled_rule=small_margin)
print("exercise 3: a rule of our own goes into region_loss and into the methods")
