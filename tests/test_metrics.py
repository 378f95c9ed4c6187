"""Scores equal MedPy's where MedPy has an answer and follow the named rule where it has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from medpy.metric import binary
from scipy.ndimage import gaussian_filter

from buarl.evaluation.metrics import (
    METRIC_DEFINITION,
    case_metrics,
    metric_definition,
    multiclass_metrics,
)

SCORES = ("dice", "jaccard", "hd95", "asd")
FIXTURE = Path(__file__).parent / "fixtures" / "surface_metrics.npz"


def medpy_scores(prediction, target, spacing=None):
    return [
        binary.dc(prediction, target),
        binary.jc(prediction, target),
        binary.hd95(prediction, target, spacing),
        binary.asd(prediction, target, spacing),
    ]


def scores(result):
    return [result[key] for key in SCORES]


def blobs(rng, shape, sigma, quantile):
    noise = gaussian_filter(rng.standard_normal(shape), sigma)
    return noise > np.quantile(noise, quantile)


def square(*corner, size=3, shape=(12, 12)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + size) for c in corner)] = True
    return mask


def test_parity_fixture():
    with np.load(FIXTURE) as data:
        cases = zip(data["prediction"], data["target"], data["dice_jaccard_hd95_asd"], strict=True)
        for prediction, target, expected in cases:
            # The values come from the public code, hence its rule for empty predictions.
            result = case_metrics(prediction, target, empty="zero_as_published")
            np.testing.assert_allclose(scores(result), expected, rtol=1e-6, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.one_of(
        st.tuples(*[st.integers(1, 24)] * 2),
        st.tuples(*[st.integers(1, 14)] * 3),
    ),
    sigma=st.sampled_from([0.0, 0.7, 2.0]),  # from single voxels to smooth blobs
    quantiles=st.tuples(*[st.floats(0.0, 0.95)] * 2),  # 0: almost full, touches every border
    spaced=st.booleans(),
)
def test_equals_medpy_on_random_blobs(seed, shape, sigma, quantiles, spaced):
    rng = np.random.default_rng(seed)
    prediction, target = (blobs(rng, shape, sigma, q) for q in quantiles)
    assume(prediction.any() and target.any())
    spacing = tuple(rng.uniform(0.5, 10, len(shape))) if spaced else None
    result = case_metrics(prediction, target, spacing)
    expected = medpy_scores(prediction, target, spacing)
    np.testing.assert_allclose(scores(result), expected, rtol=1e-12, atol=1e-12)
    assert result["missed"] is False


SHAPES = st.one_of(st.tuples(*[st.integers(1, 24)] * 2), st.tuples(*[st.integers(1, 12)] * 3))


@st.composite
def two_masks_of_a_few_voxels(draw):
    """Single voxels and pairs, near and far, beside the border and on it."""
    shape = draw(SHAPES)
    place = st.tuples(*(st.integers(0, n - 1) for n in shape))
    masks = np.zeros((2, *shape), bool)
    for mask in masks:
        for voxel in draw(st.lists(place, min_size=1, max_size=3)):
            mask[voxel] = True
    return masks


@st.composite
def two_boxes_that_touch_borders(draw):
    """Along every axis a mask begins at the first voxel, ends at the last, or both."""
    shape = draw(SHAPES)
    masks = np.zeros((2, *shape), bool)
    for mask in masks:
        corner = []
        for n in shape:
            cut = draw(st.integers(1, n))
            corner.append(draw(st.sampled_from([slice(0, cut), slice(n - cut, n), slice(0, n)])))
        mask[tuple(corner)] = True
    return masks


@settings(max_examples=120, deadline=None)
@given(
    masks=st.one_of(two_masks_of_a_few_voxels(), two_boxes_that_touch_borders()),
    spacing=st.one_of(st.none(), st.lists(st.floats(0.05, 20), min_size=3, max_size=3)),
)
def test_equals_medpy_on_single_voxels_touching_borders_and_any_spacing(masks, spacing):
    if spacing is not None:
        spacing = tuple(spacing[: masks[0].ndim])
    result, expected = case_metrics(*masks, spacing), medpy_scores(*masks, spacing)
    if spacing is None:
        assert scores(result) == expected  # to the last bit
    np.testing.assert_allclose(scores(result), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (10.0, 1.25, 1.25), (0.3, 0.3, 7.0)])
def test_near_and_far_voxels_agree_with_every_pair_computed(distance, spacing):
    """The steps around a voxel and the tree meet between two and three voxels."""
    rng = np.random.default_rng(distance)
    target = np.zeros((16, 16, 16), bool)
    target[tuple(rng.integers(0, 7, (3, 12)))] = True
    prediction = np.roll(target, (0, distance, distance // 2), (0, 1, 2))
    places = [np.argwhere(mask) * spacing for mask in (prediction, target)]
    pairs = np.linalg.norm(places[0][:, None] - places[1], axis=2)
    result = case_metrics(prediction, target, spacing)
    assert result["asd"] == pytest.approx(pairs.min(1).mean(), rel=1e-12)
    pooled = np.concatenate([pairs.min(1), pairs.min(0)])
    assert result["hd95"] == pytest.approx(np.percentile(pooled, 95), rel=1e-12)


def test_the_order_of_the_axes_in_memory_does_not_matter():
    rng = np.random.default_rng(0)
    prediction, target = (blobs(rng, (9, 12, 15), 1.0, 0.6) for _ in range(2))
    expected = case_metrics(prediction, target, (3, 1, 2))
    assert case_metrics(np.asfortranarray(prediction), target[::-1][::-1], (3, 1, 2)) == expected
    turned = case_metrics(prediction.T, target.T, (2, 1, 3))
    np.testing.assert_allclose(scores(turned), scores(expected), rtol=1e-12)


def test_masks_that_fill_the_image_have_their_surface_on_its_border():
    full, inner = np.ones((6, 7, 8), bool), square(2, 2, 2, size=2, shape=(6, 7, 8))
    np.testing.assert_allclose(
        scores(case_metrics(full, inner)), medpy_scores(full, inner), rtol=1e-6
    )
    assert scores(case_metrics(full, full)) == [1, 1, 0, 0]


def test_hand_computed_shift_by_two_voxels():
    prediction, target = square(2, 2), square(2, 4)
    result = case_metrics(prediction, target, spacing=(1.0, 1.5))
    assert result["dice"] == pytest.approx(6 / 18)
    assert result["jaccard"] == pytest.approx(3 / 15)
    # Prediction surface: 3, 2, 3 voxels in columns 2, 3, 4; the target's surface begins in
    # column 4, so they are 2, 1, 0 columns of 1.5 mm away.
    assert result["asd"] == pytest.approx((3 * 3.0 + 2 * 1.5) / 8)
    assert result["hd95"] == pytest.approx(3.0)


def test_asd_has_one_direction_and_hd95_pools_both():
    target = square(2, 2)
    prediction = target | square(9, 9, size=1)  # a stray voxel
    forward, backward = case_metrics(prediction, target), case_metrics(target, prediction)
    assert forward["asd"] > 0
    assert backward["asd"] == 0
    assert forward["hd95"] == backward["hd95"]


@pytest.mark.parametrize(
    ("empty", "one_empty", "both_empty"),
    [
        ("diagonal", (0, 0, 5, 5), (math.nan,) * 4),
        ("nan", (0, 0, math.nan, math.nan), (math.nan,) * 4),
        ("zero_as_published", (0, 0, 0, 0), (0, 0, 0, 0)),
        ("lineage", (0, 0, 0, 0), (0, 0, 0, 0)),  # its old name
    ],
)
def test_empty_masks_follow_the_named_policy(empty, one_empty, both_empty):
    shape, spacing = (6, 2), (0.5, 2.0)  # box of 3 mm x 4 mm: diagonal 5 mm
    nothing, something = np.zeros(shape, bool), np.eye(6, 2, dtype=bool)
    for pair in ((nothing, something), (something, nothing)):
        result = case_metrics(*pair, spacing, empty=empty)
        np.testing.assert_equal(scores(result), list(one_empty))
        assert result["missed"] is True
    result = case_metrics(nothing, nothing, spacing, empty=empty)
    np.testing.assert_equal(scores(result), list(both_empty))
    assert result["missed"] is False
    present = case_metrics(something, something, spacing, empty=empty)
    assert scores(present) == [1, 1, 0, 0]


def test_default_never_rewards_a_missed_structure():
    target = square(0, 0)
    worst_hit = case_metrics(square(9, 9), target)
    missed = case_metrics(np.zeros_like(target), target)
    assert missed["hd95"] > worst_hit["hd95"]
    assert missed["asd"] > worst_hit["asd"]


def test_integers_tensors_and_plain_python_results():
    prediction, target = square(2, 2), square(3, 3)
    expected = case_metrics(prediction, target)
    assert case_metrics(prediction.astype(np.uint8), target.astype(np.int64)) == expected
    assert case_metrics(torch.from_numpy(prediction), torch.from_numpy(target)) == expected
    assert [type(expected[key]) for key in SCORES] == [float] * 4


def test_multiclass_scores_each_foreground_class():
    label = np.zeros((12, 12), np.uint8)
    label[1:4, 1:4], label[6:9, 6:9] = 1, 2
    prediction = label.copy()
    prediction[prediction == 2] = 0
    rows = multiclass_metrics(prediction, torch.from_numpy(label), num_classes=4, empty="nan")
    assert [row["class"] for row in rows] == [1, 2, 3]
    assert [row["missed"] for row in rows] == [False, True, False]
    np.testing.assert_equal([row["dice"] for row in rows], [1.0, 0.0, math.nan])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((square(0, 0), square(0, 0), None, "zero"), r"empty must be one of .*'zero'"),
        ((square(0, 0), square(0, 0)[:5]), r"one shape, got \(12, 12\) and \(5, 12\)"),
        ((square(0, 0) * 2, square(0, 0)), "prediction must hold only 0 and 1, got 2"),
        ((square(0, 0), np.full((12, 12), np.nan)), "target must hold only 0 and 1, got nan"),
        ((np.ones(4, bool), np.ones(4, bool)), r"2-D or 3-D, got shape \(4,\)"),
        ((square(0, 0), square(0, 0), (1.0,)), r"spacing must be 2 positive numbers.*\(1.0,\)"),
        ((square(0, 0), square(0, 0), (1.0, 0.0)), "spacing must be 2 positive numbers"),
    ],
)
def test_errors_name_the_rule_and_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        case_metrics(*arguments)


def test_multiclass_rejects_unknown_classes_and_probabilities():
    label = np.zeros((4, 4), np.int64)
    with pytest.raises(ValueError, match=r"prediction must hold classes 0\.\.1, got 0\.\.2"):
        multiclass_metrics(np.diag([0, 1, 2, 0]), label, num_classes=2)
    with pytest.raises(ValueError, match="label must hold integer classes, got dtype float64"):
        multiclass_metrics(label, label + 0.5, num_classes=2)


def test_definition_line_names_unit_and_policy():
    assert "voxels" in METRIC_DEFINITION
    assert "'diagonal'" in METRIC_DEFINITION
    text = metric_definition((10.0, 1.25, 1.25), "nan")
    assert "mm (spacing 10 x 1.25 x 1.25)" in text
    assert "'nan'" in text
    assert "\n" not in text + METRIC_DEFINITION
    assert "mm (spacing of each case)" in metric_definition(unit="mm")
    with pytest.raises(ValueError, match="empty must be one of"):
        metric_definition(None, "skip")
    with pytest.raises(ValueError, match="unit must be one of .*'cm'"):
        metric_definition(unit="cm")
