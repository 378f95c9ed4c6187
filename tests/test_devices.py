"""Two processes with a part of the batch each do what one process does with the whole batch."""

from __future__ import annotations

import pytest
import torch
from conftest import make_semi_batch
from processes import together
from torch import nn

from buarl.data.batches import SemiBatch
from buarl.methods import METHODS
from buarl.networks import UNet, VNet
from buarl.regions import crl, url
from buarl.training.engine import choose_engine
from buarl.training.group import ALONE
from buarl.training.loop import _learn
from buarl.whole_batch import WholeBatch, batch_in_parts

OPTIONS = {
    "mean_teacher": {"unsupervised": "pseudo_label", "noise": 0.0},
    "ua_mt": {"noise": 0.0},
    "urpc": {"perturb": False},
    "unimatch": {"strong_views": None, "box_probability": 0.0, "feature_dropout": 0.0}
    | {"threshold": 0.3},
}
SHARED = [name for name, kind in METHODS.items() if not kind.one_device_only]
CASES = [
    (name, rank, reduction)
    for name in SHARED
    for rank in (2, 3)
    for reduction in (("region", "voxel") if name in ("mean_teacher", "bcp") else ("voxel",))
]


def build(name, rank, reduction="voxel"):
    """A method in float64 with URL and CRL, whose steps draw nothing but boxes."""
    torch.manual_seed(0)
    network = UNet(4, 2) if rank == 2 else VNet(2, 2)
    rules = {"labeled_rule": url(80), "labeled_reduction": reduction}
    if name != "supervised":
        rules |= {"unlabeled_rule": crl(70), "unlabeled_reduction": reduction}
    if name == "bcp":
        rules["url_in_stage2"] = True
    method = METHODS[name](network, **rules, **OPTIONS.get(name, {})).double().train()
    for module in method.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
            module.p = 0.0
    return method


def whole_batch(rank):
    batch = make_semi_batch(4, *((4, (16, 16)) if rank == 2 else (2, (32, 16, 16))))
    return SemiBatch(batch.image.double(), batch.label)


def part_of(batch, group):
    """Every so-manyth labeled and unlabeled image, as `Batches` cuts it."""
    mine = slice(group.number, None, group.parts)
    return SemiBatch.from_parts(
        batch.labeled_image[mine], batch.label[mine], batch.unlabeled_image[mine]
    )


def take(group, method, batch, stage=-1):
    """One step of a stage: logs, gradients, and every weight and statistic afterwards."""
    plan = method.stages()[stage]
    if plan.start is not None:
        plan.start()
    torch.manual_seed(5 + group.number)
    engine = choose_engine("cpu", "fp32")
    with group.joined(method):
        shared = group.wrapped(plan)
        optimizers = {each.name: each.optimizer.build(each.module) for each in plan.learners}
        with group.step():
            step = method.at(40, 100)
            logs = _learn(shared, step, part_of(batch, group), optimizers, engine)
        group.check_alike(method)
    gradients = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    return {
        "logs": group.mean({name: float(value) for name, value in logs.items()}),
        "gradients": gradients,
        "state": method.state_dict(),
    }


class Apart(WholeBatch):
    """A part that takes itself for the whole batch."""


def apart(group):
    """A step in which only the gradients are averaged: what wrapping a student does by itself."""
    method, group.step = build("mean_teacher", 2), lambda: batch_in_parts(Apart())
    with pytest.raises(ValueError, match="hold different weights"):  # running statistics
        take(group, method, whole_batch(2))
    del group.step
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def all_steps(group):
    found = {"apart": apart(group)} if group.parts > 1 else {}
    found |= {case: take(group, build(*case), whole_batch(case[1])) for case in CASES}
    for rank in (2, 3):
        found["pretrain", rank] = take(group, build("bcp", rank), whole_batch(rank), stage=0)
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """All steps in one process, and in each of two."""
    folder = tmp_path_factory.mktemp("steps")
    with torch.random.fork_rng():
        alone = all_steps(ALONE)
    return alone, together(all_steps, folder)


@pytest.mark.parametrize("case", [*CASES, ("pretrain", 2), ("pretrain", 3)], ids=str)
def test_two_processes_take_the_step_of_one(steps, case):
    """Losses, gradients, student, teacher and statistics, in float64 within 1e-9."""
    alone, both = steps
    expected = alone[case]
    assert expected["gradients"]
    for found in both:
        for what, values in expected.items():
            assert values.keys() == found[case][what].keys()
            for name, value in values.items():
                ours, theirs = torch.as_tensor(found[case][what][name]), torch.as_tensor(value)
                assert (ours - theirs).abs().max() < 1e-9, (what, name)


def test_averaged_gradients_alone_are_not_those_of_the_whole_batch(steps):
    """So the test above sees what it is meant to see."""
    alone, both = steps
    expected, found = alone["mean_teacher", 2, "voxel"]["gradients"], both[0]["apart"]
    assert max((found[name] - value).abs().max() for name, value in expected.items()) > 1e-4


@pytest.mark.parametrize("case", [*CASES, ("pretrain", 2), ("pretrain", 3)], ids=str)
def test_both_processes_hold_the_same_bits(steps, case):
    first, second = (found[case]["state"] for found in steps[1])
    assert all(torch.equal(first[name], second[name]) for name in first)
