"""What holds for every method of the package, with every pair of rules, in 2-D and 3-D."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny import labeled_only, same_weights, tiny_config, write_tiny

from buarl.data.acdc import Acdc
from buarl.methods import METHODS
from buarl.methods.base import Step
from buarl.networks import UNet, VNet
from buarl.regions import crl, drop, url, whole
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

LATE = Step(90, 100)
RULES = {
    "whole": (whole(), whole()),
    "url+crl": (url(80), crl(80)),
    "url+drop": (url(80), drop(80)),
    "crl+url": (crl(80), url(80)),
}
UNLABELED = [name for name in METHODS if name != "supervised"]
PARAMETERS = {  # docs/protocol.md 3.5: student at width 16; URPC without the head nobody uses, in 3-D own
    "supervised": (1_813_764, 9_448_866),
    "mean_teacher": (1_813_764, 9_448_866),
    "ua_mt": (1_813_764, 9_448_866),
    "sassnet": (1_814_344, 9_448_866),
    "dtc": (1_814_344, 9_448_866),
    "mc_net": (2_577_624, 12_347_716),
    "urpc": (1_831_060 - 9_220, 9_448_866 + 454),
    "ss_net": (1_826_828, 9_457_318),
    "bcp": (1_813_764, 9_448_866),
    "unimatch": (1_813_764, 9_448_866),
}
every_method = pytest.mark.parametrize("name", METHODS)
every_unlabeled = pytest.mark.parametrize("name", UNLABELED)
every_rank = pytest.mark.parametrize("rank", [2, 3])
every_reduction = pytest.mark.parametrize("reduction", ["region", "voxel"])


def build(name, rank=2, rules="whole", reduction="voxel", **options):
    """A method around a small network of the paper, sure enough of itself for UA-MT's mask."""
    torch.manual_seed(0)
    network = UNet(4, width=2) if rank == 2 else VNet(2, width=2)
    settings = METHODS[name].recipe(rank).settings
    labeled_rule, unlabeled_rule = RULES[rules]
    if name == "bcp":
        options = {"url_in_stage2": True, **options}
    shared = {
        "labeled_rule": labeled_rule,
        "unlabeled_rule": unlabeled_rule,
        "labeled_reduction": reduction,
        "unlabeled_reduction": reduction,
    }
    used = {key: value for key, value in shared.items() if key not in METHODS[name].unused}
    method = METHODS[name](network, **used, **{**settings, **options})
    with torch.no_grad():
        for key, parameter in method.student.named_parameters():
            if key.endswith("head.weight"):
                parameter.mul_(8)
    if hasattr(method, "teacher"):
        method.teacher.load_state_dict(method.student.state_dict())
        with torch.no_grad():
            for parameter in method.teacher.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return method


def take(method, batch, learner=0, step=LATE):
    """The last stage's step of one learner, with the same draws every time."""
    torch.manual_seed(2)
    step = method.at(step.index, step.steps)
    return method.stages()[-1].learners[learner].training_step(batch, step)


def student_gradients(method, loss):
    parameters = dict(method.student.named_parameters())
    grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return dict(zip(parameters, grads, strict=True))


def test_methods_are_listed_by_the_year_of_their_paper_and_then_by_name():
    assert list(METHODS) == list(PARAMETERS)
    places = [(kind.paper.year, name) for name, kind in METHODS.items()]
    assert places == sorted(places)
    assert all(kind.name == name for name, kind in METHODS.items())


@every_method
@every_rank
@every_reduction
@pytest.mark.parametrize("rules", RULES)
def test_a_step_is_finite_and_reaches_the_whole_student(name, rank, rules, reduction, semi):
    method = build(name, rank, rules, reduction)
    before = deepcopy(method.state_dict())
    loss, logs = take(method, semi[rank])
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert {"labeled"} <= set(logs)
    assert name == "supervised" or "unlabeled" in logs
    assert not any(getattr(value, "requires_grad", False) for value in logs.values())
    loss.backward()
    reached = 0
    for key, parameter in method.student.named_parameters():
        if parameter.grad is None:
            assert key.startswith(method.untouched), key
        else:
            assert torch.isfinite(parameter.grad).all(), key
            reached += bool((parameter.grad != 0).any())
    assert reached >= len(list(method.student.parameters())) // 2
    students = {id(parameter) for parameter in method.student.parameters()}
    for key, parameter in method.named_parameters():
        assert torch.equal(parameter, before[key]), f"{key} moved without an optimizer"
        if id(parameter) not in students:
            assert parameter.grad is None, f"{key} is not the student's"


@every_unlabeled
@every_rank
@pytest.mark.parametrize("rules", ["whole", "url+crl"])
def test_the_unlabeled_term_alone_moves_the_student(name, rank, rules, semi):
    method = build(name, rank, rules)
    weight = "unlabeled_weight" if name in ("bcp", "unimatch") else "consistency_weight"
    grads = []
    for value in (1.0, 0.0):
        setattr(method, weight, value)
        grads.append(student_gradients(method, take(method, semi[rank]).loss))
    reachable = [key for key in grads[0] if not key.startswith(method.untouched)]
    moved = [key for key in reachable if not torch.equal(grads[0][key], grads[1][key])]
    assert len(moved) > 0.8 * len(reachable), moved


@every_unlabeled
@every_rank
@pytest.mark.parametrize("part", ["labeled", "unlabeled"])
def test_each_rule_acts_on_its_own_term(name, rank, part, semi):
    """With another rule for one term only that term's pull on the student changes."""
    other = "unlabeled" if part == "labeled" else "labeled"
    plain, changed = build(name, rank), build(name, rank)
    for module in [*plain.modules(), *changed.modules()]:
        if isinstance(module, torch.nn.Dropout3d):
            module.p = 0.0  # it silences both channels of so thin a V-Net: most entropies tie
    rule = "stage2_labeled_rule" if (name, part) == ("bcp", "labeled") else f"{part}_rule"
    setattr(changed, rule, url(40))
    first, second = (take(method, semi[rank]) for method in (plain, changed))
    assert torch.equal(first.logs[other], second.logs[other])
    ours, theirs = student_gradients(plain, first.loss), student_gradients(changed, second.loss)
    assert any(a is not None and not torch.equal(a, theirs[key]) for key, a in ours.items())


@every_method
@every_rank
def test_with_whole_both_reductions_are_one(name, rank, semi):
    """`whole` is the plain method, whatever the normalizer; its formula is tested per method."""
    region, voxel = (take(build(name, rank, "whole", r), semi[rank]) for r in ("region", "voxel"))
    torch.testing.assert_close(region.loss, voxel.loss, atol=1e-6, rtol=1e-5)


@every_method
def test_a_run_repeats_bit_for_bit(name, tmp_path):
    source = Acdc(write_tiny(tmp_path))
    runs = []
    for _ in range(2):
        method = build(name, 2, "url+crl")
        fit(method, source, tiny_config(name).shortened(3))
        runs.append(method)
    fresh = build(name, 2, "url+crl")
    assert same_weights(*runs)
    assert not same_weights(runs[0], fresh)
    fresh.load_state_dict(runs[0].state_dict())
    assert same_weights(runs[0], fresh)


@every_method
def test_a_stopped_run_goes_on_bit_for_bit(name, tmp_path):
    """State that a method keeps beside its networks (memories, a second optimizer) is saved too."""

    class Stop(Exception):
        pass

    def stop(stage, step, method):
        if step.index == 3:
            raise Stop

    source = Acdc(write_tiny(tmp_path / "data"))
    config = tiny_config(name, checkpoint_every=2).shortened(5)
    whole_run, stopped, resumed = (build(name, 2, "url+crl") for _ in range(3))
    fit(whole_run, source, config)
    with pytest.raises(Stop):
        fit(stopped, source, config, out=tmp_path, callback=stop)
    fit(resumed, source, config, out=tmp_path, resume=True)
    assert same_weights(whole_run, resumed)


@every_method
@every_rank
def test_parameter_counts_and_what_is_evaluated(name, rank):
    row = Experiment(method=name, source="acdc" if rank == 2 else "la", preset="paper")
    method = build_method(row, 4 if rank == 2 else 2)
    count = sum(parameter.numel() for parameter in method.student.parameters())
    assert count == PARAMETERS[name][rank - 2]
    assert len(method.stages()) == len(config_for(row).stages)
    image = torch.zeros(1, 1, *(32,) * rank)
    with torch.no_grad():
        logits = method.student.eval()(image)
    assert logits.shape == (1, 4 if rank == 2 else 2, *(32,) * rank)


@every_unlabeled
def test_without_unlabeled_images_the_way_out_is_named(name, semi_2d):
    batch = labeled_only(semi_2d)
    with pytest.raises(ValueError, match=r"use `supervised`|in pairs, got \(4, 0\)"):
        take(build(name), batch)


@every_method
@every_rank
def test_bf16_networks_give_fp32_losses(name, rank, semi):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = take(build(name, rank, "url+crl"), semi[rank]).loss
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    loss.backward()
