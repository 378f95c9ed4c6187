"""The batched sliding window equals the plain triple loop, sees every voxel and stays in bounds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from buarl.evaluation.sliding_window import sliding_window_probs, window_starts

CASES = {
    "2d": ((23, 30), (8, 12), (3, 5)),
    "3d": ((13, 11, 9), (6, 5, 4), (4, 2, 3)),
    "3d_one_axis_exact": ((10, 6, 8), (6, 6, 4), (2, 6, 4)),
}


def toy_network(rank: int) -> nn.Module:
    torch.manual_seed(rank)
    conv = (nn.Conv2d, nn.Conv3d)[rank - 2]
    return nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU(), conv(4, 3, 1), nn.Softmax(1)).eval()


def plain_loop(predict, image, patch_size, stride):
    """One window at a time, written out for up to three axes by adding axes of length 1."""
    extra = 3 - len(patch_size)
    sizes, patch, step = (
        (1,) * extra + tuple(values) for values in (image.shape[1:], patch_size, stride)
    )
    volume = image.reshape(sizes)
    total, count = torch.zeros(3, *sizes), torch.zeros(sizes)
    numbers = [math.ceil((n - p) / s) + 1 for n, p, s in zip(sizes, patch, step, strict=True)]
    for i in range(numbers[0]):
        x = min(i * step[0], sizes[0] - patch[0])
        for j in range(numbers[1]):
            y = min(j * step[1], sizes[1] - patch[1])
            for k in range(numbers[2]):
                z = min(k * step[2], sizes[2] - patch[2])
                box = (slice(x, x + patch[0]), slice(y, y + patch[1]), slice(z, z + patch[2]))
                with torch.no_grad():
                    probs = predict(volume[box].reshape(1, 1, *patch_size))
                total[(slice(None), *box)] += probs.reshape(3, *patch)
                count[box] += 1
    return (total / count).reshape(3, *image.shape[1:])


@pytest.fixture(params=CASES)
def case(request):
    sizes, patch_size, stride = CASES[request.param]
    torch.manual_seed(0)
    return toy_network(len(sizes)), torch.randn(1, *sizes), patch_size, stride


def test_equals_the_plain_loop_bit_for_bit(case):
    assert torch.equal(sliding_window_probs(*case, batch_size=1), plain_loop(*case))


@pytest.mark.parametrize("batch_size", [2, 5, 1000])
def test_batch_size_does_not_matter(case, batch_size):
    one = sliding_window_probs(*case, batch_size=1)
    torch.testing.assert_close(sliding_window_probs(*case, batch_size=batch_size), one)
    torch.testing.assert_close(one.sum(0), torch.ones(one.shape[1:]))


def test_batches_are_bounded_and_no_window_is_lost(case):
    network, image, patch_size, stride = case
    seen = []

    def predict(windows):
        seen.append(len(windows))
        return network(windows)

    sliding_window_probs(predict, image, patch_size, stride, batch_size=4)
    axes = zip(image.shape[1:], patch_size, stride, strict=True)
    assert sum(seen) == math.prod(len(window_starts(*axis)) for axis in axes)
    assert set(seen[:-1]) == {4}
    assert seen[-1] <= 4


def test_identity_network_returns_the_image_so_each_voxel_goes_back_to_its_place(case):
    _, image, patch_size, stride = case
    torch.testing.assert_close(sliding_window_probs(lambda x: x, image, patch_size, stride), image)


@given(size=st.integers(1, 300), patch=st.integers(1, 120), stride=st.integers(1, 120))
def test_starts_cover_every_voxel(size, patch, stride):
    if size < patch or stride > patch:
        with pytest.raises(ValueError, match="must be"):
            window_starts(size, patch, stride)
        return
    starts = window_starts(size, patch, stride)
    assert len(starts) == math.ceil((size - patch) / stride) + 1
    assert starts[0] == 0
    assert starts[-1] == size - patch
    assert all(0 < b - a <= stride for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize(
    ("size", "count"),
    [  # by hand: x (176-112)/18 = 3.6 -> 5, y (144-112)/18 = 1.8 -> 3, z (88-80)/4 = 2 -> 3
        ((176, 144, 88), 5 * 3 * 3),
        ((148, 132, 88), 3 * 3 * 3),
        ((244, 160, 88), 9 * 4 * 3),
        ((112, 112, 80), 1),
    ],
)
def test_window_counts_of_la_volumes(size, count):
    axes = zip(size, (112, 112, 80), (18, 18, 4), strict=True)
    assert math.prod(len(window_starts(*axis)) for axis in axes) == count


def test_small_image_is_padded_with_zeros_and_cropped_back():
    image = torch.arange(1.0, 7).reshape(1, 2, 3)
    inputs = []

    def predict(windows):
        inputs.append(windows)
        return torch.cat([windows, -windows], 1)

    probs = sliding_window_probs(predict, image, (5, 4), (2, 2))
    assert torch.equal(probs, torch.cat([image, -image]))
    # 3 rows are missing: 1 low, 2 high. 1 column is missing: 0 low, 1 high.
    expected = torch.zeros(1, 1, 5, 4)
    expected[0, 0, 1:3, :3] = image[0]
    assert len(inputs) == 1
    assert torch.equal(inputs[0], expected)


def test_one_small_axis_and_one_large():
    network, image = toy_network(2), torch.randn(1, 5, 21)
    padded = nn.functional.pad(image, (0, 0, 1, 2))
    expected = plain_loop(network, padded, (8, 8), (4, 4))[:, 1:6]
    assert torch.equal(sliding_window_probs(network, image, (8, 8), (4, 4), 1), expected)


@pytest.mark.parametrize(
    ("size", "patch_size", "stride"),
    [
        ((23, 30), (8, 12), (3, 5)),
        ((13, 11, 9), (6, 5, 4), (4, 2, 3)),
        ((10, 6, 8), (6, 6, 4), (2, 6, 4)),
        ((7, 20, 5), (8, 8, 8), (3, 3, 3)),  # two axes are padded, one by an odd number
        ((36, 30, 22), (28, 28, 20), (5, 5, 1)),  # as LA: the last windows moved to the border
    ],
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_equals_monai(size, patch_size, stride, batch_size):
    """MONAI moves the last window to the border and pads as we do: all sizes agree, provided that
    its `overlap`, a share, gives our stride, int(patch * (1 - overlap)): half a voxel more keeps
    the rounding of that product from making it one less."""
    monai = pytest.importorskip("monai.inferers")
    network, image = toy_network(len(size)), torch.randn(1, *size)
    overlap = [max(0, 1 - (s + 0.5) / p) for s, p in zip(stride, patch_size, strict=True)]
    seen = []

    def predict(windows):
        seen.append(windows)
        return network(windows)

    with torch.no_grad():
        theirs = monai.sliding_window_inference(
            image[None], patch_size, batch_size, predict, overlap=overlap, mode="constant"
        )[0]
    windows, count = torch.cat(seen), sum(map(len, seen))
    seen.clear()
    ours = sliding_window_probs(predict, image, patch_size, stride, batch_size)
    assert sum(map(len, seen)) == count
    assert torch.equal(torch.cat(seen), windows)  # the same windows in the same order
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@given(
    size=st.tuples(*[st.integers(1, 20)] * 3),
    patch_size=st.tuples(*[st.integers(1, 8)] * 3),
    data=st.data(),
)
def test_the_mean_divides_by_the_visits_of_every_voxel(size, patch_size, data):
    """Ones average to exactly one, whatever the windows; a voxel too few or too many would show."""
    stride = tuple(data.draw(st.integers(1, patch)) for patch in patch_size)
    probs = sliding_window_probs(torch.ones_like, torch.zeros(1, *size), patch_size, stride, 50)
    assert torch.equal(probs, torch.ones(1, *size))


def test_half_precision_is_summed_in_single_on_the_chosen_device():
    image = torch.rand(1, 9, 9)
    probs = sliding_window_probs(lambda x: x.bfloat16(), image, (4, 4), (1, 1), accumulate_on="cpu")
    assert probs.dtype == torch.float32
    assert torch.equal(probs, image.bfloat16().float())
    wide = sliding_window_probs(lambda x: x, image.double(), (4, 4), (1, 1))
    assert wide.dtype == torch.float64


def test_no_graph_is_kept():
    network = toy_network(2)
    assert not sliding_window_probs(network, torch.randn(1, 9, 9), (4, 4), (2, 2)).requires_grad


@pytest.mark.parametrize(
    ("shape", "patch_size", "stride", "batch_size", "message"),
    [
        ((1, 9, 9), (4, 4), (5, 4), 1, r"stride must be in 1\.\.patch_size.*\(5, 4\)"),
        ((1, 9, 9), (4, 4), (0, 4), 1, r"stride must be in 1\.\.patch_size"),
        ((1, 9, 9), (4, 4, 4), (2, 2, 2), 1, r"each of the 2 spatial axes, got \(4, 4, 4\)"),
        ((1, 9, 9), (4, 4), (2,), 1, r"each of the 2 spatial axes.*\(2,\)"),
        ((2, 9, 9), (4, 4), (2, 2), 1, r"image must be \(1, \*spatial\), got shape \(2, 9, 9\)"),
        ((1, 9, 9), (4, 4), (2, 2), 0, "batch_size must be at least 1, got 0"),
    ],
)
def test_errors_name_the_rule_and_the_value(shape, patch_size, stride, batch_size, message):
    with pytest.raises(ValueError, match=message):
        sliding_window_probs(lambda x: x, torch.zeros(shape), patch_size, stride, batch_size)


def test_a_network_of_another_output_size_is_refused():
    with pytest.raises(ValueError, match=r"predict must return \(1, C, \*\(4, 4\)\)"):
        sliding_window_probs(lambda x: x[..., 1:], torch.zeros(1, 4, 4), (4, 4), (2, 2))
