"""SS-Net: perturbation, memory, contrast, heads, and one step against the plain formulas."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from tiny import labeled_only
from torch import nn
from torch.nn import functional as F

import buarl
from buarl.dice import DICE_BCP_ACDC, DICE_SS_NET_LA
from buarl.methods import SsNet
from buarl.methods.base import Step, detached_probs
from buarl.methods.ss_net.perturbation import (
    adversarial_direction,
    dice_distance,
    frozen_statistics,
    unit_length,
)
from buarl.methods.ss_net.projector import Projector
from buarl.methods.ss_net.prototypes import PrototypeMemory, prototype_loss
from buarl.networks import UNet, VNet
from buarl.regions import Region, crl, drop, url, whole
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)
every_rank = pytest.mark.parametrize("rank", [2, 3])
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])


def trunk(rank):
    torch.manual_seed(0)
    return UNet(4, width=2) if rank == 2 else VNet(2, width=2)


def build(rank=2, still=False, **kwargs):
    settings = (
        {"dice": DICE_BCP_ACDC}
        if rank == 2
        else {"dice": DICE_SS_NET_LA, "pool_classes": True, "epsilon": 10}
    )
    method = SsNet(trunk(rank), ce_share=0.0, **{**settings, **kwargs})
    return method.eval() if still else method


def step_of(method, batch, step=LATE):
    torch.manual_seed(2)
    return method.training_step(batch, method.at(step.index, step.steps))


def images(batch):
    return batch.image


def probs_pair(rank=2, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    size = (2, 4, 6, 5) if rank == 2 else (2, 2, 4, 3, 5)
    first, second = (torch.randn(size, generator=generator).softmax(1) for _ in range(2))
    return first.requires_grad_(requires_grad), second


# --- The network ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "parameters"), [(UNet, 1_826_828), (VNet, 9_457_318)])
def test_parameters_of_the_reference(model, parameters):
    with torch.device("meta"):
        net = Projector(model())
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert sum(p.numel() for p in net.projection.parameters()) == 1_664
    assert sum(p.numel() for p in net.prediction.parameters()) == 2_176
    assert sum(p.numel() for p in net.selectors[0].parameters()) == 1_153


@every_rank
def test_the_embedding_is_what_the_logits_are_made_of(rank, semi):
    net, image = Projector(trunk(rank)).eval(), semi[rank].labeled_image
    logits, embedding = net.logits_and_embedding(image)
    assert embedding.shape == (len(image), 2, *image.shape[2:])
    assert torch.equal(net.trunk.head(embedding), logits)
    assert torch.equal(net(image), logits)
    assert torch.equal(trunk(rank).eval()(image), logits)


def test_project_leaves_mode_statistics_and_graph_alone():
    net = Projector(trunk(2))
    before = deepcopy(net.state_dict())
    vectors = net.project(torch.randn(5, 2, requires_grad=True))
    assert vectors.shape == (5, 32)
    assert not vectors.requires_grad
    assert net.projection.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    one = net.project(torch.zeros(1, 2))  # eval mode: a single vector is enough
    assert torch.isfinite(one).all()
    assert net.project(torch.zeros(0, 2)).shape == (0, 32)


def test_selectors_score_between_zero_and_one():
    scores = Projector(trunk(2)).selectors[1](torch.randn(7, 32))
    assert scores.shape == (7,)
    assert ((scores > 0) & (scores < 1)).all()


def test_a_network_without_decoder_is_refused():
    with pytest.raises(TypeError, match="such as UNet or VNet, got Conv2d"):
        SsNet(nn.Conv2d(1, 4, 3))


# --- Perturbation ---------------------------------------------------------------------------------


def test_unit_length_is_per_sample():
    vectors = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]], [[0.0, -2.0]]])
    expected = torch.tensor([[[0.6, 0.8]], [[0.0, 0.0]], [[0.0, -1.0]]])
    torch.testing.assert_close(unit_length(vectors), expected)


def test_direction_of_a_quadratic_distance_is_one_power_step():
    """distance = (x - x0)' A (x - x0) per image: its gradient at x0 + 10 d points along A d."""
    torch.manual_seed(0)
    image, matrix = torch.randn(3, 1, 2, 2), torch.randn(4, 4)
    matrix = matrix @ matrix.T

    def distance(prediction):
        shift = (prediction - image).flatten(1)
        return (shift @ matrix * shift).sum()

    torch.manual_seed(5)
    got = adversarial_direction(lambda x: x, image, distance)
    torch.manual_seed(5)
    start = (torch.rand_like(image) - 0.5).flatten(1)
    expected = F.normalize(start @ matrix)
    torch.testing.assert_close(got.flatten(1), expected, atol=1e-6, rtol=1e-5)
    assert not got.requires_grad


@every_rank
def test_the_direction_moves_the_prediction_more_than_chance_and_leaves_no_gradient(rank, semi):
    net, image = trunk(rank).eval(), semi[rank].unlabeled_image
    clean = detached_probs(net(image))
    regions = whole()(clean)

    def distance(probs):
        return dice_distance(probs, clean, regions, reduction="voxel", dice=DICE_BCP_ACDC)

    def predict(x):
        return net(x).softmax(1)

    torch.manual_seed(0)
    direction = adversarial_direction(predict, image, distance)
    length = direction.flatten(1).norm(dim=1)
    torch.testing.assert_close(length, torch.ones(len(image)), atol=0.01, rtol=0)
    assert all(p.grad is None for p in net.parameters())
    with torch.no_grad():
        worst = distance(predict(image + 3 * direction))
        chance = distance(predict(image + 3 * unit_length(torch.rand_like(image) - 0.5)))
    assert worst > 2 * chance


def test_frozen_statistics_uses_the_batch_but_remembers_nothing():
    norm = nn.Sequential(nn.BatchNorm2d(3))
    x = torch.randn(4, 3, 5, 5) + 2
    before = deepcopy(norm.state_dict())
    with frozen_statistics(norm):
        inside = norm(x)
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())
    assert torch.equal(inside, norm(x))
    assert norm[0].num_batches_tracked == 1
    with pytest.raises(RuntimeError, match="oops"), frozen_statistics(norm):
        raise RuntimeError("oops")
    assert norm[0].track_running_stats


@every_reduction
def test_distance_per_class_is_the_soft_squared_dice(reduction):
    p, q = probs_pair()
    got = dice_distance(p, q, whole()(q), reduction=reduction, dice=DICE_BCP_ACDC)
    expected = 0.0
    for c in range(4):
        a, b = p[:, c], q[:, c]
        expected += 1 - (2 * (a * b).sum() + 1e-10) / ((a * a).sum() + (b * b).sum() + 1e-10)
    torch.testing.assert_close(got, expected / 4)
    assert dice_distance(q, q, whole()(q), reduction=reduction, dice=DICE_BCP_ACDC).abs() < 1e-6


@every_reduction
def test_pooled_distance_is_one_linear_dice_over_all_channels(reduction):
    p, q = probs_pair(rank=3)
    got = dice_distance(
        p, q, whole()(q), reduction=reduction, dice=DICE_SS_NET_LA, pool_classes=True
    )
    expected = 1 - (2 * (p * q).sum() + 1e-8) / (p.sum() + q.sum() + 1e-8)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("pool", [False, True])
def test_weights_stand_inside_every_sum_of_the_distance(pool):
    """A dropped voxel is as good as no voxel, and a region is its own Dice."""
    p, q = probs_pair(requires_grad=True)
    kwargs = {"dice": DICE_BCP_ACDC, "pool_classes": pool}
    uncertain, certain = crl(70)(q)
    dropped = [Region(uncertain.mask, 0.0), Region(certain.mask, 1.0)]
    flat = [x.movedim(1, -1)[certain.mask].T[None] for x in (p, q)]  # (1, C, voxels)
    alone = dice_distance(*flat, whole()(flat[1]), reduction="voxel", **kwargs)
    for reduction in ("voxel", "region"):
        got = dice_distance(p, q, dropped, reduction=reduction, **kwargs)
        torch.testing.assert_close(got, alone)
    (gradient,) = torch.autograd.grad(got, p)
    assert (gradient.movedim(1, -1)[uncertain.mask] == 0).all()

    flat = [x.movedim(1, -1)[uncertain.mask].T[None] for x in (p, q)]
    other = dice_distance(*flat, whole()(flat[1]), reduction="voxel", **kwargs)
    got = dice_distance(p, q, [uncertain, certain], reduction="region", **kwargs)
    torch.testing.assert_close(got, alone + 0.5 * other)
    weight = (certain.mask + 0.5 * uncertain.mask).sqrt()[:, None]
    expected = dice_distance(p * weight, q * weight, whole()(q), reduction="voxel", **kwargs)
    got = dice_distance(p, q, [uncertain, certain], reduction="voxel", **kwargs)
    torch.testing.assert_close(got, expected)


# --- Memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "kept"), [("lowest", {0, 1, 2}), ("highest", {7, 8, 9})])
def test_memory_keeps_the_candidates_of_lowest_or_highest_score(keep, kept):
    memory = PrototypeMemory(3, channels=2, size=3, keep=keep)
    candidates = torch.arange(10.0)[torch.randperm(10)]
    memory.store(1, torch.stack([candidates, -candidates], 1), lambda v: torch.sigmoid(v[:, 0]))
    nothing, vectors, empty = memory.of_each_class()
    assert set(vectors[:, 0].tolist()) == kept
    assert torch.equal(vectors[:, 1], -vectors[:, 0])
    assert len(nothing) == len(empty) == 0


def test_memory_is_overwritten_by_candidates_and_kept_without_them():
    memory = PrototypeMemory(2, channels=2, size=3)

    def never(vectors):
        raise AssertionError("3 or fewer candidates need no ranking")

    memory.store(1, torch.ones(3, 2), never)
    memory.store(1, torch.zeros(0, 2), never)
    assert torch.equal(memory.of_each_class()[1], torch.ones(3, 2))
    memory.store(1, 2 * torch.ones(2, 2, requires_grad=True), never)
    assert torch.equal(memory.of_each_class()[1], 2 * torch.ones(2, 2))
    assert not memory.vectors.requires_grad
    other = PrototypeMemory(2, channels=2, size=3)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.of_each_class()[1], 2 * torch.ones(2, 2))
    assert not list(memory.parameters())


def test_memory_refuses_other_orders():
    with pytest.raises(ValueError, match="got 'best'"):
        SsNet(trunk(2), keep="best")
    with pytest.raises(ValueError, match="got 'learned'"):
        SsNet(trunk(2), memory_weights="learned")


# --- Contrast -------------------------------------------------------------------------------------


def contrast_case():
    torch.manual_seed(0)
    features = torch.randn(40, 6, requires_grad=True)
    label = torch.tensor([0] * 12 + [1] * 15 + [2] * 12 + [3])
    prototypes = [torch.zeros(0, 6), torch.randn(5, 6), torch.randn(3, 6), torch.randn(4, 6)]
    selectors = nn.ModuleList(
        nn.Sequential(nn.Linear(6, 1), nn.Sigmoid(), nn.Flatten(0)) for _ in range(8)
    )
    return features, label, prototypes, selectors[:4], selectors[4:]


def everything(count):
    return [Region(torch.ones(count, dtype=torch.bool), 1.0)]


def plain_contrast(features, label, prototypes, scorers, memory_scorers=None):
    """The double loop of the definition."""
    total = 0.0
    for c, memory in enumerate(prototypes):
        own = features[label == c]
        if len(own) < 2 or len(memory) < 2:
            continue
        a = scorers[c](own.detach())
        a = a * len(a) / a.sum()
        b = torch.ones(len(memory))
        if memory_scorers is not None:
            b = memory_scorers[c](F.normalize(memory))
            b = b * len(b) / b.sum()
        pairs = [
            (1 - F.cosine_similarity(f, m, dim=0)) * a[i] * b[k]
            for i, f in enumerate(own)
            for k, m in enumerate(memory)
        ]
        total = total + torch.stack(pairs).mean()
    return total / len(prototypes)


@every_reduction
@pytest.mark.parametrize("by_selector", [False, True])
def test_prototype_loss_is_the_mean_over_pairs(by_selector, reduction):
    features, label, prototypes, scorers, memory_scorers = contrast_case()
    memory_scorers = memory_scorers if by_selector else None
    got = prototype_loss(
        features,
        label,
        prototypes,
        scorers,
        everything(40),
        reduction=reduction,
        prototype_scorers=memory_scorers,
    )
    expected = plain_contrast(features, label, prototypes, scorers, memory_scorers)
    torch.testing.assert_close(got, expected)
    (slope,), (plain_slope,) = (torch.autograd.grad(x, features) for x in (got, expected))
    torch.testing.assert_close(slope, plain_slope, atol=1e-7, rtol=1e-4)


def test_prototype_loss_by_hand():
    """Cosines 1 and 0 against one prototype, 0 and -1 against the other; two of four classes."""
    features = torch.tensor([[2.0, 0.0], [0.0, -3.0]])
    prototypes = [torch.zeros(0, 2), torch.tensor([[5.0, 0.0], [0.0, 1.0]])]
    flat = [lambda v: torch.ones(len(v))] * 2
    label = torch.ones(2, dtype=torch.int64)
    got = prototype_loss(features, label, prototypes, flat, everything(2), reduction="voxel")
    assert got.item() == pytest.approx((0 + 1 + 1 + 2) / 4 / 2)  # background divides as well


def test_prototype_loss_skips_single_features_and_single_prototypes():
    features, label, prototypes, scorers, _ = contrast_case()
    prototypes[1], prototypes[2] = prototypes[1][:1], prototypes[2][:0]  # class 3: one feature
    got = prototype_loss(features, label, prototypes, scorers, everything(40), reduction="voxel")
    assert got == 0


def test_prototype_loss_gradients_reach_features_and_scorers_alone():
    features, label, prototypes, scorers, memory_scorers = contrast_case()
    prototypes = [p.requires_grad_() for p in prototypes]
    prototype_loss(
        features,
        label,
        prototypes,
        scorers,
        everything(40),
        reduction="voxel",
        prototype_scorers=memory_scorers,
    ).backward()
    assert (features.grad[12:39] != 0).any(1).all()
    assert (features.grad[label == 0] == 0).all()
    assert all(p.grad is None for p in prototypes)
    assert (scorers[1][0].weight.grad != 0).any()
    assert (memory_scorers[1][0].weight.grad != 0).any()
    assert scorers[0][0].weight.grad is None


@every_reduction
def test_regions_weigh_features_within_each_class(reduction):
    features, label, prototypes, scorers, _ = contrast_case()
    uncertain = torch.zeros(40, dtype=torch.bool)
    uncertain[[3, 12, 13, 30]] = True
    regions = [Region(uncertain, 0.5), Region(~uncertain, 1.0)]
    got = prototype_loss(features, label, prototypes, scorers, regions, reduction=reduction)
    expected = 0.0
    for c in (1, 2):
        own, marked = features[label == c], uncertain[label == c]
        a = scorers[c](own)
        cosine = F.normalize(own) @ F.normalize(prototypes[c]).T
        values = ((1 - cosine) * (a / a.mean())[:, None]).mean(1)
        expected += (
            values[~marked].mean() + 0.5 * values[marked].mean()
            if reduction == "region"
            else (values * torch.where(marked, 0.5, 1.0)).mean()
        ) / 4
    torch.testing.assert_close(got, expected)


# --- The step -------------------------------------------------------------------------------------


@every_rank
@every_reduction
@pytest.mark.parametrize("memory_weights", ["ones", "selector"])
def test_a_step_with_whole_is_the_published_loss(rank, reduction, memory_weights, semi):
    batch = semi[rank]
    reductions = {"labeled_reduction": reduction, "unlabeled_reduction": reduction}
    method = build(rank, still=True, memory_weights=memory_weights, **reductions)
    loss, logs = step_of(method, batch)
    student, count = method.student, len(batch.label)
    x = images(batch)
    logits, embedding = student.logits_and_embedding(x)
    p0 = logits.softmax(1).detach()

    def distance(p):
        if rank == 3:
            return 1 - (2 * (p * p0).sum() + 1e-8) / (p.sum() + p0.sum() + 1e-8)
        dims = (0, 2, 3)
        above = 2 * (p * p0).sum(dims) + 1e-10
        return (1 - above / ((p * p).sum(dims) + (p0 * p0).sum(dims) + 1e-10)).mean()

    torch.manual_seed(2)
    d = torch.rand(x.shape) - 0.5
    norm = d.flatten(1).norm(dim=1).view(-1, *[1] * (rank + 1))
    d = (d / norm).requires_grad_()
    g = torch.autograd.grad(distance(student(x + 10 * d).softmax(1)), d)[0]
    norm = g.flatten(1).norm(dim=1).view(-1, *[1] * (rank + 1))
    adversarial = distance(student(x + (6 if rank == 2 else 10) * g / norm).softmax(1))
    torch.testing.assert_close(logs["adversarial"], adversarial.detach(), atol=1e-5, rtol=1e-3)

    flat = embedding.movedim(1, -1).flatten(0, -2)  # all voxels
    classes = logits.argmax(1).flatten()
    label = torch.cat([batch.label.flatten(), classes[batch.label.numel() :]])
    features = student.prediction(student.projection(flat))
    labeled, unlabeled = (
        slice(batch.label.numel()),
        slice(batch.label.numel(), None),
    )
    memory = []
    for c in range(p0.shape[1]):
        right = (label == c) & (classes == c) & (c > 0)
        vectors = student.projection(flat[labeled][right[labeled]]).detach()
        score = student.selectors[c](vectors)
        memory.append(vectors[score.argsort()][:32])
    assert any(len(vectors) >= 2 for vectors in memory)
    weights = student.memory_selectors if memory_weights == "selector" else None
    contrastive = 0.0
    for part in (labeled, unlabeled):
        for c, vectors in enumerate(memory):
            own = features[part][label[part] == c]
            if len(own) < 2 or len(vectors) < 2:
                continue
            a = student.selectors[c](own.detach())
            values = 1 - F.normalize(own) @ F.normalize(vectors).T
            values = values * (a / a.mean())[:, None]
            if weights is not None:
                b = weights[c](F.normalize(vectors))
                values = values * (b / b.mean())
            contrastive += values.mean() / p0.shape[1]
    torch.testing.assert_close(logs["contrastive"], contrastive.detach(), atol=1e-5, rtol=1e-4)

    p = p0[:count]
    y = F.one_hot(batch.label, p.shape[1]).movedim(-1, 1).float()
    if rank == 2:
        dims = (0, 2, 3)
        overlap = (2 * (p * y).sum(dims) + 1e-10) / ((p * p).sum(dims) + y.sum(dims) + 1e-10)
        dice = (1 - overlap).mean()
    else:
        p, y = p[:, 1], y[:, 1]
        dice = 1 - (2 * (p * y).sum() + 1e-8) / (p.sum() + y.sum() + 1e-8)
    torch.testing.assert_close(logs["labeled"], dice)
    unlabeled = logs["adversarial"] + 0.1 * logs["contrastive"]
    torch.testing.assert_close(logs["unlabeled"], unlabeled)
    torch.testing.assert_close(loss.detach(), logs["labeled"] + method.weight(LATE) * unlabeled)


@every_rank
@every_reduction
def test_who_learns(rank, reduction, semi):
    reductions = {"labeled_reduction": reduction, "unlabeled_reduction": reduction}
    method = build(rank, labeled_rule=url(80), unlabeled_rule=crl(80), **reductions)
    step_of(method, semi[rank]).loss.backward()
    for name, parameter in method.student.named_parameters():
        if name.startswith(method.untouched):
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    student = method.student
    counts = method.memory.counts.tolist()
    assert counts[0] == 0
    assert max(counts) >= 2
    best = counts.index(max(counts))
    for part in (student.trunk.head, student.projection, student.prediction):
        assert any((p.grad != 0).any() for p in part.parameters())
    assert any((p.grad != 0).any() for p in student.selectors[best].parameters())
    assert all(p.grad is None for p in student.memory_selectors.parameters())
    assert all(p.grad is None for p in student.selectors[0].parameters())


def test_the_adversarial_term_alone_teaches_through_its_last_pass(semi_2d):
    method = build(still=True)
    x = images(semi_2d)
    clean = detached_probs(method.student(x))
    loss = method.adversarial_loss(x, clean, whole()(clean))
    grads = torch.autograd.grad(loss, list(method.student.trunk.parameters()), allow_unused=True)
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)
    assert (grads[0] != 0).any()


def test_statistics_follow_the_two_clean_passes_and_not_the_perturbed_ones(semi_2d):
    method = build()
    step_of(method, semi_2d)
    norms = {
        name: int(module.num_batches_tracked)
        for name, module in method.student.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert set(norms.values()) == {2}
    assert method.student.projection[1].num_batches_tracked == 2  # labeled and unlabeled voxels
    assert all(module.training for module in method.student.modules())


def test_the_memory_holds_projections_of_foreground_voxels_that_are_right(semi_2d):
    method = build(still=True, memory_size=5000)
    step_of(method, semi_2d)
    logits, embedding = method.student.logits_and_embedding(semi_2d.labeled_image)
    right = logits.argmax(1) == semi_2d.label
    for c, vectors in enumerate(method.memory.of_each_class()):
        own = embedding.movedim(1, -1)[right & (semi_2d.label == c)]
        expected = method.student.project(own) if c else own[:0]
        assert len(vectors) == len(expected)
        if c:
            torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)


def test_background_memory_is_a_switch(semi_2d):
    semi_2d = semi_2d._replace(label=torch.zeros_like(semi_2d.label))
    with_background, without = (build(still=True, background_memory=b) for b in (True, False))
    for method in (with_background, without):
        with torch.no_grad():
            method.student.trunk.head.bias[0] += 10  # everything is background, and right
    assert step_of(without, semi_2d).logs["contrastive"] == 0
    assert without.memory.counts.tolist() == [0, 0, 0, 0]
    assert step_of(with_background, semi_2d).logs["contrastive"] > 0
    assert with_background.memory.counts.tolist() == [32, 0, 0, 0]


def test_keep_and_memory_weights_are_switches(semi_2d):
    plain, highest, selector = (
        build(still=True, memory_size=4, **kwargs)
        for kwargs in ({}, {"keep": "highest"}, {"memory_weights": "selector"})
    )
    losses = [step_of(method, semi_2d) for method in (plain, highest, selector)]
    assert len({output.logs["contrastive"].item() for output in losses}) == 3
    losses[2].loss.backward()
    assert any(p.grad is not None for p in selector.student.memory_selectors.parameters())


def test_max_features_bounds_what_the_heads_see(semi_2d):
    method = build(max_features=100)
    seen = []
    method.student.prediction.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    assert torch.isfinite(step_of(method, semi_2d).loss)
    assert [len(x) for x in seen] == [100, 100]
    enough, everything_ = (step_of(build(max_features=n), semi_2d).logs for n in (10_000, None))
    torch.testing.assert_close(
        enough["contrastive"], everything_["contrastive"], rtol=1e-3, atol=1e-4
    )


def test_unlabeled_rule_cuts_the_clean_batch_and_leaves_the_labeled_features(semi_2d):
    method = build(still=True)
    seen = []
    method.unlabeled_rule = lambda probs: (seen.append(probs), whole()(probs))[1]
    step_of(method, semi_2d)
    (probs,) = seen
    torch.testing.assert_close(probs, detached_probs(method.student(images(semi_2d))))
    assert not probs.requires_grad

    step_of(method, semi_2d)
    x, label = images(semi_2d), semi_2d.label
    logits, embedding = method.student.logits_and_embedding(x)
    classes = logits.argmax(1)
    regions = drop(0)(probs)  # nearly every voxel is above the lowest entropy and so dropped
    whole_batch, dropped = (
        method.contrastive_loss(embedding, classes, label, r) for r in (whole()(probs), regions)
    )
    half = [r._replace(mask=r.mask.clone()) for r in regions]
    for region in half:
        region.mask[4:] = region.weight == 1  # drop labeled voxels only: they count all the same
    same = method.contrastive_loss(embedding, classes, label, half)
    torch.testing.assert_close(same, whole_batch)
    assert 0 < dropped < 0.7 * whole_batch


@every_reduction
def test_rules_change_their_own_term(reduction, semi_2d):
    plain = step_of(build(still=True), semi_2d).logs
    left = step_of(
        build(still=True, labeled_rule=url(80), labeled_reduction=reduction), semi_2d
    ).logs
    right = step_of(
        build(still=True, unlabeled_rule=crl(80), unlabeled_reduction=reduction), semi_2d
    ).logs
    assert left["labeled"] != plain["labeled"]
    assert torch.equal(left["unlabeled"], plain["unlabeled"])
    assert torch.equal(right["labeled"], plain["labeled"])
    assert right["adversarial"] != plain["adversarial"]
    assert right["contrastive"] != plain["contrastive"]


def test_a_step_repeats_with_the_seed(semi_2d):
    first, second = (step_of(build(unlabeled_rule=crl(80)), semi_2d).loss for _ in range(2))
    assert torch.equal(first, second)


def test_state_dict_restores_the_memory_and_the_next_step(semi_2d):
    method, other = build(), build()
    step_of(method, semi_2d)
    assert method.memory.counts.sum() > 0
    other.load_state_dict(deepcopy(method.state_dict()))
    assert torch.equal(other.memory.vectors, method.memory.vectors)
    assert torch.equal(other.memory.counts, method.memory.counts)
    nothing_right = semi_2d._replace(
        label=(method.student(semi_2d.labeled_image).argmax(1) + 1) % 4
    )
    for m in (method, other):
        m.load_state_dict(deepcopy(method.state_dict()))
        m.eval()
    first, second = (step_of(m, nothing_right).logs for m in (method, other))
    assert torch.equal(first["contrastive"], second["contrastive"])
    assert torch.equal(first["unlabeled"], second["unlabeled"])
    method.student.load_state_dict(deepcopy(other.student.state_dict()))  # no memory in the student
    assert not [key for key in method.student.state_dict() if key.startswith("memory.")]


@every_rank
def test_under_bf16_autocast_loss_and_gradients_are_finite_float32(rank, semi):
    method = build(rank, labeled_rule=url(80), unlabeled_rule=crl(80), memory_weights="selector")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = step_of(method, semi[rank]).loss
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_without_unlabeled_images(semi_2d):
    with pytest.raises(ValueError, match="SsNet needs unlabeled images"):
        step_of(build(), labeled_only(semi_2d))


class Stop(Exception):
    pass


def test_a_row_trains_on_the_phantom_and_resumes_bit_for_bit(tmp_path):
    row = Experiment(method="ss_net", source="phantom", preset="toy", labeled=3)
    source, config = buarl.open_source("phantom"), config_for(row).shortened(2)
    (plan,) = config.stages
    small = (replace(plan, labeled_batch=2, unlabeled_batch=2),)
    config = replace(config, stages=small, checkpoint_every=1)

    def stop(stage, step, method):
        if step.index == 1:
            raise Stop

    through, stopped, resumed = (build_method(row, 4) for _ in range(3))
    assert (through.dice, through.epsilon, through.pool_classes) == (DICE_BCP_ACDC, 6.0, False)
    result = fit(through, source, config, device="cpu")
    assert {"labeled", "unlabeled", "weight"} <= set(result.history[-1])
    with pytest.raises(Stop):
        fit(stopped, source, config, out=tmp_path, device="cpu", callback=stop)
    fit(resumed, source, config, out=tmp_path, resume=True, device="cpu")
    assert through.memory.counts.sum() > 0
    for key, value in through.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_row_of_la():
    method = build_method(Experiment(method="ss_net", source="la", preset="paper"), 2)
    assert isinstance(method.student.trunk, VNet)
    assert (method.dice, method.epsilon, method.pool_classes) == (DICE_SS_NET_LA, 10.0, True)
    assert (method.consistency_weight, method.max_features) == (1.0, None)
