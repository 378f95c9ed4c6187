"""SASSNet: the discriminator, who learns in which step, and what the rules act on."""

from __future__ import annotations

import pytest
import torch
from tiny import (
    Cut,
    cut_after,
    labeled_only,
    same_weights,
    tiny_config,
    with_unlabeled,
    write_tiny,
)
from torch import nn
from torch.nn import functional as F

import buarl
from buarl.data.acdc import Acdc
from buarl.dice import DICE_SSL4MIS, DICE_UA_MT_LA
from buarl.losses import region_mean, voxel_weights
from buarl.methods import SassNet
from buarl.methods.base import Adam, Learner, Method, Sgd, Stage, Step, StepOutput
from buarl.methods.sassnet.discriminator import Discriminator, paper_discriminator
from buarl.methods.signed_distance.maps import signed_distance
from buarl.networks import UNet, VNet
from buarl.regions import crl, drop, url, whole, within
from buarl.schedules import Constant, StepDecay
from buarl.training.config import Experiment, StagePlan, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)
every_rank = pytest.mark.parametrize("rank", [2, 3])
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])


def build(rank=2, **kwargs):
    torch.manual_seed(0)
    network = UNet(4, 2) if rank == 2 else VNet(2, 2)
    return SassNet(network, dice=DICE_SSL4MIS if rank == 2 else DICE_UA_MT_LA, **kwargs)


def step_of(method, batch, name="training_step", step=LATE):
    torch.manual_seed(2)
    return getattr(method, name)(batch, method.at(step.index, step.steps))


def images_of(batch):
    return batch.image


def answers(method, batch):
    torch.manual_seed(2)
    return method.student.logits_and_distance(images_of(batch))


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# Discriminator


def test_parameters_of_the_references():
    for net, count in (
        (paper_discriminator(2, 4), 2_762_754),
        (paper_discriminator(3, 1), 11_020_290),
        (SassNet(UNet()).discriminator, 2_762_754),
        (SassNet(VNet()).discriminator, 11_020_290),
    ):
        assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(
    ("size", "window"), [((256, 256), (7, 7)), ((112, 112, 80), (7, 7, 5))], ids=["2-D", "3-D"]
)
def test_at_the_size_of_the_reference_its_pooling(size, window):
    rank = len(size)
    channels = {2: 4, 3: 1}[rank]
    torch.manual_seed(0)
    net = paper_discriminator(rank, channels, width=2).eval()
    distance, image = torch.rand(2, channels, *size), torch.rand(2, 1, *size)
    feature = net.levels(net.map_conv(distance) + net.image_conv(image))
    pooled = (F.avg_pool2d if rank == 2 else F.avg_pool3d)(feature, window)
    torch.testing.assert_close(net(distance, image), net.head(pooled.flatten(1)))


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (64, 64), (48, 48, 32), (32, 16, 16)])
def test_other_sizes_of_image(size):
    net = paper_discriminator(len(size), 3, width=2)
    scores = net(torch.rand(2, 3, *size), torch.rand(2, 1, *size))
    assert scores.shape == (2, 2)


def test_the_references_differ_in_the_first_level():
    """DAN's first level is linear in map and image, SASSNet's is not."""
    dan, sassnet = paper_discriminator(2, 4, width=2), paper_discriminator(3, 1, width=2)
    kinds = [[type(layer).__name__ for layer in net.levels] for net in (dan, sassnet)]
    assert kinds[0] == ["Conv2d", "LeakyReLU", "Dropout2d"] * 2 + ["Conv2d", "LeakyReLU"]
    assert kinds[1] == ["LeakyReLU", "Dropout3d", "Conv3d"] * 3 + ["LeakyReLU"]


def test_map_and_image_both_count_and_dropout_has_a_mode():
    torch.manual_seed(0)
    net = Discriminator(2, 1, width=4)
    distance, image = torch.rand(2, 2, 1, 32, 32)
    assert not torch.equal(net(distance, image), net(distance, image))
    net.eval()
    scores = net(distance, image)
    assert torch.equal(scores, net(distance, image))
    assert not torch.equal(scores, net(-distance, image))
    assert not torch.equal(scores, net(distance, -image))


def test_a_rank_without_a_form_is_refused():
    with pytest.raises(ValueError, match="rank must be 2 or 3, got 4"):
        Discriminator(4, 1)


# Who learns in which step


@every_rank
@pytest.mark.parametrize("rules", [(whole(), whole()), (url(80), crl(80))], ids=["whole", "crl"])
def test_the_students_step_leaves_the_discriminator_alone(rank, rules, semi):
    method = build(rank, labeled_rule=rules[0], unlabeled_rule=rules[1])
    before = state(method.discriminator)
    step_of(method, semi[rank]).loss.backward()
    assert all(p.grad is None and p.requires_grad for p in method.discriminator.parameters())
    assert same(before, state(method.discriminator))
    for name, parameter in method.student.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name
    assert all(module.training for module in method.modules())


@every_rank
def test_the_discriminators_step_leaves_the_student_alone(rank, semi):
    method = build(rank)
    before = state(method.student)
    step_of(method, semi[rank], "discriminator_step").loss.backward()
    assert all(p.grad is None and p.requires_grad for p in method.student.parameters())
    assert same(before, state(method.student))  # no batch statistics either
    for name, parameter in method.discriminator.named_parameters():
        assert (parameter.grad != 0).any(), name
    assert all(module.training for module in method.modules())


@pytest.mark.parametrize("mode", [True, False])
def test_steps_leave_the_modes_as_they_were(mode, semi_2d):
    method = build()
    method.train(mode)
    for name in ("training_step", "discriminator_step"):
        step_of(method, semi_2d, name)
        assert all(module.training == mode for module in method.modules())


@every_rank
def test_the_adversarial_term_alone_teaches_the_distance_head(rank, semi):
    method, batch = build(rank), semi[rank]
    logits, distance = answers(method, batch)
    count = len(batch.label)
    ones = torch.ones_like(logits[count:, 0])
    method.adversarial_loss(distance[count:], batch.unlabeled_image, ones).backward()
    assert method.student.distance_head.weight.grad.abs().max() > 0
    assert method.student.segmentation_head.weight.grad is None


# Losses


@every_rank
@every_reduction
def test_with_whole_the_students_loss_is_the_published_one(rank, reduction, semi):
    batch, method = semi[rank], build(rank, unlabeled_reduction=reduction)
    loss, logs = step_of(method, batch)
    grads = torch.autograd.grad(loss, list(method.student.parameters()))
    logits, distance = answers(method, batch)
    count = len(batch.label)
    true = signed_distance(batch.label, logits.shape[1], background=rank == 2)
    regression = ((distance[:count] - true) ** 2).mean()
    method.discriminator.eval()
    scores = method.discriminator(distance[count:], batch.unlabeled_image)
    adversarial = -scores.log_softmax(1)[:, 1].mean()
    labeled = method.labeled_loss(logits[:count], batch.label) + 0.3 * regression
    expected = labeled + method.weight(LATE) * adversarial
    assert torch.equal(logs["unlabeled"], F.cross_entropy(scores, torch.ones(count).long()))
    torch.testing.assert_close(logs["unlabeled"], adversarial)
    torch.testing.assert_close(logs["distance"], regression)
    torch.testing.assert_close(logs["labeled"], labeled)
    torch.testing.assert_close(loss, expected)
    plain = torch.autograd.grad(expected, list(method.student.parameters()))
    for mine, theirs in zip(grads, plain, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


@every_rank
def test_the_discriminators_loss_is_the_published_one(rank, semi):
    """As many targets of each kind as there are images of each, equal or not."""
    batch, method = semi[rank], build(rank)
    batch = with_unlabeled(batch, batch.unlabeled_image[:1])
    method.discriminator.eval()  # no dropout, so that the value can be compared
    loss, logs = step_of(method, batch, "discriminator_step")
    method.student.eval()
    with torch.no_grad():
        _, distance = method.student.logits_and_distance(images_of(batch))
        scores = method.discriminator(distance, images_of(batch))
    target = torch.tensor([1] * len(batch.label) + [0])
    torch.testing.assert_close(loss, F.cross_entropy(scores, target))
    assert logs["told_apart"] == (scores.argmax(1) == target).float().mean()


def test_the_discriminator_drops_out_in_its_own_step_only(semi_2d):
    method = build()
    _, distance = answers(method, semi_2d)
    distance = distance[:4].detach()
    ones = torch.ones_like(distance[:, 0])
    first, second = (
        method.adversarial_loss(distance, semi_2d.unlabeled_image, ones) for _ in range(2)
    )
    assert torch.equal(first, second)
    first, second = (method.discriminator_step(semi_2d, LATE).loss for _ in range(2))
    assert not torch.equal(first, second)


def test_the_labeled_rule_acts_on_dice_alone(semi_2d):
    plain = step_of(build(), semi_2d).logs
    cut = step_of(build(labeled_rule=url(80)), semi_2d).logs
    assert torch.equal(cut["distance"], plain["distance"])
    assert torch.equal(cut["unlabeled"], plain["unlabeled"])
    assert not torch.equal(cut["labeled"], plain["labeled"])


# What CRL means here


@every_reduction
@pytest.mark.parametrize("rule", [whole(), url(80), crl(80), drop(80), crl(100)], ids=str)
def test_voxel_weights_are_those_of_a_mean_over_regions(rule, reduction):
    torch.manual_seed(0)
    regions = rule(torch.randn(3, 4, 7, 5).softmax(1))
    for cut in (regions, within(regions, torch.arange(5) > 1)):
        values = torch.zeros(3, 7, 5, requires_grad=True)
        (expected,) = torch.autograd.grad(region_mean(values, cut, reduction=reduction), values)
        weights = voxel_weights(cut, reduction=reduction)
        torch.testing.assert_close(weights, values.numel() * expected)
    if rule == whole():
        assert (voxel_weights(regions, reduction=reduction) == 1).all()


@every_rank
@every_reduction
def test_a_rule_weighs_what_the_adversary_asks_of_a_voxel(rank, reduction, semi):
    batch, method = semi[rank], build(rank)
    logits, distance = answers(method, batch)
    count = len(batch.label)
    distance = distance[count:].detach().requires_grad_()
    regions = crl(80)(logits[count:].detach().softmax(1))
    weights = voxel_weights(regions, reduction=reduction)
    grads, losses = [], []
    for each in (torch.ones_like(weights), weights):
        losses.append(method.adversarial_loss(distance, batch.unlabeled_image, each))
        grads.append(torch.autograd.grad(losses[-1], distance)[0])
    assert torch.equal(*losses)  # the discriminator sees the same map
    torch.testing.assert_close(grads[1], weights[:, None] * grads[0])
    uncertain = regions[0].mask[:, None].expand_as(grads[0])
    if reduction == "voxel":
        torch.testing.assert_close(grads[1][uncertain], 0.5 * grads[0][uncertain])
        assert torch.equal(grads[1][~uncertain], grads[0][~uncertain])


@every_reduction
def test_the_unlabeled_rule_moves_the_gradient_and_not_the_value(reduction, semi_2d):
    plain, cut = build(), build(unlabeled_rule=crl(80), unlabeled_reduction=reduction)
    outputs = [step_of(method, semi_2d) for method in (plain, cut)]
    assert torch.equal(outputs[0].loss, outputs[1].loss)
    for output in outputs:
        output.loss.backward()
    heads = [method.student.distance_head.weight.grad for method in (plain, cut)]
    assert not torch.equal(*heads)
    heads = [method.student.segmentation_head.weight.grad for method in (plain, cut)]
    assert torch.equal(*heads)


# Runs


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


CONSTANT = Constant()


def plan(steps=2, schedule=CONSTANT, **changes):
    return tiny_config("mean_teacher", stages=(StagePlan(steps, 4, 4, schedule),), **changes)


def moved(method, fresh):
    """Which networks moved. Normalisation statistics move with every step and are no evidence."""
    return {
        name
        for name in ("student", "discriminator")
        if any(
            not torch.equal(a, b)
            for a, b in zip(
                getattr(method, name).parameters(), getattr(fresh, name).parameters(), strict=True
            )
        )
    }


@pytest.mark.parametrize(
    ("student_lr", "discriminator_lr", "expected"),
    [
        (0.01, 1e-4, {"student", "discriminator"}),
        (0.01, 0.0, {"student"}),
        (0.0, 1e-4, {"discriminator"}),
    ],
)
def test_each_optimizer_moves_its_own_network(source, student_lr, discriminator_lr, expected):
    def make():
        return build(
            optimizer=Sgd(student_lr), discriminator_optimizer=Adam(discriminator_lr, (0.9, 0.99))
        )

    method = make()
    result = fit(method, source, plan())
    assert moved(method, make()) == expected
    assert {"student_loss", "discriminator_loss", "told_apart"} <= set(result.history[-1])


class Pushes(Method):
    """Two learners whose weights fall by the learning rate at every step."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 1, 1, bias=False))
        self.other = nn.Conv2d(1, 1, 1, bias=False)

    def stages(self):
        plain = Sgd(0.01, momentum=0.0, weight_decay=0.0)
        student = Learner("student", self.student, self.training_step, plain)
        other = Learner("other", self.other, self.other_step, plain, Constant())
        return (Stage("train", (student, other)),)

    def training_step(self, batch, step):
        return StepOutput(self.student.weight.sum(), {})

    def other_step(self, batch, step):
        return StepOutput(self.other.weight.sum(), {})


def test_a_learner_may_have_its_own_schedule(source):
    method, seen = Pushes(), []
    start = [method.student.weight.item(), method.other.weight.item()]
    fit(
        method,
        source,
        plan(schedule=StepDecay(0.5)),
        callback=lambda *_: seen.append([method.student.weight.item(), method.other.weight.item()]),
    )
    steps = torch.tensor([start, *seen]).diff(dim=0)
    expected = torch.tensor([[-0.01, -0.01], [-0.001, -0.01]])
    torch.testing.assert_close(steps, expected, atol=1e-6, rtol=0)


def test_the_discriminator_has_the_published_optimizer():
    student, discriminator = build().stages()[0].learners
    assert (student.name, discriminator.name) == ("student", "discriminator")
    assert student.schedule is None
    assert discriminator.schedule == Constant()
    assert discriminator.optimizer == Adam(1e-4, (0.9, 0.99))


def test_a_resumed_run_has_both_optimizers_back(source, tmp_path):
    straight = build()
    fit(straight, source, plan(4))
    cut, config = cut_after("train", 2), plan(4, checkpoint_every=2)
    with pytest.raises(Cut):
        fit(build(), source, config, out=tmp_path, callback=cut)
    resumed = build()
    torch.nn.init.zeros_(resumed.discriminator.head.weight)
    fit(resumed, source, config, out=tmp_path, resume=True)
    assert same_weights(straight, resumed)


def test_trains_on_the_phantom():
    row = Experiment(method="sassnet", source="phantom", preset="toy", labeled=3)
    method, fresh = build_method(row, 4), build_method(row, 4)
    assert isinstance(method, SassNet)
    assert same_weights(method, fresh)
    assert (method.ce_share, method.consistency_weight) == (0.0, 0.01)
    fit(method, buarl.open_source("phantom"), config_for(row).shortened(2))
    assert moved(method, fresh) == {"student", "discriminator"}


def test_the_two_play_in_3d(semi_3d):
    """The student learns its labels, the discriminator what sets unlabeled images apart."""
    batch = with_unlabeled(semi_3d, semi_3d.unlabeled_image + 3)
    method = build(3)
    learners = method.stages()[0].learners
    optimizers = [
        torch.optim.Adam(learner.module.parameters(), lr)
        for learner, lr in zip(learners, (0.01, 0.001), strict=True)
    ]
    labeled = []
    for index in range(15):
        for learner, optimizer in zip(learners, optimizers, strict=True):
            optimizer.zero_grad()
            output = learner.training_step(batch, method.at(index, 15))
            output.loss.backward()
            optimizer.step()
            labeled += [output.logs["labeled"].item()] if learner.name == "student" else []
    assert labeled[-1] < 0.9 * labeled[0]
    method.eval()
    assert method.discriminator_step(batch, LATE).loss < 0.5  # ln 2 is a guess


@every_rank
def test_bf16(rank, semi):
    method = build(rank, unlabeled_rule=crl(80), labeled_rule=url(80))
    for name, module in (
        ("training_step", method.student),
        ("discriminator_step", method.discriminator),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            loss = step_of(method, semi[rank], name).loss
        assert loss.dtype == torch.float32
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@every_rank
def test_a_step_repeats_with_the_seed(rank, semi):
    method = build(rank, unlabeled_rule=crl(80))
    for name in ("training_step", "discriminator_step"):
        first, second = (step_of(method, semi[rank], name).loss for _ in range(2))
        assert torch.equal(first, second)


def test_needs_unlabeled_images(semi_2d):
    with pytest.raises(ValueError, match="SassNet needs unlabeled images, got 0"):
        step_of(build(), labeled_only(semi_2d))
