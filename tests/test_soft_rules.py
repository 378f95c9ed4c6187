"""Every method trains under rules that give maps of weights, and under rules from outside."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tiny import same_weights, tiny_config, tiny_method, write_tiny

from buarl.data.acdc import Acdc
from buarl.methods import METHODS
from buarl.regions import Region, Rule, confidence, crl, soft_certainty, url, whole
from buarl.training.loop import fit


@dataclass(frozen=True)
class AsMaps(Rule):
    """Another rule, its numbers written as maps."""

    rule: Rule

    def cut(self, probs):
        return [
            Region(mask, torch.full_like(probs[:, 0], weight)) for mask, weight in self.rule(probs)
        ]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


def after_two_steps(name, source, labeled_rule, unlabeled_rule, reduction):
    options = {"labeled_rule": labeled_rule, "labeled_reduction": reduction}
    if name != "supervised":
        options |= {"unlabeled_rule": unlabeled_rule, "unlabeled_reduction": reduction}
    method = tiny_method(name, **options)
    fit(method, source, tiny_config(name).shortened(2))
    return method


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_constant_maps_train_the_network_of_the_numbers(name, reduction, source):
    """Bit for bit: a method never asks whether a weight is a number or a map."""
    rules = url(80, 0.3), crl(80, 0.3)
    numbers = after_two_steps(name, source, *rules, reduction)
    maps = after_two_steps(name, source, *map(AsMaps, rules), reduction)
    assert same_weights(numbers, maps)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("reduction", ["region", "voxel"])
def test_soft_rules_train_another_network(name, reduction, source):
    plain = after_two_steps(name, source, whole(), whole(), reduction)
    soft = after_two_steps(name, source, soft_certainty(), confidence(0.3), reduction)
    assert all(torch.isfinite(parameter).all() for parameter in soft.parameters())
    assert not same_weights(plain, soft)
