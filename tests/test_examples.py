"""The files of examples/: the formulas of CPS by hand, who learns from whom, and their command lines."""

from __future__ import annotations

import doctest
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import (
    Cut,
    cut_after,
    labeled_only,
    same_weights,
    tiny_config,
    write_balls,
    write_tiny,
)
from torch import nn

from buarl import (
    Experiment,
    build_method,
    crl,
    fit,
    load_run,
    open_source,
    run_experiment,
    url,
    whole,
)
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.batches import SemiBatch
from buarl.data.source import SOURCES
from buarl.dice import DICE_SSL4MIS, DICE_UA_MT_LA
from buarl.entropy import entropy_of_probs
from buarl.methods.base import Step, fresh_copy
from buarl.networks import UNet, VNet
from buarl.outside import load_code
from buarl.schedules import Poly, StepDecay
from buarl.training.config import config_for

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
PLACE = f"{EXAMPLES}/cross_pseudo_supervision.py:CrossPseudoSupervision"
Cps = load_code(PLACE)
LATE = Step(90, 100)
every_rank = pytest.mark.parametrize("rank", [2, 3])


def build(rank=2, **options):
    torch.manual_seed(0)
    return Cps(UNet(4, width=2) if rank == 2 else VNet(2, width=2), **options)


def take(method, batch, step=LATE):
    """A step, with the same draws every time."""
    torch.manual_seed(2)
    return method.training_step(batch, method.at(step.index, step.steps))


# What CPS computes


class Line(nn.Module):
    """Logits that are a multiple of the image; the dropout that real networks have is missing."""

    def __init__(self, slopes):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor(slopes))

    def reset_parameters(self):
        nn.init.constant_(self.slopes, 0.5)

    def forward(self, image):
        return image * self.slopes.view(1, -1, *[1] * (image.dim() - 2))


def by_hand(method, batch):
    """The labeled and the unlabeled term, from plain formulas in float64."""
    count = len(batch.label)
    logits = [net(batch.image).double() for net in (method.student, method.other_student)]
    labeled, unlabeled = 0.0, 0.0
    for mine, other in (logits, logits[::-1]):
        labeled = labeled + half_dice_half_ce(mine[:count], batch.label)
        pseudo_label = other[count:].argmax(1)
        unlabeled = unlabeled + nn.functional.cross_entropy(mine[count:], pseudo_label)
    return labeled, unlabeled


def half_dice_half_ce(logits, label):
    probs, truth = logits.softmax(1), nn.functional.one_hot(label).movedim(-1, 1)
    axes = [0, *range(2, logits.dim())]
    overlap, total = (probs * truth).sum(axes), (probs**2 + truth).sum(axes)
    dice = 1 - ((2 * overlap + 1e-5) / (total + 1e-5)).mean()
    return (dice + nn.functional.cross_entropy(logits, label)) / 2


@pytest.mark.parametrize("spatial", [(3, 2), (2, 2, 2)])
def test_a_step_is_the_formula_of_the_reference(spatial):
    torch.manual_seed(1)
    method = Cps(Line([1.0, -1.0]))
    method.other_student.slopes.data = torch.tensor([-0.3, 0.4])
    batch = SemiBatch(torch.randn(4, 1, *spatial), (torch.rand(2, *spatial) < 0.5).long())
    output = method.training_step(batch, method.at(50, 100))
    with torch.no_grad():
        labeled, unlabeled = by_hand(method, batch)
    weight = 0.1 * math.exp(-5 * 0.5**2)  # halfway up the ramp
    assert output.logs["labeled"] == pytest.approx(float(labeled), rel=1e-5)
    assert output.logs["unlabeled"] == pytest.approx(float(unlabeled), rel=1e-5)
    assert output.loss.item() == pytest.approx(float(labeled + weight * unlabeled), rel=1e-5)


def test_two_voxels_by_hand():
    """Students of logits (a, -a): cross-entropy with the class that the other one favors."""
    method = Cps(Line([1.0, -1.0]), consistency_weight=1.0, ramp_share=0)
    method.other_student.slopes.data = torch.tensor([-2.0, 2.0])
    image = torch.tensor([0.5, 1.5])[None, None]  # (1, 1, 2): student 1 says class 0, the other 1
    first, second = (net(image) for net in (method.student, method.other_student))
    loss = method.unlabeled_loss(first, second)
    expected = (math.log(1 + math.exp(1)) + math.log(1 + math.exp(3))) / 2  # -log p of class 1
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss = method.unlabeled_loss(second, first)
    expected = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(6))) / 2  # -log p of class 0
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_half_of_the_unlabeled_term_can_be_dice_as_in_eq_8():
    torch.manual_seed(1)
    method = Cps(Line([1.0, -1.0]), unlabeled_ce_share=0.5)
    mine, other = torch.randn(2, 2, 5), torch.randn(2, 2, 5)
    loss = method.unlabeled_loss(mine, other)
    assert loss.item() == pytest.approx(float(half_dice_half_ce(mine, other.argmax(1))), rel=1e-5)


def test_crl_cuts_where_the_student_who_teaches_is_uncertain():
    torch.manual_seed(1)
    method = Cps(Line([1.0, -1.0]), unlabeled_rule=crl(75, alpha=0.0))
    mine, other = torch.randn(1, 2, 8), torch.randn(1, 2, 8)
    least = [entropy_of_probs(logits.softmax(1))[0].argsort()[:6] for logits in (other, mine)]
    per_voxel = nn.functional.cross_entropy(mine, other.argmax(1), reduction="none")[0]
    of_other, of_mine = (per_voxel[certain].sum() / 8 for certain in least)  # 2 of 8 are cut
    loss = method.unlabeled_loss(mine, other)
    assert loss.item() == pytest.approx(float(of_other), rel=1e-5)
    assert loss.item() != pytest.approx(float(of_mine), rel=1e-2)


@every_rank
def test_url_and_crl_act_each_on_its_own_term(rank, semi):
    plain = take(build(rank), semi[rank]).logs
    with_url = take(build(rank, labeled_rule=url(50)), semi[rank]).logs
    with_crl = take(build(rank, unlabeled_rule=crl(50)), semi[rank]).logs
    assert with_url["labeled"] != plain["labeled"]
    assert with_url["unlabeled"] == plain["unlabeled"]
    assert with_crl["labeled"] == plain["labeled"]
    assert with_crl["unlabeled"] != plain["unlabeled"]


# Who learns, and from whom


@every_rank
def test_no_gradient_flows_through_a_pseudo_label(rank, semi):
    method = build(rank)
    first, second = (net(semi[rank].image) for net in (method.student, method.other_student))
    method.unlabeled_loss(first, second).backward()
    assert any((p.grad != 0).any() for p in method.student.parameters() if p.grad is not None)
    assert all(p.grad is None for p in method.other_student.parameters())


@every_rank
def test_a_step_reaches_both_students_and_each_optimizer_step_moves_both(rank, semi):
    method = build(rank, labeled_rule=url(80), unlabeled_rule=crl(80))
    before = deepcopy(method.state_dict())
    (learner,) = method.stages()[0].learners
    optimizer = learner.optimizer.build(learner.module)
    take(method, semi[rank]).loss.backward()
    for name, parameter in method.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
    optimizer.step()
    for name in ("student", "other_student"):
        moved = [
            not torch.equal(parameter, before[f"{name}.{key}"])
            for key, parameter in getattr(method, name).named_parameters()
        ]
        assert sum(moved) > 0.8 * len(moved)


@every_rank
def test_the_students_differ_from_the_first_step_and_the_seed_decides_how(rank):
    source = "acdc" if rank == 2 else "la"
    row = Experiment(method=Cps, source=source, preset="toy", set={"width": 2})
    method, again, other = (
        build_method(replace(row, seed=seed), 2, [Cps]) for seed in (1337, 1337, 1)
    )
    assert not same_weights(method.student, method.other_student)
    assert same_weights(method, again)
    assert not same_weights(method.other_student, other.other_student)
    plain = build_method(replace(row, method="mean_teacher"), 2)
    assert same_weights(method.student, plain.student)  # the same start as every other method


def test_the_state_dict_holds_both_and_no_weight_twice():
    method = build()
    one = list(UNet(4, width=2).state_dict())
    wanted = [f"{student}.{key}" for student in ("student", "other_student") for key in one]
    assert list(method.state_dict()) == wanted
    fresh = build()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(1)
    fresh.load_state_dict(method.state_dict())
    assert same_weights(fresh, method)


def test_without_unlabeled_images_the_way_out_is_named(semi_2d):
    with pytest.raises(ValueError, match="needs unlabeled images, got 0: use `supervised`"):
        take(build(), labeled_only(semi_2d))


def test_its_option_is_checked_as_those_of_the_package():
    with pytest.raises(ValueError, match=r"unlabeled_ce_share must be a number from 0 to 1, got 2"):
        build(unlabeled_ce_share=2)
    assert build().labeled_rule == whole()


def test_the_numbers_of_the_published_schedules():
    two, three = (
        config_for(Experiment(method=Cps, source=source, preset="paper"), [Cps])
        for source in ("acdc", "la")
    )
    (plan,) = two.stages
    assert (plan.steps, plan.labeled_batch, plan.unlabeled_batch) == (30_000, 12, 12)
    assert plan.schedule == Poly()
    method = build(**two.settings)
    assert (method.consistency_weight, method.ramp_levels, method.consistency_start) == (
        0.1,
        200,
        0,
    )
    assert method.dice == DICE_SSL4MIS
    assert method.optimizer.lr == 0.01
    (plan,) = three.stages
    assert (plan.steps, plan.labeled_batch, plan.unlabeled_batch) == (6_000, 2, 2)
    assert isinstance(plan.schedule, StepDecay)
    assert build(3, **three.settings).dice == DICE_UA_MT_LA
    assert build(3, **three.settings).ramp_levels == 40


@every_rank
def test_bf16_networks_give_fp32_losses(rank, semi):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = take(build(rank, labeled_rule=url(80), unlabeled_rule=crl(80)), semi[rank]).loss
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_its_steps_can_be_recorded(tmp_path, repeated, monkeypatch):
    """It draws nothing that a recording would freeze, so both ways give the same weights."""
    source, config = Acdc(write_tiny(tmp_path)), tiny_config("mean_teacher").shortened(6)
    rules = {"labeled_rule": url(80), "unlabeled_rule": crl(80)}
    plain, recorded = (build(**rules, ramp_levels=2) for _ in range(2))
    fit(recorded, source, config, record=True)
    assert repeated.recordings == 2  # one a level of the ramp
    monkeypatch.setattr(repeated, "__call__", lambda self, compute, batch, key: compute(batch))
    fit(plain, source, config, record=True)  # as written, with the same kernel of the optimizer
    assert same_weights(plain, recorded)


# A second network


@pytest.mark.parametrize("make", [lambda: UNet(4, 2), lambda: VNet(2, 2)])
def test_a_fresh_copy_draws_every_convolution_anew_and_leaves_the_network_alone(make):
    network = make()
    with torch.no_grad():
        for buffer in network.buffers():
            buffer.add_(1)  # as after some training
    before = deepcopy(network.state_dict())
    copy = fresh_copy(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert type(copy) is type(network)
    fresh = make().state_dict()
    for key, value in copy.state_dict().items():
        assert value.data_ptr() != before[key].data_ptr()
        if value.dim() > 1:
            assert not (value == before[key]).any(), key
        elif key not in dict(network.named_parameters()):
            assert torch.equal(value, fresh[key]), key  # statistics begin again
    assert [p.requires_grad for p in copy.parameters()] == [True] * len(list(copy.parameters()))


def test_a_network_says_itself_how_it_begins_again():
    class Mine(nn.Sequential):
        def reset_parameters(self):
            nn.init.zeros_(self[0].bias)

    copy = fresh_copy(Mine(nn.Linear(3, 3)))
    assert (copy[0].bias == 0).all()


def test_a_network_that_cannot_begin_again_is_refused():
    class Stuck(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    with pytest.raises(ValueError, match=r"reset_parameters\(\) .* got Stuck without one"):
        fresh_copy(Stuck())


# As a user types it


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder outside the repository with a copy of examples/."""
    monkeypatch.setattr("buarl.data.source.SOURCES", dict(SOURCES))  # my_data registers itself
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(command):
    """Run what a person types, in a process of its own, in the working folder."""
    words = shlex.split(command)
    assert words.pop(0) == "buarl"
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "buarl", *words], env=environment, capture_output=True, text=True
    )


def commands(path):
    """The commands in the docstring at the head of a file."""
    text = re.sub(r"\\\\\n\s*", "", path.read_text().split('"""')[1])
    return re.findall(r"^    (buarl .*)$", text, re.M)


SMALL = "--set steps=2 width=2 labeled_batch=2 image_size=32,32"


def test_every_example_names_a_command_that_trains_and_one_that_evaluates():
    assert [path.stem for path in FILES] == [
        *("cross_pseudo_supervision", "my_data", "my_network", "soft_rule")
    ]
    for path in FILES:
        first, second = commands(path)
        assert first.startswith("buarl train ")
        assert second.startswith("buarl evaluate runs/")
        assert f"examples/{path.name}:" in first
        assert f"--code examples/{path.name}:" in second


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_commands_of_an_example_work_as_printed(path, folder, capsys):
    train, evaluate = commands(path)
    small = SMALL
    if path.stem == "my_data":
        write_balls(folder / "FOLDER")
        small = "--set steps=2 width=2 image_size=32,32,16"
    assert main(shlex.split(f"{train} {small}")[1:]) == 0
    assert main(shlex.split(evaluate)[1:]) == 0
    assert "Dice" in capsys.readouterr().out


def test_a_process_trains_cps_from_a_folder_outside_the_repository(folder):
    train, evaluate = commands(EXAMPLES / "cross_pseudo_supervision.py")
    done = typed(f"{train} {SMALL}")
    assert done.returncode == 0, done.stderr
    assert "evaluate runs/cps --split val --code " + evaluate.partition("--code ")[2] in done.stdout


@pytest.mark.parametrize(
    "data", ["--set image_size=32,32", "--source phantom_la --labeled 4 --set image_size=32,32,16"]
)
def test_cps_goes_on_bit_for_bit_after_an_interruption(data, folder, capsys):
    train, evaluate = commands(EXAMPLES / "cross_pseudo_supervision.py")
    code = evaluate.partition("--code ")[2]
    numbers = "--set steps=5 width=2 labeled_batch=2 checkpoint_every=2"
    assert main(shlex.split(f"{train} {data} {numbers}")[1:]) == 0
    row, source, method = load_run(Path("runs/cps"), code=[code])
    assert (row.labeled_rule, row.unlabeled_rule) == (url(), crl())
    with pytest.raises(Cut):
        run_experiment(row, source, Path("cut"), callback=cut_after("train", 3), code=[code])
    assert main(["train", "--resume", "cut"]) == 2
    assert "--code FOLDER/cross_pseudo_supervision.py:CrossPseudo" in capsys.readouterr().err
    assert main(["train", "--resume", "cut", "--code", code]) == 0
    assert same_weights(load_run(Path("cut"), code=[code])[2], method)


@pytest.mark.parametrize("source", ["phantom", "phantom_la"])
def test_cps_takes_a_network_of_your_own(source, folder):
    network = load_code("examples/my_network.py:MyNetwork")
    size = [32, 32] if source == "phantom" else [32, 32, 16]
    row = Experiment(
        method=Cps, network=network, source=source, labeled=4,
        set={"steps": 2, "labeled_batch": 2, "image_size": size},
    )  # fmt: skip
    run_experiment(row, open_source(source), folder / "run", code=[Cps, network])
    method = load_run(folder / "run", code=[Cps, network])[2]
    assert type(method.other_student) is network
    assert not same_weights(method.student, method.other_student)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_examples_in_docstrings_hold(path, monkeypatch):
    monkeypatch.setattr("buarl.data.source.SOURCES", dict(SOURCES))
    names = re.findall(r"^class (\w+)", path.read_text(), re.M)
    module = sys.modules[load_code(f"{path}:{names[0]}").__module__]
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testmod(module, optionflags=flags)
    assert failed == 0
    assert tried > 0 or path.stem == "my_data"
