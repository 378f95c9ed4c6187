"""One step of every method: who gets a gradient, from which part, and what each switch changes."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny import labeled_only, with_unlabeled
from torch import nn

from buarl.data.batches import SemiBatch
from buarl.dice import DICE_BCP_LA
from buarl.losses import region_loss
from buarl.methods import Bcp, MeanTeacher, Supervised
from buarl.methods.base import Step, detached_probs, frozen_copy
from buarl.networks import UNet, VNet
from buarl.regions import crl, drop, url, whole

LATE = Step(90, 100)
RULES = {
    "whole": (whole(), whole()),
    "url+crl": (url(80), crl(80)),
    "url+drop": (url(80), drop(80)),
    "crl+url": (crl(80), url(80)),
}
BUILDERS = {
    "mean_teacher": MeanTeacher,
    "mean_teacher_pseudo": lambda net, **kw: MeanTeacher(net, unsupervised="pseudo_label", **kw),
    "bcp": lambda net, **kw: Bcp(net, url_in_stage2=True, **kw),
}
every_method = pytest.mark.parametrize("name", BUILDERS)
every_rule = pytest.mark.parametrize("rules", RULES)
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])
every_case = pytest.mark.parametrize(
    ("rank", "rules", "reduction"),
    [(2, rules, reduction) for rules in RULES for reduction in ("region", "voxel")]
    + [(3, "url+crl", "region"), (3, "crl+url", "voxel")],
)
every_rank = pytest.mark.parametrize("rank", [2, 3])


class Tiny(nn.Module):
    """Convolution, batch normalisation, dropout, head: what a method can meet, in milliseconds."""

    def __init__(self, rank):
        super().__init__()
        convolution, normalisation, num_classes = (
            (nn.Conv2d, nn.BatchNorm2d, 4) if rank == 2 else (nn.Conv3d, nn.BatchNorm3d, 2)
        )
        self.first = convolution(1, 6, 3, padding=1)
        self.norm, self.dropout = normalisation(6), nn.Dropout(0.2)
        self.head = convolution(6, num_classes, 3, padding=1)

    def forward(self, image):
        return self.head(self.dropout(self.norm(self.first(image)).relu()))


def network(rank=2):
    torch.manual_seed(0)
    return Tiny(rank)


def paper_network(rank):
    torch.manual_seed(0)
    return UNet(num_classes=4, width=2) if rank == 2 else VNet(num_classes=2, width=2)


def build(name, rank=2, rules="whole", reduction="voxel", make=network, **kwargs):
    """A method whose teacher already differs from its student."""
    labeled_rule, unlabeled_rule = RULES[rules]
    reductions = {"labeled_reduction": reduction, "unlabeled_reduction": reduction}
    method = BUILDERS[name](
        make(rank),
        labeled_rule=labeled_rule,
        unlabeled_rule=unlabeled_rule,
        **{**reductions, **kwargs},
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return method


def step_of(method, batch, step=LATE, method_step="training_step", seed=2):
    """One step with the same dropout, noise and box every time."""
    torch.manual_seed(seed)
    return getattr(method, method_step)(batch, method.at(step.index, step.steps))


def gradients(loss, module):
    return torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def still(net):
    """Eval mode: no dropout, no batch statistics."""
    return net.eval()


# --- What holds for every method ------------------------------------------------------------------


@every_case
@every_method
def test_one_step_trains_the_student_alone(name, rank, rules, reduction, semi):
    assert_only_the_student_learns(build(name, rank, rules, reduction), semi[rank])


@every_rank
@every_method
def test_one_step_trains_the_papers_networks(name, rank, semi):
    method = build(name, rank, "url+crl", "region", make=paper_network)
    assert_only_the_student_learns(method, semi[rank])


def assert_only_the_student_learns(method, batch):
    before = state(method)
    loss, logs = step_of(method, batch)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert {"labeled", "unlabeled"} <= set(logs)
    assert not any(getattr(value, "requires_grad", False) for value in logs.values())
    loss.backward()
    for key, parameter in method.student.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    assert (method.student.head.weight.grad != 0).any()
    for key, parameter in method.named_parameters():
        assert torch.equal(parameter, before[key]), f"{key} moved without an optimizer"
        if key.startswith("teacher"):
            assert not parameter.requires_grad
            assert parameter.grad is None


@every_case
@every_method
def test_the_unlabeled_part_alone_teaches_the_student(name, rank, rules, reduction, semi):
    method = build(name, rank, rules, reduction)
    weight = "unlabeled_weight" if name == "bcp" else "consistency_weight"
    grads = []
    for value in (1.0, 0.0):
        setattr(method, weight, value)
        grads.append(gradients(step_of(method, semi[rank]).loss, method.student))
    names = [key for key, _ in method.student.named_parameters()]
    for key, a, b in zip(names, *grads, strict=True):
        if key != "first.bias":  # batch normalisation takes it out again
            assert (a - b).abs().max() > 1e-6, key


@every_rank
@every_method
def test_with_whole_both_reductions_are_one(name, rank, semi):
    region, voxel = (
        step_of(build(name, rank, "whole", reduction), semi[rank]).loss
        for reduction in ("region", "voxel")
    )
    torch.testing.assert_close(region, voxel, atol=1e-6, rtol=1e-6)


@every_rank
@every_method
def test_with_other_rules_the_reductions_differ(name, rank, semi):
    region, voxel = (
        step_of(build(name, rank, "url+crl", reduction), semi[rank]).loss
        for reduction in ("region", "voxel")
    )
    assert (region - voxel).abs() > 1e-3


@every_method
@pytest.mark.parametrize("part", ["labeled", "unlabeled"])
def test_each_rule_and_each_reduction_acts_on_its_own_part(name, part, semi_2d):
    plain = step_of(build(name), semi_2d).logs
    other = "unlabeled" if part == "labeled" else "labeled"
    seen = [plain[part].item()]
    for reduction in ("region", "voxel"):
        method = build(name, **{f"{part}_reduction": reduction})
        where = "stage2_labeled_rule" if name == "bcp" and part == "labeled" else f"{part}_rule"
        setattr(method, where, url(80))
        logs = step_of(method, semi_2d).logs
        assert torch.equal(logs[other], plain[other])
        seen.append(logs[part].item())
    assert len(set(seen)) == 3  # whole, by region, by voxel


@every_method
def test_a_step_repeats_with_the_seed(name, semi_2d):
    first, second = (step_of(build(name, rules="url+crl"), semi_2d).loss for _ in range(2))
    assert torch.equal(first, second)


@every_method
def test_the_labels_of_unlabeled_images_do_not_exist(name, semi_2d):
    """Labels reach the labeled part only: another label changes only what is logged as labeled."""
    other = semi_2d._replace(label=(semi_2d.label + 1) % 4)
    first, second = (step_of(build(name), batch).logs for batch in (semi_2d, other))
    assert not torch.equal(first["labeled"], second["labeled"])
    assert torch.equal(first["unlabeled"], second["unlabeled"])


@every_method
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_teacher_mode(name, mode, semi_2d):
    """In eval mode the teacher's statistics stay, whatever mode it was left in."""
    method = build(name, teacher_mode=mode)
    method.train(mode == "eval")
    before = state(method.teacher)
    step_of(method, semi_2d)
    assert method.teacher.training == (mode == "train")
    assert same(before, state(method.teacher)) == (mode == "eval")


@every_method
def test_after_step_moves_the_teacher_towards_the_student(name, semi_2d):
    method = build(name)
    stage = method.stages()[-1]
    old, new = state(method.teacher), state(method.student)
    stage.after_step(method.at(1, 100))
    decay = 0.99 if name == "bcp" else 0.5  # min(1 / 2, 0.99)
    for key, parameter in method.teacher.named_parameters():
        expected = decay * old[key] + (1 - decay) * new[key]
        torch.testing.assert_close(parameter, expected, atol=1e-6, rtol=1e-5)
    assert same(new, state(method.student))


@every_method
def test_only_the_student_learns_by_gradient(name):
    method = build(name)
    for stage in method.stages():
        (learner,) = stage.learners
        assert learner.module is method.student


@every_method
def test_state_dict_restores_both_networks(name):
    method, other = build(name), BUILDERS[name](network())
    assert not same(state(method), state(other))
    other.load_state_dict(deepcopy(method.state_dict()))
    assert same(state(method), state(other))


def test_frozen_copy_shares_nothing():
    net = network()
    copy = frozen_copy(net)
    assert not any(p.requires_grad for p in copy.parameters())
    assert all(p.requires_grad for p in net.parameters())
    pairs = zip(net.parameters(), copy.parameters(), strict=True)
    assert all(a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_detached_probs_are_float32_without_a_graph():
    logits = torch.randn(2, 4, 3, 3, requires_grad=True).bfloat16()
    probs = detached_probs(logits)
    assert not probs.requires_grad
    assert probs.dtype == torch.float32
    torch.testing.assert_close(probs, logits.detach().float().softmax(1))


# --- Supervised -----------------------------------------------------------------------------------


@every_rank
@every_reduction
@pytest.mark.parametrize("rule", [whole(), url(80), drop(80)], ids=lambda rule: rule.name)
def test_supervised_is_the_region_loss_of_the_labeled_images(rule, reduction, rank, semi):
    batch = semi[rank]
    method = Supervised(still(network(rank)), labeled_rule=rule, labeled_reduction=reduction)
    output = step_of(method, labeled_only(batch))
    logits = method.student(batch.labeled_image)
    expected = region_loss(logits, batch.label, rule(logits.softmax(1)), reduction=reduction)
    torch.testing.assert_close(output.loss, expected)
    assert all(grad is not None for grad in gradients(output.loss, method.student))


# --- Mean Teacher ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unsupervised", ["mse", "pseudo_label"])
@every_reduction
@every_rule
def test_unlabeled_loss_has_a_gradient_for_the_student_and_none_for_the_teacher(
    rules, reduction, unsupervised, semi_2d
):
    method = build("mean_teacher", rules=rules, reduction=reduction, unsupervised=unsupervised)
    teacher_probs = method.teacher_probs(semi_2d.unlabeled_image)
    assert not teacher_probs.requires_grad
    logits = method.student(semi_2d.unlabeled_image)
    loss = method.unlabeled_loss(logits, teacher_probs)
    grads = gradients(loss, method.student)
    assert (grads[0] != 0).any()
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_equal_networks_without_noise_agree(semi_2d):
    method = MeanTeacher(still(network()), teacher_mode="eval", noise=0.0)
    output = step_of(method, semi_2d)
    assert output.logs["unlabeled"] == 0
    torch.testing.assert_close(output.loss, output.logs["labeled"])
    assert (
        step_of(MeanTeacher(still(network()), teacher_mode="eval"), semi_2d).logs["unlabeled"] > 0
    )


def test_mean_teacher_is_labeled_plus_weight_times_unlabeled(semi_2d):
    method = build("mean_teacher", rules="url+crl", consistency_weight=0.7)
    loss, logs = step_of(method, semi_2d)
    weight = method.at(*LATE[:2]).numbers["weight"]
    assert 0 < weight < 0.7
    torch.testing.assert_close(loss, logs["labeled"] + weight * logs["unlabeled"])


def test_consistency_starts_after_a_thirtieth_of_the_run(semi_2d):
    method = build("mean_teacher")
    assert method.weight(Step(0, 30_000)) == method.weight(Step(999, 30_000)) == 0
    assert method.weight(Step(1_000, 30_000)) > 0
    assert method.weight(Step(29_999, 30_000)) == pytest.approx(0.1, rel=1e-3)
    loss, logs = step_of(method, semi_2d, Step(2, 100))
    assert method.at(2, 100).numbers["weight"] == 0
    assert torch.equal(loss, logs["labeled"])
    assert build("mean_teacher", consistency_start=0).weight(Step(0, 100)) > 0


def test_weight_zero_leaves_the_gradient_of_the_labeled_term(semi_2d):
    early = step_of(build("mean_teacher"), semi_2d, Step(0, 100)).loss
    method = build("mean_teacher", consistency_weight=0.0)
    assert torch.equal(early, step_of(method, semi_2d).loss)


@pytest.mark.parametrize("unsupervised", ["mse", "pseudo_label"])
def test_mean_teacher_entropy_source(unsupervised, semi_2d):
    teacher, student = (
        step_of(
            build("mean_teacher", rules="url+crl", unsupervised=unsupervised, entropy_from=source),
            semi_2d,
        ).logs
        for source in ("teacher", "student")
    )
    assert not torch.equal(teacher["unlabeled"], student["unlabeled"])
    assert torch.equal(teacher["labeled"], student["labeled"])


def test_unequal_streams_are_fine_for_mean_teacher(semi_2d):
    batch = SemiBatch(semi_2d.image[1:], semi_2d.label[1:])
    method = build("mean_teacher")
    still(method.student)
    expected = region_loss(
        method.student(batch.labeled_image),
        batch.label,
        whole()(torch.full((3, 4, 16, 16), 0.25)),
        reduction="voxel",
    )
    torch.testing.assert_close(step_of(method, batch).logs["labeled"], expected.detach())


def test_teacher_sees_clipped_noise(semi_2d):
    method = build("mean_teacher", noise=0.1)
    seen = []
    method.teacher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    method.teacher_probs(semi_2d.unlabeled_image)
    noise = seen[0] - semi_2d.unlabeled_image
    assert noise.abs().max() <= 0.2 + 1e-6
    assert noise.std().item() == pytest.approx(0.096, abs=0.01)  # 0.1 but for the clipped tails


# --- BCP ------------------------------------------------------------------------------------------


def test_stage_two_starts_from_the_student():
    method = build("bcp")
    pretrain, selftrain = method.stages()
    assert pretrain.start is None
    assert pretrain.after_step is None
    with torch.no_grad():
        method.student.norm.running_mean.add_(1)
    selftrain.start()
    assert same(state(method.student), state(method.teacher))
    with torch.no_grad():
        method.student.head.bias.add_(1)
    assert not torch.equal(method.student.head.bias, method.teacher.head.bias)


@pytest.mark.parametrize("keep", [True, False])
def test_momentum_is_kept_on_request(keep):
    assert build("bcp", keep_optimizer=keep).stages()[1].keep_optimizer is keep


@pytest.mark.parametrize("buffers", [True, False])
def test_bcp_averages_buffers_on_request(buffers, semi_2d):
    method = build("bcp", ema_buffers=buffers)
    method.student(semi_2d.labeled_image)
    before = method.teacher.norm.running_mean.clone()
    method.stages()[1].after_step(Step(0, 10))
    assert torch.equal(before, method.teacher.norm.running_mean) != buffers


@every_case
@pytest.mark.parametrize("mixed_label", [False, True])
def test_pretraining_uses_labeled_images_and_the_student(mixed_label, rank, rules, reduction, semi):
    method = build("bcp", rank, rules, reduction, mixed_label=mixed_label)
    before = state(method.teacher)
    batch = labeled_only(semi[rank])
    output = step_of(method, batch, method_step="pretraining_step")
    assert torch.isfinite(output.loss)
    assert set(output.logs) == {"labeled"}
    grads = gradients(output.loss, method.student)
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)
    assert (grads[0] != 0).any()
    assert same(before, state(method.teacher))


@every_reduction
def test_pretraining_loss_of_a_pair_of_equal_halves(reduction, semi_2d):
    """Pasting an image onto itself changes nothing, so the loss can be written down."""
    parts = (semi_2d.labeled_image, semi_2d.label)
    image, label = (tensor[:2].repeat(2, *[1] * (tensor.ndim - 1)) for tensor in parts)
    batch = SemiBatch.from_parts(image, label, image)
    net = still(network())
    logits = net(image[:2])
    rule = url(80)
    kwargs = {"reduction": reduction, "dice": DICE_BCP_LA}

    method = Bcp(
        net, labeled_rule=rule, labeled_reduction=reduction, mixed_label=True, dice=DICE_BCP_LA
    )
    expected = region_loss(logits, label[:2], rule(detached_probs(logits)), **kwargs)
    got = step_of(method, batch, method_step="pretraining_step").loss
    torch.testing.assert_close(got, expected)

    method = Bcp(net, labeled_rule=whole(), labeled_reduction=reduction, dice=DICE_BCP_LA)
    torch.manual_seed(2)
    outside = method.draw_outside(image).expand(2, 16, 16)
    (full,) = whole()(detached_probs(logits))
    expected = sum(
        region_loss(logits, label[:2], [full._replace(mask=place)], **kwargs)
        for place in (outside, ~outside)
    )
    got = step_of(method, batch, method_step="pretraining_step").loss
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("unlabeled_outside_first", [True, False])
def test_stage_two_pastes_labels_and_pseudo_labels_where_their_images_lie(
    unlabeled_outside_first, semi_2d
):
    method = build("bcp", teacher_mode="eval", unlabeled_outside_first=unlabeled_outside_first)
    still(method)
    seen = []
    method.student.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    loss, logs = step_of(method, semi_2d)
    torch.manual_seed(2)
    outside = method.draw_outside(semi_2d.labeled_image)
    inputs, seen = list(seen), []
    labeled = unlabeled = 0.0
    for i, mixed in enumerate(inputs):
        half = slice(2 * i, 2 * i + 2)
        place = outside if (i == 0) == unlabeled_outside_first else ~outside
        image, other = semi_2d.labeled_image[half], semi_2d.unlabeled_image[half]
        assert torch.equal(mixed[..., place], other[..., place])
        assert torch.equal(mixed[..., ~place], image[..., ~place])
        logits = method.student(mixed)
        pseudo = method.pseudo_label(other)
        for label, where in ((semi_2d.label[half], ~place), (pseudo.pseudo_label, place)):
            regions = [whole()(pseudo.probs)[0]._replace(mask=where.expand(2, 16, 16))]
            part = region_loss(logits, label, regions, reduction="region")
            labeled, unlabeled = (
                (labeled, unlabeled + part) if where is place else (labeled + part, unlabeled)
            )
    torch.testing.assert_close(logs["labeled"], labeled.detach())
    torch.testing.assert_close(logs["unlabeled"], unlabeled.detach())
    torch.testing.assert_close(loss, labeled + 0.5 * unlabeled)


def test_pseudo_label_is_the_teachers_cleaned_argmax(semi_2d):
    method = build("bcp")
    method.teacher.forward = lambda image: (
        20 * torch.nn.functional.one_hot(label.expand(len(image), 16, 16), 4).movedim(-1, 1).float()
    )
    label = torch.zeros(16, 16, dtype=torch.int64)
    label[2:6, 2:6], label[10, 10], label[8:10, 1:3] = 1, 1, 2
    pseudo = method.pseudo_label(semi_2d.unlabeled_image)
    expected = label.clone()
    expected[10, 10] = 0  # the smaller of the two components of class 1
    assert torch.equal(pseudo.pseudo_label, expected.expand(4, 16, 16))
    assert torch.equal(pseudo.probs.argmax(1)[0], label)  # the entropy sees the prediction as it is
    assert not pseudo.probs.requires_grad


def test_url_in_stage_two_is_a_switch(semi_2d):
    rules = {"labeled_rule": url(80), "unlabeled_rule": crl(80)}
    off, on, plain = (
        step_of(Bcp(network(), **kwargs), semi_2d).logs["labeled"]
        for kwargs in (rules, {**rules, "url_in_stage2": True}, {"unlabeled_rule": crl(80)})
    )
    assert torch.equal(off, plain)
    assert not torch.equal(on, off)


def test_bcp_entropy_source(semi_2d):
    teacher, student = (
        step_of(build("bcp", rules="url+crl", entropy_from=source), semi_2d).logs
        for source in ("teacher", "student")
    )
    assert not torch.equal(teacher["unlabeled"], student["unlabeled"])
    assert torch.equal(teacher["labeled"], student["labeled"])


def test_box_share_one_pastes_everything(semi_2d):
    """Direction 1 then shows the labeled image alone and direction 2 the unlabeled one."""
    method = build("bcp", box_share=1.0)
    seen = []
    method.student.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    assert torch.isfinite(step_of(method, semi_2d).loss)  # the empty parts add nothing
    assert torch.equal(seen[0], semi_2d.labeled_image[:2])
    assert torch.equal(seen[1], semi_2d.unlabeled_image[2:])


def test_bcp_refuses_odd_and_unequal_batches(semi_2d):
    odd = SemiBatch(semi_2d.image[1:-1], semi_2d.label[1:])
    for method_step in ("training_step", "pretraining_step"):
        with pytest.raises(ValueError, match="odd batch of 3"):
            step_of(build("bcp"), odd, method_step=method_step)
    unequal = with_unlabeled(semi_2d, semi_2d.unlabeled_image[:2])
    with pytest.raises(ValueError, match=r"in pairs, got \(4, 2\)"):
        step_of(build("bcp"), unequal)
