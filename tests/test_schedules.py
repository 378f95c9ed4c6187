"""Ramps and learning rates equal the references at their own lengths and scale to others."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from buarl.schedules import Constant, OneCycle, Poly, StepDecay, ramp


def test_ramp_is_the_references_sigmoid(parity):
    arrays = parity("sigmoid_rampup")
    length = float(arrays["length"])
    got = [ramp(int(step), length, levels=int(length)) for step in arrays["current"]]
    np.testing.assert_allclose(got, arrays["value"], rtol=1e-12)


@pytest.mark.parametrize(
    ("step", "value"),
    [(0, 0.0067379), (149, 0.0067379), (15_000, 0.2865048), (30_000, 1.0), (99_999, 1.0)],
)
def test_ramp_values_of_the_protocol(step, value):
    assert ramp(step, 30_000) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(("length", "levels"), [(30_000, 200), (6_000, 40)])
def test_ramp_counts_blocks_of_150_steps(length, levels):
    for step in [*range(0, length + 400, 37), *range(0, length, 150), *range(149, length, 150)]:
        reference = math.exp(-5 * (1 - min(step // 150, levels) / levels) ** 2)
        assert ramp(step, length, levels) == reference


def test_ramp_of_length_zero_is_always_one():
    assert ramp(0, 0) == ramp(1000, 0) == 1


@given(st.integers(0, 10**5), st.integers(1, 10**5), st.integers(1, 400))
def test_ramp_rises_from_exp_minus_5_to_1(step, length, levels):
    assert math.exp(-5) - 1e-15 <= ramp(step, length, levels) <= ramp(step + 1, length, levels) <= 1
    assert ramp(length, length, levels) == 1


@given(st.integers(1, 500))
def test_ramp_keeps_its_shape_in_a_shorter_run(length):
    """The k-th of `length` steps has the value of the same share of 30,000 steps."""
    for step in range(0, length + 1, max(length // 5, 1)):
        assert ramp(step, length) == ramp(step * 30_000, length * 30_000)


def test_constant():
    assert Constant()(0, 10) == Constant()(9, 10) == 1


def test_poly():
    poly = Poly()
    assert poly(0, 30_000) == 1
    assert poly(15_000, 30_000) == pytest.approx(0.5**0.9)
    assert 0.01 * poly(29_999, 30_000) == pytest.approx(0.01 * (1 / 30_000) ** 0.9)
    assert poly(29_999, 30_000) > 0
    assert Poly(power=2)(1, 4) == pytest.approx(0.5625)


@pytest.mark.parametrize("steps", [6_000, 15_000])
def test_step_decay_divides_by_ten_every_2500_steps(steps):
    decay = StepDecay(2_500 / steps)
    for n in range(1, steps // 2_500 + 1):
        last, first = n * 2_500 - 1, n * 2_500
        assert 0.01 * decay(last, steps) == pytest.approx(0.01 * 0.1 ** (n - 1))
        if first < steps:
            assert 0.01 * decay(first, steps) == pytest.approx(0.01 * 0.1**n)
    assert 0.01 * decay(2_500, steps) == pytest.approx(1e-3)
    assert 0.01 * decay(5_000, steps) == pytest.approx(1e-4)


@given(st.integers(1, 5_000))
def test_step_decay_keeps_its_shape_in_a_shorter_run(steps):
    decay = StepDecay(2_500 / 6_000)
    for step in range(0, steps, max(steps // 7, 1)):
        assert decay(step, steps) == pytest.approx(0.1 ** (step * 6_000 // (2_500 * steps)))


@pytest.mark.parametrize("schedule", [Constant(), Poly(), StepDecay(2_500 / 6_000)], ids=str)
def test_the_rate_never_rises_and_never_stops(schedule):
    rates = [schedule(step, 120) for step in range(120)]
    assert rates[0] == 1
    assert rates[-1] > 0
    assert all(after <= before for before, after in pairwise(rates))


def test_one_cycle_climbs_a_line_and_falls_a_cosine():
    cycle = OneCycle(warm_up=0.5, first=0.2, last=0.1)
    rates = [cycle(step, 8) for step in range(8)]  # at 1/16, 3/16, ... of the run
    up = [0.2 + 0.8 * place / 8 for place in (1, 3, 5, 7)]
    down = [0.1 + 0.9 * (1 + math.cos(math.pi * place / 8)) / 2 for place in (1, 3, 5, 7)]
    assert rates == pytest.approx(up + down)


@given(st.integers(1, 3_000), st.floats(0.01, 0.99))
def test_one_cycle_rises_once_falls_once_and_stays_in_its_range(steps, warm_up):
    cycle = OneCycle(warm_up)
    rates = [cycle(step, steps) for step in range(0, steps, max(steps // 50, 1))]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0.002 <= rate <= 1 for rate in rates)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warm_up": 0}, "warm_up must lie between 0 and 1, got 0"),
        ({"warm_up": 1}, "warm_up must lie between 0 and 1, got 1"),
        ({"warm_up": 1.5}, "warm_up of a one-cycle schedule must lie in 0-1, got 1.5"),
        ({"first": -0.1}, "first of a one-cycle schedule must lie in 0-1, got -0.1"),
        ({"last": math.nan}, "last of a one-cycle schedule must lie in 0-1, got nan"),
    ],
)
def test_a_one_cycle_out_of_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        OneCycle(**arguments)


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 100), "step must be >= 0, got -1"),
        ((5, -100), "ramp length must be >= 0, got -100"),
        ((5, math.nan), "ramp length must be >= 0, got nan"),
        ((5, math.inf), "ramp length must be finite, got inf"),
        ((5, 100, 0), "ramp levels must be >= 1, got 0"),
        ((5, 100, -3), "ramp levels must be >= 1, got -3"),
    ],
)
def test_a_ramp_out_of_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ramp(*arguments)


@pytest.mark.parametrize("schedule", [Constant(), Poly(), StepDecay(0.4), OneCycle()], ids=str)
def test_a_step_outside_the_run_has_no_rate(schedule):
    """Beyond the end, Poly would be a complex number."""
    with pytest.raises(ValueError, match="step must lie in 0-10, got 11"):
        schedule(11, 10)
    with pytest.raises(ValueError, match="step must lie in 0-10, got -1"):
        schedule(-1, 10)
    with pytest.raises(ValueError, match="steps must be >= 1, got 0"):
        schedule(0, 0)


def test_a_decay_out_of_range_is_named():
    with pytest.raises(ValueError, match="power must be >= 0, got -0.9"):
        Poly(-0.9)
    for share in (0, -0.4):
        with pytest.raises(ValueError, match=f"share of the run must be .* got {share}"):
            StepDecay(share)
    with pytest.raises(TypeError, match="share of the run must be a number, got str"):
        StepDecay("0.4")


def test_a_power_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"power must lie above 0, got 0; .* is Constant"):
        Poly(0)
