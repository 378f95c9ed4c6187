"""UA-MT: the threshold's check values, the mask, the passes, and where rules act."""

from __future__ import annotations

import math

import pytest
import torch

import buarl
from buarl.dice import DICE_UA_MT_LA
from buarl.methods import UaMt
from buarl.methods.base import Step
from buarl.methods.ua_mt import smoothed_entropy
from buarl.networks import UNet, VNet
from buarl.regions import crl, drop, url
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)


def build(rank=2, **kwargs):
    """A method whose student is sharp and whose teacher differs, so that the mask splits voxels."""
    torch.manual_seed(0)
    method = UaMt(UNet(4, width=2) if rank == 2 else VNet(2, width=2), **kwargs)
    with torch.no_grad():
        for net in (method.student, method.teacher):
            net.head.weight.mul_(6)
            for parameter in net.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return method


def step_of(method, batch, step=LATE):
    torch.manual_seed(2)
    return method.training_step(batch, method.at(step.index, step.steps))


def predictions(count=3, classes=4, spatial=(8, 8)):
    """Student's logits; the teacher's and the mean probabilities, the latter of mixed certainty."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, classes, *spatial)
    logits, single, mean = (torch.randn(shape, generator=generator) for _ in range(3))
    return logits, single.softmax(1), (4 * mean).softmax(1)


def plain(logits, teacher_probs, mean_probs, threshold, weights=None, divisor=2.0):
    """The published formula, written with its broadcasting mask; weights only for rules."""
    uncertainty = -(mean_probs * torch.log(mean_probs + 1e-6)).sum(1, keepdim=True)
    mask = (uncertainty < threshold).float()
    error = (logits.softmax(1) - teacher_probs) ** 2
    weighted = mask if weights is None else mask * weights[:, None]
    return (weighted * error).sum() / (divisor * mask.sum() + 1e-16)


# Threshold and mask


def test_the_threshold_rises_from_three_quarters_of_ln_2_over_the_whole_run():
    method = build()
    values = [method.threshold(Step(i, 30_000), 4) for i in (0, 15_000, 30_000)]
    assert values == pytest.approx([0.5210, 0.6931 * (0.75 + 0.25 * 0.2865), 0.6931], abs=5e-5)
    assert method.threshold(Step(0, 6000), 2) == values[0]


def test_the_threshold_moves_every_step_whatever_the_levels_of_the_weight():
    method = build(ramp_levels=2, ramp_share=0.1)
    values = [method.threshold(Step(i, 1000), 4) for i in range(1000)]
    assert all(a < b for a, b in zip(values, values[1:], strict=False))


def test_the_threshold_can_end_at_the_largest_entropy():
    method = build(max_entropy="lnC")
    assert method.threshold(Step(30, 30), 4) == pytest.approx(math.log(4))
    assert method.threshold(Step(30, 30), 2) == pytest.approx(math.log(2))


def test_smoothed_entropy_by_hand():
    probs = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.7, 0.3]])
    expected = [
        -sum(p * math.log(p + 1e-6) for p in row) for row in ((0.5, 0.5), (1, 0), (0.7, 0.3))
    ]
    torch.testing.assert_close(smoothed_entropy(probs), torch.tensor(expected))


@pytest.mark.parametrize("spatial", [(8, 8), (4, 4, 4)])
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_with_whole_the_loss_is_the_published_one(reduction, spatial):
    logits, teacher_probs, mean_probs = predictions(spatial=spatial)
    method = build(unlabeled_reduction=reduction)
    certain = smoothed_entropy(mean_probs) < 0.6
    assert 0.2 < certain.float().mean() < 0.8
    loss = method.unlabeled_loss(logits, teacher_probs, mean_probs, certain)
    torch.testing.assert_close(loss, plain(logits, teacher_probs, mean_probs, 0.6))
    method.divisor = "C"
    loss = method.unlabeled_loss(logits, teacher_probs, mean_probs, certain)
    torch.testing.assert_close(loss, plain(logits, teacher_probs, mean_probs, 0.6, divisor=4.0))


def test_without_certain_voxels_the_loss_is_zero_and_so_is_its_gradient():
    logits, teacher_probs, mean_probs = predictions()
    logits.requires_grad_()
    certain = torch.zeros_like(mean_probs[:, 0], dtype=torch.bool)
    loss = build().unlabeled_loss(logits, teacher_probs, mean_probs, certain)
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert not grad.any()


@pytest.mark.parametrize("rule", [url(60), crl(60), drop(60)])
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_a_rule_acts_inside_the_mask_by_the_entropy_behind_it(rule, reduction):
    logits, teacher_probs, mean_probs = predictions()
    entropy = torch.special.entr(mean_probs).sum(1)
    uncertain = entropy > torch.quantile(entropy, 0.6)
    certain = smoothed_entropy(mean_probs) < 1.0
    inside = [
        (uncertain & certain, rule.uncertain_weight),
        (~uncertain & certain, rule.certain_weight),
    ]
    assert all(mask.sum() > 10 for mask, _ in inside)
    method = build(unlabeled_rule=rule, unlabeled_reduction=reduction)
    logits.requires_grad_()
    loss = method.unlabeled_loss(logits, teacher_probs, mean_probs, certain)
    error = ((logits.softmax(1) - teacher_probs) ** 2).sum(1) / 2
    if reduction == "region":
        expected = sum(weight * error[mask].mean() for mask, weight in inside)
    else:
        expected = sum(weight * error[mask].sum() for mask, weight in inside) / certain.sum()
    torch.testing.assert_close(loss, expected)
    (grad,) = torch.autograd.grad(loss, logits)
    assert not grad.movedim(1, -1)[~certain].any()


def test_the_rule_can_look_at_the_student():
    logits, teacher_probs, mean_probs = predictions()
    certain = torch.ones_like(mean_probs[:, 0], dtype=torch.bool)
    losses = []
    for source in ("teacher", "student"):
        method = build(unlabeled_rule=drop(60), unlabeled_reduction="voxel", entropy_from=source)
        losses.append(method.unlabeled_loss(logits, teacher_probs, mean_probs, certain))
    probs = logits.softmax(1)
    entropy = torch.special.entr(probs).sum(1)
    error = ((probs - teacher_probs) ** 2).sum(1) / 2
    expected = error[entropy <= torch.quantile(entropy, 0.6)].sum() / error.numel()
    torch.testing.assert_close(losses[1], expected)
    assert losses[0] != losses[1]


# Passes


@pytest.mark.parametrize(
    ("passes", "sizes"), [(8, [8] * 4), (3, [8, 4]), (1, [4])], ids=["even", "odd", "one"]
)
def test_passes_run_two_at_a_time_with_fresh_noise(passes, sizes, semi_2d, monkeypatch):
    method = build(passes=passes, teacher_mode="eval")
    seen, answers = [], []

    def record(module, inputs, output):
        seen.append(inputs[0])
        answers.append(output.softmax(1))

    method.teacher.register_forward_hook(record)
    image = semi_2d.unlabeled_image
    mean = method.mean_probs(image)
    assert [len(images) for images in seen] == sizes
    views = torch.cat(seen).unflatten(0, (passes, 4))
    assert (views - image).abs().max() <= 0.2 + 1e-6
    for a in range(passes):
        for b in range(a):
            assert not torch.equal(views[a], views[b])
    torch.testing.assert_close(mean, torch.cat(answers).unflatten(0, (passes, 4)).mean(0))
    assert not mean.requires_grad


def test_the_target_is_a_pass_of_its_own(semi_2d):
    method = build(passes=4)
    sizes = []
    method.teacher.register_forward_hook(lambda m, i, o: sizes.append(len(i[0])))
    step_of(method, semi_2d)
    assert sizes == [4, 8, 8]


def test_without_noise_and_dropout_the_mean_is_the_teacher(semi_2d):
    method = build(passes=3, noise=0.0, teacher_mode="eval")
    image = semi_2d.unlabeled_image
    torch.testing.assert_close(method.mean_probs(image), method.teacher_probs(image))


# A step


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_a_step_teaches_the_student_alone(rank, reduction, semi):
    method = build(
        rank,
        max_entropy="lnC",
        labeled_rule=url(80),
        unlabeled_rule=crl(80),
        labeled_reduction=reduction,
        unlabeled_reduction=reduction,
    )
    loss, logs = step_of(method, semi[rank])
    assert logs["unlabeled"] > 0
    assert 0 < logs["certain"] <= 1
    assert loss.item() == pytest.approx(
        (logs["labeled"] + method.weight(LATE) * logs["unlabeled"]).item()
    )
    loss.backward()
    for key, parameter in method.student.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


def test_the_unlabeled_term_alone_teaches_the_student(semi_2d):
    method = build(max_entropy="lnC", consistency_weight=1.0)
    weights = [method.student.head.weight]
    (with_term,) = torch.autograd.grad(step_of(method, semi_2d).loss, weights)
    method.consistency_weight = 0.0
    (without,) = torch.autograd.grad(step_of(method, semi_2d).loss, weights)
    assert (with_term - without).abs().max() > 1e-6


def test_a_step_equals_its_parts(semi_2d):
    """Nothing of the step is lost between threshold, mask and loss."""
    method = build(noise=0.0, teacher_mode="eval", max_entropy="lnC")
    method.student.eval()
    _, logs = step_of(method, semi_2d, Step(0, 10))
    with torch.no_grad():
        student = method.student(semi_2d.unlabeled_image)
        teacher = method.teacher(semi_2d.unlabeled_image).softmax(1)
        threshold = (0.75 + 0.25 * math.exp(-5)) * math.log(4)
        expected = plain(student, teacher, teacher, threshold)
        share = (smoothed_entropy(teacher) < threshold).float().mean()
    torch.testing.assert_close(logs["unlabeled"], expected)
    torch.testing.assert_close(logs["certain"], share)
    assert method.at(0, 10).numbers["weight"] == pytest.approx(
        0.1 * math.exp(-5)
    )  # from the first step


def test_a_step_repeats_with_the_seed(semi_2d):
    first, second = (step_of(build(max_entropy="lnC"), semi_2d).loss for _ in range(2))
    assert torch.equal(first, second)


def test_a_step_is_finite_under_autocast(semi_2d):
    method = build(max_entropy="lnC")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, logs = step_of(method, semi_2d)
    loss.backward()
    assert loss.dtype == torch.float32
    assert logs["unlabeled"] > 0
    assert all(torch.isfinite(p.grad).all() for p in method.student.parameters())


def test_the_teacher_follows_after_the_step():
    method = build()
    method.update_teacher(method.at(0, 100))
    for mine, theirs in zip(method.teacher.parameters(), method.student.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ({"passes": 0}, (ValueError, "passes .* got 0")),
        ({"max_entropy": "ln4"}, (ValueError, "max_entropy .* got 'ln4'")),
        ({"divisor": 3}, (ValueError, "divisor .* got 3")),
        ({"unsupervised": "pseudo_label"}, (TypeError, "unsupervised")),
    ],
)
def test_wrong_arguments_are_refused(argument, error):
    with pytest.raises(error[0], match=error[1]):
        build(**argument)


# In the loop


def test_it_trains_on_the_phantom():
    row = Experiment(
        method="ua_mt", source="phantom", preset="toy", labeled=3, unlabeled_rule=crl()
    )
    method = build_method(row, 4)
    assert (method.passes, method.consistency_start, method.ramp_levels) == (8, 0.0, 200)
    result = fit(method, buarl.open_source("phantom"), config_for(row).shortened(2))
    assert {"labeled", "unlabeled", "weight", "certain"} <= set(result.history[-1])
    assert math.isfinite(result.history[-1]["student_loss"])


def test_the_recipe_of_la_fits():
    method = build_method(Experiment(method="ua_mt", source="la"), 2)
    assert isinstance(method.student, VNet)
    assert (method.ramp_levels, method.dice, method.passes) == (40, DICE_UA_MT_LA, 8)
