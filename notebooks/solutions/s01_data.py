"""Solutions of notebook 01: split by patient, eight orientations, epochs."""

# %% The data, at training size
import os

import numpy as np

import buarl
from buarl.data.augment import Augmentation, apply_2d
from buarl.data.batches import stream_indices
from buarl.data.resample import resize_nearest
from buarl.lessons.check import check

source = buarl.open_source(os.environ.get("BUARL_SOURCE", "phantom"), os.environ.get("BUARL_ROOT"))
names = source.training_names()
config = buarl.config_for(buarl.Experiment(source=source.name, labeled=3, preset="toy"))

# %% Exercise 1: how close is the nearest labeled slice?
# Each image as a vector of mean 0 and length 1: a product of two is their correlation.


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Two arrays of one shape -> a number from -1 to 1."""
    a, b = x - x.mean(), y - y.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


assert check("01.1", correlation).right
flat = np.stack(
    [
        resize_nearest(source.training_sample(name).image, config.image_size).ravel()
        for name in names
    ]
)
flat = flat - flat.mean(1, keepdims=True)
flat /= np.linalg.norm(flat, axis=1, keepdims=True)


def nearest_twin(is_labeled: np.ndarray) -> float:
    """Mean over unlabeled slices of the highest correlation with a labeled one."""
    return float((flat[~is_labeled] @ flat[is_labeled].T).max(1).mean())


labeled_names = set(source.split_labeled(3)[0])
by_patient = np.array([name in labeled_names for name in names])
by_slice = np.zeros(len(names), bool)
rng = np.random.default_rng(0)
by_slice[rng.permutation(len(names))[: by_patient.sum()]] = True

honest, leaky = nearest_twin(by_patient), nearest_twin(by_slice)
print(f"nearest labeled slice, correlation: by patient {honest:.3f}, by slice {leaky:.3f}")
# With slices drawn at random nearly every slice has a labeled neighbor or its other time frame.
assert leaky > honest + 0.05

# %% Exercise 2: a flip that happens half of the time


def orientation(image: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """A square image, 0 to 3 quarter turns, and whether to flip -> the image as it is shown."""
    turned = np.rot90(image, turns)
    return np.flip(turned, 0) if flip else turned


assert check("01.2", orientation).right


def sample_all_eight(rng: np.random.Generator) -> np.ndarray:
    """One of the eight orientations of a square of numbers."""
    return orientation(np.arange(9).reshape(3, 3), rng.integers(4), bool(rng.integers(2)))


draws = 4000
orientations, times = np.unique(
    [sample_all_eight(rng).ravel() for _ in range(draws)], axis=0, return_counts=True
)
print(f"{len(orientations)} orientations")
assert len(orientations) == 8
assert abs(times / draws - 1 / 8).max() < 0.03
# One flip axis is enough: a flip along the other one is this flip and half a turn.
square = np.arange(9).reshape(3, 3)
assert (np.flip(square, 1) == np.rot90(np.flip(square, 0), 2)).all()
# The library's draw with the same turn always reflects:
reflected = apply_2d(square, None, Augmentation(quarter_turns=2, flip_axis=0), (3, 3))[0]
assert (reflected == np.flip(square, 1)).all()

# %% Exercise 3: epochs of the labeled stream
count, batch_size = len(labeled_names), config.stages[0].labeled_batch
steps_per_epoch = count // batch_size
print(f"{steps_per_epoch} steps an epoch")


def epoch(number: int) -> np.ndarray:
    """Sample numbers of one epoch, in the order they are used."""
    steps = range(number * steps_per_epoch, (number + 1) * steps_per_epoch)
    seed = (config.seed, 0, 0)  # seed, stage, stream: 0 is the labeled one
    return np.concatenate(
        [stream_indices(seed, step, count, batch_size, steps_per_epoch) for step in steps]
    )


for number in range(3):
    assert len(set(epoch(number))) == steps_per_epoch * batch_size  # none twice
    assert epoch(number).max() < count
assert not np.array_equal(epoch(0), epoch(1))
assert np.array_equal(epoch(1), epoch(1))  # no hidden state
# The remainder of each pass is dropped, but it is another remainder every time:
left_out = [set(range(count)) - set(epoch(number)) for number in range(20)]
assert count % batch_size == 0 or len({frozenset(rest) for rest in left_out}) > 1
assert check("01.3", 10_000 // (136 // 12)).right
