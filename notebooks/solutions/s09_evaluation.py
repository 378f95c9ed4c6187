"""Solutions of notebook 09: a symmetric ASD, slices and volumes, more looks."""

# %% Exercise 1: a symmetric ASD
import numpy as np

import buarl
from buarl.lessons.check import check

two_parts = np.zeros((24, 24), bool)
two_parts[4:10, 4:10] = two_parts[14:20, 14:20] = True
one_part = two_parts.copy()
one_part[14:20, 14:20] = False


def surface(mask: np.ndarray) -> np.ndarray:
    """Pixels of a 2-D mask with a face neighbor outside it, (points, 2)."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inside)


def symmetric_asd(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean over the surface distances of both directions."""
    apart = surface(prediction)[:, None] - surface(target)[None]
    distance = np.sqrt((apart**2).sum(-1))
    return float(np.concatenate([distance.min(1), distance.min(0)]).mean())


print(f"ASD           {buarl.case_metrics(one_part, two_parts)['asd']:.2f}")
print(f"symmetric ASD {symmetric_asd(one_part, two_parts):.2f}")
assert symmetric_asd(one_part, two_parts) == symmetric_asd(two_parts, one_part) > 0
# Both directions of the library together: weigh each by the length of its list.
there = buarl.case_metrics(one_part, two_parts)["asd"] * len(surface(one_part))
back = buarl.case_metrics(two_parts, one_part)["asd"] * len(surface(two_parts))
points = len(surface(one_part)) + len(surface(two_parts))
assert np.isclose(symmetric_asd(one_part, two_parts), (there + back) / points)

# %% Exercise 2: per slice or per volume
target = np.zeros((5, 32, 32), bool)
target[:4, 8:24, 8:24] = True  # four slices with a large structure,
target[4, 15:17, 15:17] = True  # one with four pixels of it
prediction = target.copy()
prediction[4] = False  # only these four are missed

per_slice = np.mean(
    [buarl.case_metrics(p, t)["dice"] for p, t in zip(prediction, target, strict=True)]
)
per_volume = buarl.case_metrics(prediction, target)["dice"]
print(f"mean over slices {per_slice:.3f}, whole volume {per_volume:.3f}")
# A fifth of the mean is lost with 4 of 1028 voxels. Tables score volumes (docs/protocol.md 1.4).
assert np.isclose(per_slice, 0.8)
assert per_volume > 0.99

# %% Exercise 3: more looks, more flattery
rng = np.random.default_rng(0)
noise = 1.0  # standard deviation of a half's mean Dice around the true value, in points


def flattery(checkpoints: int, repeats: int = 4000) -> float:
    """Mean gap between the halves' scores of the checkpoint that is best on A."""
    score_a, score_b = rng.normal(90.0, noise, (2, repeats, checkpoints))
    best = score_a.argmax(1)[:, None]
    gap = np.take_along_axis(score_a, best, 1) - np.take_along_axis(score_b, best, 1)
    return float(gap.mean())


gaps = {k: flattery(k) for k in (1, 2, 5, 20, 75)}
for k, gap in gaps.items():
    print(f"{k:3d} checkpoints: flattered by {gap:.2f} points")
# One checkpoint is no choice; with two, the mean of the larger of two normals is 1 / sqrt(pi).
assert abs(gaps[1]) < 0.1
assert abs(gaps[2] - noise / np.sqrt(np.pi)) < 0.1
assert gaps[1] < gaps[2] < gaps[5] < gaps[20] < gaps[75]
# 75 looks: what a script has that scores the test list every 200 of 15,000 steps. Real checkpoints
# are not independent (they share most of their weights), so the real gap is smaller.

# %% What the lesson's checks say
assert check("09.1", lambda one, other: np.concatenate([one, other]).mean()).right
assert check("09.2", (per_volume, per_slice)).right
assert check("09.3", 1 / np.sqrt(np.pi)).right
