"""Entropy equals its definition also where logits saturate; the cut equals numpy's percentile."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy as scipy_entropy

from buarl.entropy import (
    _order_statistic,
    entropy_map,
    entropy_of_probs,
    entropy_threshold,
    most_likely,
    uncertain_mask,
)

SCOPES = ("batch", "image")


def two_class(difference):
    """Logits (1, 2, 1) of one voxel."""
    return torch.tensor([[[difference], [0.0]]])


def two_class_entropy(difference):
    """float64: p ln(1 + e^-d) + (1 - p) (d + ln(1 + e^-d))."""
    tail = math.exp(-difference)
    return (math.log1p(tail) + tail * (difference + math.log1p(tail))) / (1 + tail)


@st.composite
def maps_and_percentiles(draw):
    """Entropy (B, H, W) with no, some, many or only ties, and q with its exact ranks."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))
    values = np.random.default_rng(draw(st.integers(0, 999))).random(shape, dtype=np.float32)
    kind = draw(st.sampled_from(["continuous", "bfloat16", "ties", "mostly zero", "constant"]))
    entropy = torch.from_numpy(values)
    if kind == "bfloat16":
        entropy = entropy.bfloat16()
    elif kind == "ties":
        entropy = (entropy * 4).round() / 4
    elif kind == "mostly zero":
        entropy = (entropy - 0.8).clamp_min(0)
    elif kind == "constant":
        entropy = torch.full_like(entropy, 0.3)
    whole, fine = st.integers(0, 100), st.floats(0, 100)
    exact_rank = st.integers(0, entropy.numel()).map(lambda k: min(100 * k / entropy.numel(), 100))
    return entropy, draw(st.one_of(whole, fine, exact_rank))


def rows(entropy, scope):
    values = entropy.double().numpy()
    return values.reshape(len(values) if scope == "image" else 1, -1)


@pytest.mark.parametrize("num_classes", [2, 4, 7])
@pytest.mark.parametrize("spatial", [(3, 5), (2, 3, 4)])
def test_uniform_logits_have_entropy_ln_c(num_classes, spatial):
    entropy = entropy_map(torch.full((2, num_classes, *spatial), 1.7))
    assert entropy.shape == (2, *spatial)
    assert entropy.dtype == torch.float32
    torch.testing.assert_close(entropy, torch.full((2, *spatial), math.log(num_classes)))


def test_one_hot_has_entropy_zero():
    probs = torch.eye(4)[None]  # four voxels, each sure of another class
    assert torch.equal(entropy_of_probs(probs), torch.zeros(1, 4))
    assert torch.equal(entropy_map(1e4 * probs), torch.zeros(1, 4))


def test_hand_computed_two_class_value():
    # p = (3/4, 1/4): H = ln 4 - 3/4 ln 3 = 0.56234 nats (0.81128 bits)
    logits = torch.tensor([[[math.log(3)], [0.0]]])
    assert entropy_map(logits).item() == pytest.approx(0.5623351446, abs=1e-6)
    assert entropy_of_probs(torch.tensor([[[0.75], [0.25]]])).item() == pytest.approx(0.5623351446)


@pytest.mark.parametrize("difference", [0.5, 5.0, 20.0, 200.0, 1e4, 3e38])
@pytest.mark.parametrize("sign", [1, -1])
def test_saturated_logits_match_float64(difference, sign):
    got = entropy_map(two_class(sign * difference)).item()
    assert got == pytest.approx(two_class_entropy(min(difference, 700)), abs=1e-8, rel=1e-6)


@pytest.mark.parametrize("logits", [(math.inf, 0.0), (-math.inf, 0.0), (math.inf, -math.inf)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_infinite_logits_are_certain_and_not_nan(logits, dtype):
    assert entropy_map(torch.tensor([logits], dtype=dtype)[..., None]).item() == 0


@pytest.mark.parametrize("difference", [0.5, 20.0, 200.0, math.inf])
def test_gradient_flows_and_stays_finite(difference):
    logits = two_class(difference).requires_grad_()
    entropy_map(logits).sum().backward()
    assert torch.isfinite(logits.grad).all()
    if difference < 20:  # H falls as the gap grows: dH/dd = -d p (1 - p)
        p = 1 / (1 + math.exp(-difference))
        assert logits.grad[0, 0].item() == pytest.approx(-difference * p * (1 - p), rel=1e-5)


@given(st.integers(0, 999), st.integers(2, 6), st.floats(0.01, 30), st.floats(-50, 50))
def test_both_maps_agree_with_scipy(seed, num_classes, scale, shift):
    logits = (
        torch.randn(2, num_classes, 3, 4, generator=torch.Generator().manual_seed(seed)) * scale
    )
    expected = scipy_entropy(logits.double().softmax(1).numpy(), axis=1)
    for entropy in (entropy_map(logits + shift), entropy_of_probs(logits.softmax(1))):
        np.testing.assert_allclose(entropy.numpy(), expected, atol=2e-5)
        assert entropy.min() >= 0
        assert entropy.max() <= math.log(num_classes) + 1e-5


def test_bfloat16_logits_are_computed_in_float32():
    logits = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(1)).bfloat16()
    entropy = entropy_map(logits)
    assert entropy.dtype == torch.float32
    expected = scipy_entropy(logits.double().softmax(1).numpy(), axis=1)
    np.testing.assert_allclose(entropy.numpy(), expected, atol=1e-6)


@given(maps_and_percentiles(), st.sampled_from(SCOPES))
def test_threshold_is_numpys_percentile_in_float64(case, scope):
    entropy, percentile = case
    threshold = entropy_threshold(entropy, percentile, scope)
    assert threshold.dtype == torch.float64
    assert np.array_equal(
        threshold.numpy(), np.percentile(rows(entropy, scope), percentile, axis=1)
    )


@given(maps_and_percentiles(), st.sampled_from(SCOPES))
def test_mask_is_entropy_above_numpys_percentile(case, scope):
    entropy, percentile = case
    values = rows(entropy, scope)
    position = percentile / 100 * (values.shape[1] - 1)
    # Off an exact rank by float error alone, numpy's answer depends on its own rounding.
    assume(position == round(position) or abs(position - round(position)) > 1e-9)
    mask = uncertain_mask(entropy, percentile, scope)
    expected = values > np.percentile(values, percentile, axis=1, keepdims=True)
    assert mask.dtype == torch.bool
    assert np.array_equal(mask.numpy(), expected.reshape(entropy.shape))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("percentile", [0, 50, 95, 100])
@pytest.mark.parametrize("value", [0.0, 0.7])
def test_constant_map_has_no_uncertain_voxel(scope, percentile, value):
    assert not uncertain_mask(torch.full((2, 5, 5), value), percentile, scope).any()


def test_percentile_0_marks_all_but_the_smallest_and_100_nothing():
    entropy = torch.tensor([[0.1, 0.4, 0.1, 0.2]])
    assert uncertain_mask(entropy, 0).tolist() == [[False, True, False, True]]
    assert not uncertain_mask(entropy, 100).any()


def test_threshold_interpolates_between_neighbours():
    entropy = torch.tensor([[0.0, 1.0, 2.0, 3.0], [10.0, 10.0, 10.0, 10.0]])
    assert entropy_threshold(entropy[:1], 75).tolist() == [2.25]
    assert entropy_threshold(entropy, 75, "image").tolist() == [2.25, 10.0]
    assert entropy_threshold(entropy, 50).tolist() == [6.5]


def test_more_values_than_float32_can_count():
    """2^24 is also where torch.quantile gives up. Here: 16384 times 0 ... 1023, and 0, 1, 2."""
    count = 2**24 + 3
    entropy = torch.arange(1024.0).repeat(16385)[None, :count]
    # Rank floor(.99 (count - 1)) = 16609445 lies among the 1013s, which start at 16384 * 1013 + 3.
    assert entropy_threshold(entropy, 99).tolist() == [1013]
    assert uncertain_mask(entropy, 99).sum() == 10 * 16384


def test_the_cut_carries_no_gradient():
    entropy = torch.rand(1, 4, 4, requires_grad=True)
    assert not entropy_threshold(entropy, 95).requires_grad
    assert not uncertain_mask(entropy, 95).requires_grad


def test_the_map_from_logits_is_the_one_that_training_cuts_by():
    logits = 20 * torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(entropy_map(logits), entropy_of_probs(logits.softmax(1)))


@pytest.mark.parametrize("scope", SCOPES)
def test_float64_is_compared_in_float64(scope):
    """Neighbours that float32 rounds to one number: a cut in float32 would mark none of them."""
    entropy = 0.5 + 1e-12 * torch.arange(100, dtype=torch.float64).view(1, 10, 10)
    assert uncertain_mask(entropy, 90, scope).sum() == 10
    assert entropy_threshold(entropy, 90, scope).item() == np.percentile(entropy.numpy(), 90)


@pytest.mark.parametrize("percentile", [0, 50, 95])
def test_a_voxel_of_nan_is_never_certain_and_has_no_threshold(percentile):
    entropy = torch.linspace(0, 0.6, 20)[None].clone()
    entropy[0, [3, 7]] = math.nan
    marked = uncertain_mask(entropy, percentile)
    assert marked[0, [3, 7]].all()
    above = uncertain_mask(entropy.nan_to_num(9.0), percentile)  # NaN ranks above every number
    assert torch.equal(marked, above if percentile < 90 else torch.ones_like(above))
    with pytest.raises(ValueError, match="entropy has NaN in 2 of 20 voxels"):
        entropy_threshold(entropy, percentile)
    assert uncertain_mask(torch.full((1, 5), math.nan), percentile).all()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (entropy_map, "logits"),
        (entropy_of_probs, "probs"),
        (most_likely, "probs"),
        (lambda x: uncertain_mask(x, 95), "entropy"),
        (lambda x: entropy_threshold(x, 95), "entropy"),
    ],
)
def test_other_types_are_named(function, name):
    with pytest.raises(
        TypeError, match=f"{name} must be a torch tensor, got numpy.ndarray; torch.as_tensor"
    ):
        function(np.ones((1, 2, 3), np.float32))
    with pytest.raises(TypeError, match=f"{name} must be a torch tensor, got list"):
        function([[0.5, 0.5]])
    for dtype in (torch.complex64, torch.int64, torch.bool):
        with pytest.raises(TypeError, match=f"{name} must hold real numbers .*, got {dtype}"):
            function(torch.ones(1, 2, 3, dtype=dtype))


@pytest.mark.parametrize("cut", [entropy_threshold, uncertain_mask])
def test_errors_name_the_value(cut):
    entropy = torch.rand(1, 4, 4)
    for percentile in (-1, 100.5, math.nan):
        with pytest.raises(ValueError, match=rf"percentile must lie in 0-100, got {percentile}"):
            cut(entropy, percentile)
    with pytest.raises(ValueError, match=r"scope must be .* got 'volume'"):
        cut(entropy, 95, "volume")
    with pytest.raises(ValueError, match=r"empty, got shape \(0, 4\)"):
        cut(torch.empty(0, 4), 95)


# --- The most likely class ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_most_likely_class_is_numpys_argmax(layout):
    """Also among equals, of which there are many here: the first."""
    generator = torch.Generator().manual_seed(0)
    probs = torch.randint(4, (3, 5, 16, 18), generator=generator).float()
    label = most_likely(probs.contiguous(memory_format=layout))
    assert label.dtype == torch.int64
    np.testing.assert_array_equal(label, probs.numpy().argmax(1))


class Elsewhere(torch.Tensor):
    """A CPU tensor that says it lies on a GPU."""

    device = torch.device("cuda")


@given(
    arrays(np.float32, (2, 40), elements=st.sampled_from([0, 0.25, 0.5, 1, float("nan")])),
    st.integers(0, 39),
)
def test_a_gpu_sorts_where_a_cpu_selects(values, rank):
    flat = torch.from_numpy(values)
    ours = _order_statistic(flat.as_subclass(Elsewhere), rank, "image").as_subclass(torch.Tensor)
    assert ours.shape == (2, 1)
    np.testing.assert_array_equal(ours, _order_statistic(flat, rank, "image"))
