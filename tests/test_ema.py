"""The teacher moves by the average of Eq. 10 and by nothing else."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, strategies as st
from tiny import tiny_method
from torch import nn

from buarl.ema import ema_decay_at, update_teacher


def networks():
    """A teacher and a student of one architecture with different weights and statistics."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    student = deepcopy(teacher)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))
    for _ in range(5):
        student(torch.randn(2, 1, 6, 6) + 3)
    return teacher.requires_grad_(False), student


def values(tensors):
    return [tensor.clone() for tensor in tensors]


def assert_all_equal(first, second):
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("step", "decay"), [(0, 0), (1, 1 / 2), (9, 0.9), (98, 98 / 99), (99, 0.99), (30_000, 0.99)]
)
def test_decay_follows_the_formula(step, decay):
    assert ema_decay_at(step) == pytest.approx(decay, abs=1e-12)


@given(st.integers(0, 10**7), st.floats(0, 1))
def test_decay_rises_to_its_limit(step, limit):
    assert 0 <= ema_decay_at(step, limit) <= ema_decay_at(step + 1, limit) <= limit


@given(st.floats(0, 1))
def test_parameters_are_averaged(decay):
    teacher, student = networks()
    expected = [
        decay * old + (1 - decay) * new
        for old, new in zip(teacher.parameters(), student.parameters(), strict=True)
    ]
    update_teacher(teacher, student, decay)
    for parameter, value in zip(teacher.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter, value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("buffers", [False, True])
def test_limits_are_exact(buffers):
    """Decay 0 copies the student, decay 1 keeps the teacher."""
    teacher, student = networks()
    before = values(teacher.parameters())
    update_teacher(teacher, student, 1.0, buffers=buffers)
    assert_all_equal(teacher.parameters(), before)
    update_teacher(teacher, student, 0.0, buffers=buffers)
    assert_all_equal(teacher.parameters(), student.parameters())


def test_buffers_are_averaged_or_copied_on_request():
    teacher, student = networks()
    mean = teacher[1].running_mean.clone()
    update_teacher(teacher, student, 0.75, buffers=True)
    assert student[1].running_mean.abs().min() > 0.1
    torch.testing.assert_close(
        teacher[1].running_mean, 0.75 * mean + 0.25 * student[1].running_mean
    )
    assert teacher[1].num_batches_tracked == student[1].num_batches_tracked == 5


def test_buffers_stay_by_default():
    teacher, student = networks()
    before = values(teacher.buffers())
    update_teacher(teacher, student, 0.5)
    assert_all_equal(teacher.buffers(), before)


@pytest.mark.parametrize("buffers", [False, True])
def test_student_stays_and_autograd_sees_nothing(buffers):
    teacher, student = networks()
    before = values(student.state_dict().values())
    update_teacher(teacher, student, 0.9, buffers=buffers)
    assert_all_equal(student.state_dict().values(), before)
    for parameter in teacher.parameters():
        assert parameter.is_leaf
        assert not parameter.requires_grad
    assert all(parameter.grad is None for parameter in student.parameters())
    student(torch.randn(2, 1, 6, 6)).sum().backward()  # the student's graph is still sound
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_teacher_does_not_share_memory_with_the_student():
    teacher, student = networks()
    update_teacher(teacher, student, 0.0, buffers=True)
    copied = values(teacher.state_dict().values())
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    student(torch.randn(2, 1, 6, 6))
    assert_all_equal(teacher.state_dict().values(), copied)


@pytest.mark.parametrize("buffers", [False, True])
def test_networks_of_another_architecture_are_refused_and_left_alone(buffers):
    teacher, student = networks()
    before = values(teacher.state_dict().values())
    wider = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    deeper = nn.Sequential(*student, nn.Conv2d(2, 2, 1))
    for other in (wider, deeper):
        with pytest.raises(ValueError, match=r"of one architecture, got 6 parameters of 44 .* and"):
            update_teacher(teacher, other, 0.9, buffers=buffers)
    plain = nn.Sequential(nn.Conv2d(1, 3, 3), nn.GroupNorm(1, 3), nn.Conv2d(3, 2, 1))
    with pytest.raises(ValueError, match="got 3 buffers of 7 numbers and 0 buffers of 0 numbers"):
        update_teacher(teacher, plain, 0.9, buffers=True)
    assert_all_equal(teacher.state_dict().values(), before)


@pytest.mark.parametrize(
    ("step", "limit", "message"),
    [
        (-1, 0.99, "step must be >= 0, got -1"),
        (float("nan"), 0.99, "step must be >= 0, got nan"),
        (5, 5, "ema limit must lie in 0-1, got 5"),
        (5, float("nan"), "ema limit must lie in 0-1, got nan"),
    ],
)
def test_a_decay_out_of_range_is_named(step, limit, message):
    with pytest.raises(ValueError, match=message):
        ema_decay_at(step, limit)


def test_a_decay_of_another_type_is_named():
    with pytest.raises(TypeError, match="ema_decay must be a number, got str '0.9'"):
        update_teacher(*networks(), "0.9")


@pytest.mark.parametrize("decay", [-0.1, 1.01, float("nan")])
def test_errors_name_the_value(decay):
    with pytest.raises(ValueError, match=f"ema_decay must lie in 0-1, got {decay}"):
        update_teacher(*networks(), decay)


def test_a_student_of_lower_precision_moves_an_exact_average():
    teacher, student = nn.Linear(2, 1), nn.Linear(2, 1).bfloat16()
    before = teacher.weight.detach().clone()
    update_teacher(teacher, student, 0.9)
    torch.testing.assert_close(teacher.weight, 0.9 * before + 0.1 * student.weight.float())
    update_teacher(nn.ReLU(), nn.ReLU(), 0.9)  # nothing to move


@pytest.mark.parametrize(
    ("name", "options"), [("mean_teacher", {}), ("ua_mt", {}), ("bcp", {"ema_buffers": False})]
)
def test_a_teacher_that_only_evaluates_takes_the_statistics_of_the_student(name, options):
    method = tiny_method(name, teacher_mode="eval", **options)
    for buffer in method.student.buffers():
        buffer.copy_(torch.full_like(buffer, 3))
    (*_, stage) = method.stages()
    for index in range(400):
        stage.after_step(method.at(index, 400))
    pairs = zip(method.teacher.buffers(), method.student.buffers(), strict=True)
    assert all((ours - theirs).abs().max() < 0.1 for ours, theirs in pairs)
