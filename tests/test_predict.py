"""Whole volumes in slabs and batches: the same bits, little memory, a network left as it was."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from buarl.components import largest_component
from buarl.data.resample import resize_nearest
from buarl.entropy import entropy_of_probs
from buarl.evaluation.predict import (
    _channels_last_weights,
    predict_probs,
    predict_slices,
    predict_windows,
)
from buarl.evaluation.sliding_window import sliding_window_probs
from buarl.networks import UNet, VNet

PATCH, STRIDE = (16, 16, 16), (7, 5, 3)


class Pointwise(nn.Module):
    """Logits from the grey value alone: no convolution whose rounding depends on the batch."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(classes)
        self.slope = nn.Parameter(torch.randn(classes, 1, 1, 1))
        self.offset = nn.Parameter(torch.randn(classes, 1, 1, 1))

    def forward(self, image):
        return 3 * self.slope * image.abs().sqrt() + self.offset


@pytest.mark.parametrize("classes", [2, 4, 7])
@pytest.mark.parametrize("shape", [(40, 37, 29), (129, 16, 17), (5, 40, 21)])
def test_slabs_and_batches_change_no_bit(classes, shape):
    network = Pointwise(classes)
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.no_grad():
        probs = sliding_window_probs(
            lambda x: network(x).softmax(1), torch.from_numpy(volume)[None], PATCH, STRIDE, 1
        )[None]
    label, entropy = probs.argmax(1), entropy_of_probs(probs)[0].numpy()
    for options in ({}, {"batch_size": 5}, {"accumulate_on": "cpu"}, {"keep_largest": True}):
        found, unsure = predict_windows(network, volume, PATCH, STRIDE, **options)
        kept = largest_component(label, classes) if "keep_largest" in options else label
        assert (found.dtype, unsure.dtype) == (np.uint8, np.float32)
        assert np.array_equal(found, kept[0].numpy())
        assert np.array_equal(unsure, entropy)


def test_more_slices_than_a_batch_equal_all_at_once():
    torch.manual_seed(0)
    network = UNet(4, 4)
    volume = np.random.default_rng(0).random((35, 50, 61)).astype(np.float32)
    probs = predict_probs(network, resize_nearest(volume, (64, 48)))
    label, entropy = predict_slices(network, volume, (64, 48))
    expected = resize_nearest(probs.argmax(1).numpy().astype(np.uint8), (50, 61))
    assert np.array_equal(label, expected)
    assert np.array_equal(entropy, resize_nearest(entropy_of_probs(probs).numpy(), (50, 61)))


def test_probabilities_are_sent_back_before_the_largest_is_taken():
    """Interpolated as scipy does with order 1."""

    class Sure(nn.Module):  # log-odds of the grey value: probabilities are 1 - v and v
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, image):
            return torch.cat([(1 - image).log(), image.log()], 1)

    volume = np.array([[[0.1] * 3 + [0.7] * 4] * 7], np.float32)  # (1, 7, 7) to 3 x 3 and back
    label, entropy = predict_slices(Sure(), volume, (3, 3), "probs")
    small = np.array([[0.1, 0.7, 0.7]] * 3)  # at 0, 3 and 6 of 0 to 6
    probs = ndimage.zoom(small, 7 / 3, order=1)
    np.testing.assert_allclose(probs[0], [0.1, 0.3, 0.5, 0.7, 0.7, 0.7, 0.7])
    assert label[0, :, [0, 1, 3, 6]].tolist() == [[0] * 7, [0] * 7, [1] * 7, [1] * 7]
    wanted = -(probs * np.log(probs) + (1 - probs) * np.log(1 - probs))
    np.testing.assert_allclose(entropy[0], wanted, atol=1e-5)


def test_probabilities_in_batches_equal_one_slice_after_the_other():
    torch.manual_seed(0)
    network = UNet(4, 4)
    volume = np.random.default_rng(0).random((19, 30, 41)).astype(np.float32)
    label, entropy = predict_slices(network, volume, (32, 16), "probs")
    apart = [predict_slices(network, one[None], (32, 16), "probs") for one in volume]
    assert (label == np.concatenate([one for one, _ in apart])).mean() > 0.999
    np.testing.assert_allclose(entropy, np.concatenate([e for _, e in apart]), atol=1e-4)


def test_the_faster_layout_stays_within_its_bound_and_leaves_the_network_alone():
    torch.manual_seed(0)
    network = VNet(2, 8).eval()
    before = deepcopy(network)
    images = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        plain = torch.cat([network(image[None]) for image in images])
        fast = torch.func.functional_call(network, _channels_last_weights(network), images)
    assert (fast - plain).abs().max() <= 1e-5 * plain.abs().max()
    margin = (plain[:, 0] - plain[:, 1]).abs()
    clear = margin > 1e-5 * plain.abs().max()
    assert torch.equal(fast.argmax(1)[clear], plain.argmax(1)[clear])
    volume = images[0, 0].numpy()
    predict_windows(network, volume, (16, 16, 16), (16, 16, 16))
    for ours, theirs in zip(network.parameters(), before.parameters(), strict=True):
        assert ours.stride() == theirs.stride()
        assert torch.equal(ours, theirs)


PEAK = """
import numpy as np, torch
from torch import nn
from buarl.evaluation.predict import predict_windows
torch.set_num_threads(1)

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))

network = nn.Conv3d(1, 2, 1)
predict_windows(network, np.zeros((16, 16, 16), np.float32), (16,) * 3, (16,) * 3)  # loads all
volume = np.ones((640, 640, 88), np.float32)
before = peak()
label, entropy = predict_windows(network, volume, (160, 160, 88), (160, 160, 88))
assert label.shape == entropy.shape == volume.shape
print((peak() - before) / volume.nbytes)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory as Linux tells it")
def test_memory_of_a_large_scan_is_bounded():
    """640 x 640 x 88, two classes: C sums, labels (1/4), entropy (1), a batch and a slab."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert 2 < float(done.stdout) < 2 + 1.25 + 1.25  # maps of 144 MB; one more would be noticed
