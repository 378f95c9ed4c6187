"""Rules cut a batch into regions that cover every voxel once, with the weights of the paper."""

from __future__ import annotations

import importlib
import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tiny import one_of_each

from buarl.regions import (
    Region,
    Rule,
    confidence,
    crl,
    drop,
    rule_from_dict,
    soft_certainty,
    url,
    whole,
    within,
)


def random_probs(seed=0, shape=(2, 4, 10, 12), scale=3.0):
    """Few ties: random logits."""
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale
    return logits.softmax(1)


def probs_of_uncertainty(uncertainty):
    """Two-class probabilities whose entropy rises with `uncertainty`, 0 to 1; (B, *spatial)."""
    minor = uncertainty / 2
    return torch.stack([1 - minor, minor], 1)


@given(st.integers(0, 99), st.floats(1, 100) | st.just(0), st.sampled_from(["batch", "image"]))
def test_regions_partition_the_voxels(seed, percentile, scope):
    uncertain, certain = url(percentile, scope=scope)(random_probs(seed))
    assert uncertain.mask.dtype == torch.bool
    assert uncertain.mask.shape == (2, 10, 12)
    assert torch.equal(uncertain.mask, ~certain.mask)


@given(st.integers(0, 99), st.integers(0, 100))
def test_share_of_uncertain_voxels_is_what_the_percentile_leaves(seed, percentile):
    probs = random_probs(seed).double()
    for scope, voxels in (("batch", 240), ("image", 120)):
        uncertain, _ = crl(percentile, scope=scope)(probs)
        for mask in [uncertain.mask] if scope == "batch" else uncertain.mask:
            assert abs(mask.sum().item() - (1 - percentile / 100) * voxels) <= 1


def test_the_uncertain_region_holds_the_highest_entropies():
    rank = torch.randperm(100, generator=torch.Generator().manual_seed(0)).view(1, 10, 10)
    uncertain, _ = url(95)(probs_of_uncertainty(rank / 99))
    assert torch.equal(uncertain.mask, rank >= 95)


@pytest.mark.parametrize(
    ("rule", "percentile", "uncertain_weight", "certain_weight"),
    [
        (url(), 95, 1.0, 0.5),  # Eq. 5 and 7
        (crl(), 99, 0.5, 1.0),  # Eq. 6 and 8
        (drop(), 99, 0.0, 1.0),  # Table 6, "remove"
        (url(97, alpha=0.25), 97, 1.0, 0.25),
        (crl(95, alpha=0.1), 95, 0.1, 1.0),
        (drop(90), 90, 0.0, 1.0),
    ],
)
def test_weights_are_the_papers(rule, percentile, uncertain_weight, certain_weight):
    uncertain, certain = rule(random_probs())
    assert (uncertain.weight, certain.weight) == (uncertain_weight, certain_weight)
    assert rule.percentile == percentile
    expected = 239 - math.floor(percentile / 100 * 239)
    assert uncertain.mask.sum() == expected


def test_whole_is_one_region_with_everything():
    (region,) = whole()(random_probs())
    assert region.mask.all()
    assert region.mask.dtype == torch.bool
    assert region.mask.shape == (2, 10, 12)
    assert region.weight == 1


def test_drop_is_crl_with_alpha_zero():
    for dropped, weighted in zip(
        drop(95)(random_probs()), crl(95, 0.0)(random_probs()), strict=True
    ):
        assert torch.equal(dropped.mask, weighted.mask)
        assert dropped.weight == weighted.weight


def test_constant_entropy_leaves_the_uncertain_region_empty():
    uncertain, certain = url()(torch.full((2, 4, 5, 5), 0.25))
    assert not uncertain.mask.any()
    assert certain.mask.all()


def test_scope_decides_whether_a_hard_image_takes_every_uncertain_voxel():
    easy, hard = torch.linspace(0, 0.3, 100), torch.linspace(0.6, 0.9, 100)
    probs = probs_of_uncertainty(torch.stack([easy, hard]).view(2, 10, 10))
    batch, image = (url(90, scope=scope)(probs)[0].mask.sum((1, 2)) for scope in ("batch", "image"))
    assert batch.tolist() == [0, 20]
    assert image.tolist() == [10, 10]
    alone = torch.cat([url(90)(probs[i : i + 1])[0].mask for i in (0, 1)])
    assert torch.equal(url(90, scope="image")(probs)[0].mask, alone)


def test_no_gradient_through_a_rule():
    logits = torch.randn(2, 4, 6, 6, requires_grad=True)
    for rule in one_of_each():
        assert not any(region.mask.requires_grad for region in rule(logits.softmax(1)))
    assert logits.grad is None


def test_logits_are_refused():
    logits = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0)) * 3
    for rule in one_of_each():
        with pytest.raises(ValueError, match=r"probabilities that sum to 1 .* got sums from -"):
            rule(logits)
        with pytest.raises(ValueError, match="probabilities that sum to 1"):
            rule(logits.log_softmax(1))


def test_signed_values_that_sum_to_one_are_refused():
    with pytest.raises(ValueError, match="probabilities"):
        whole()(torch.tensor([1.5, -0.5]).view(1, 2, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_probabilities_of_any_precision_are_accepted(dtype):
    uncertain, certain = url()(random_probs().to(dtype))
    assert torch.equal(uncertain.mask, ~certain.mask)


def test_within_keeps_weights_and_cuts_masks():
    place = torch.zeros(10, 12, dtype=torch.bool)
    place[2:5, 3:9] = True
    regions = url(50)(random_probs())
    inside, outside = within(regions, place), within(regions, ~place)
    for region, a, b in zip(regions, inside, outside, strict=True):
        assert a.weight == b.weight == region.weight
        assert not a.mask[:, ~place].any()
        assert not b.mask[:, place].any()
        assert torch.equal(a.mask | b.mask, region.mask)
    assert torch.equal(sum(region.mask.int() for region in inside), place.expand(2, 10, 12).int())


# --- Soft rules -----------------------------------------------------------------------------------


def test_soft_certainty_weighs_every_voxel_by_exp_of_minus_its_entropy():
    probs = random_probs()
    (region,) = soft_certainty()(probs)
    entropy = -(probs.double() * probs.double().log()).sum(1)
    torch.testing.assert_close(region.weight, (-entropy).exp().float())
    assert region.mask.all()
    undecided, sure = torch.full((1, 4, 3), 0.25), torch.eye(4)[:3].T[None]
    assert soft_certainty()(undecided)[0].weight.tolist() == [[0.25] * 3]  # 1 / C
    assert soft_certainty()(sure)[0].weight.tolist() == [[1.0] * 3]


def test_confidence_keeps_the_voxels_that_reach_its_threshold():
    probs = probs_of_uncertainty(torch.tensor([[0.0, 0.2, 0.4, 0.8]]))  # largest 1, .9, .8, .6
    unsure, sure = confidence(0.8)(probs)
    assert sure.mask.tolist() == [[True, True, True, False]]
    assert torch.equal(unsure.mask, ~sure.mask)
    assert (unsure.weight, sure.weight) == (0.0, 1.0)
    assert confidence(0.0)(probs)[1].mask.all()
    assert confidence().threshold == 0.95


def test_within_keeps_a_map_of_weights():
    place = torch.zeros(10, 12, dtype=torch.bool)
    place[2:5] = True
    (region,) = soft_certainty()(random_probs())
    (inside,) = within([region], place)
    assert inside.weight is region.weight
    assert torch.equal(inside.mask, place.expand(2, 10, 12))


def test_a_place_that_does_not_fit_is_named():
    regions = whole()(random_probs())
    with pytest.raises(
        TypeError, match=r"place must hold True and False, torch.bool, got .*float32"
    ):
        within(regions, torch.ones(10, 12))
    with pytest.raises(ValueError, match=r"mask inside place must have shape \(2, 10, 12\)"):
        within(regions, torch.ones(5, 2, 10, 12, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"place must be a torch tensor, got numpy.ndarray"):
        within(regions, np.ones((10, 12), bool))


@pytest.mark.parametrize("rule", one_of_each(), ids=str)
@pytest.mark.parametrize("wrong", [np.full((1, 2, 3), 0.5), [[0.5]], None], ids=type)
def test_a_rule_takes_tensors_only(rule, wrong):
    with pytest.raises(TypeError, match=r"probs must be a torch tensor, got (numpy|list|NoneType)"):
        rule(wrong)


def test_complex_and_integer_probabilities_are_refused():
    for dtype in (torch.complex64, torch.int64):
        with pytest.raises(TypeError, match=f"probs must hold real numbers .* got {dtype}"):
            url()(torch.ones(1, 1, 4, dtype=dtype))


# --- Rules as data --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doubtful(Rule):
    """A rule from outside the package: fields and `cut`."""

    limit: float = 0.9
    weight: float = 2.0

    def cut(self, probs):
        doubtful = probs.amax(1) < self.limit
        return [Region(doubtful, self.weight), Region(~doubtful, 1.0)]


EVERY_RULE = one_of_each() + [
    *(make(97, scope="image") for make in (url, crl, drop)),
    *(url(80, 0.25), crl(95, 0.0), confidence(0.7), Doubtful(), Doubtful(0.7, weight=3.0)),
]


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
def test_a_rule_is_plain_data_and_comes_back_from_json(rule):
    data = json.loads(json.dumps(rule.as_dict()))
    back = rule_from_dict(data, code=[Doubtful])
    assert back == rule
    assert type(back) is type(rule)
    assert len({rule, back}) == 1
    assert back.as_dict() == data
    assert data["name"] == rule.name


def test_percentile_rules_are_written_as_committed_results_have_them():
    assert list(crl(95, 0.25, "image").as_dict().items()) == [
        ("name", "crl"),
        ("percentile", 95),
        ("uncertain_weight", 0.25),
        ("certain_weight", 1.0),
        ("scope", "image"),
    ]
    assert whole().as_dict()["percentile"] is None
    assert confidence(0.8).as_dict() == {"name": "confidence", "threshold": 0.8}
    assert soft_certainty().as_dict() == {"name": "soft_certainty"}


def test_a_rule_from_outside_goes_by_its_file_or_its_module():
    assert Doubtful().as_dict() == {
        "name": "test_regions.py:Doubtful",
        "limit": 0.9,
        "weight": 2.0,
    }
    for name in ("test_regions.py:Doubtful", "test_regions:Doubtful"):
        assert rule_from_dict({"name": name, "limit": 0.8}, code=[Doubtful]) == Doubtful(0.8)


def test_a_rule_in_a_package_goes_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").touch()
    (tmp_path / "lab" / "soft.py").write_text(
        "from dataclasses import dataclass\nfrom buarl.regions import Rule\n"
        "@dataclass(frozen=True)\nclass Soft(Rule):\n    def cut(self, probs):\n        return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    soft = importlib.import_module("lab.soft").Soft
    assert soft().as_dict() == {"name": "lab.soft:Soft"}
    assert rule_from_dict({"name": "soft.py:Soft"}, [soft]) == soft()


def test_data_alone_imports_nothing():
    data = Doubtful().as_dict()
    with pytest.raises(
        ValueError, match=r"'test_regions.py:Doubtful' comes from outside .* add --code .*Doubtful"
    ):
        rule_from_dict(data)
    with pytest.raises(ValueError, match=r"'os:system' .* so far: \['test_regions.py:Doubtful'\]"):
        rule_from_dict({"name": "os:system"}, code=[Doubtful])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"name": "urll"},
            r"rule must be one of \['border_region', 'confidence', 'crl', .* got 'urll'",
        ),
        ({"percentile": 95}, "rule must be one of .* got None"),
        ({"name": ["url"]}, r"rule must be one of .* got \['url'\]"),
        ([1], r"a rule is read from a mapping .* got \[1\]"),
        (
            {"name": "url", "percentle": 95},
            r"rule 'url' has no argument \['percentle'\]; it has \['name', 'percentile'",
        ),
        ({"name": "url"}, "url: percentile must be a number, got NoneType None"),
        ({"name": "url", "percentile": "95"}, "url: percentile must be a number, got str '95'"),
        ({"name": "crl", "percentile": True}, "crl: percentile must be a number, got bool True"),
        ({"name": "crl", "percentile": 101}, "crl: percentile must lie in 0-100, got 101"),
        ({"name": "whole", "percentile": 95}, "whole: takes no percentile, got 95"),
        ({"name": "url", "percentile": 95, "scope": "volume"}, "url: scope must be .* 'volume'"),
        ({"name": "confidence", "threshold": 95}, "confidence: threshold must lie in 0-1, got 95"),
        ({"name": "soft_certainty", "scope": "image"}, r"no argument \['scope'\]; it has \[\]"),
    ],
)
def test_wrong_data_gets_one_clear_sentence(data, message):
    with pytest.raises(ValueError, match=message):
        rule_from_dict(data)


@dataclass(frozen=True)
class Halves:
    """A rule that is none of ours: a call and `as_dict` are all that is asked for."""

    weight: float = 0.5

    def __call__(self, probs):
        first = torch.arange(probs.shape[-1]) < probs.shape[-1] // 2
        return [Region(first.expand(probs[:, 0].shape), self.weight)]

    def as_dict(self):
        return {"name": "test_regions.py:Halves", "weight": self.weight}


def test_any_frozen_dataclass_with_a_call_and_a_dict_is_a_rule():
    rule = Halves(0.25)
    (region,) = rule(random_probs())
    assert region.mask.sum() == 2 * 10 * 6
    assert rule_from_dict(json.loads(json.dumps(rule.as_dict())), [Doubtful, Halves]) == rule


def very_doubtful(limit):
    return Doubtful(limit, weight=10.0)


def test_a_function_that_makes_a_rule_may_be_named_as_well():
    data = {"name": "test_regions.py:very_doubtful", "limit": 0.6}
    assert rule_from_dict(data, [very_doubtful]) == Doubtful(0.6, 10.0)
    with pytest.raises(ValueError, match=r"has no argument \['weight'\]; it has \['limit'\]"):
        rule_from_dict({**data, "weight": 1.0}, [very_doubtful])


def test_a_rule_from_outside_cannot_pass_for_another():
    with pytest.raises(TypeError, match="Sham: the name of a rule is its place"):

        class Sham(Rule):
            name = "url"

    with pytest.raises(TypeError, match="Named: the name of a rule is its place"):

        class Named(Rule):
            name: str = "url"


def test_a_rule_without_a_cut_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Rule()


def test_a_rule_whose_arguments_a_row_would_lose_is_refused():
    class Forgotten(Rule):
        def __init__(self, limit=0.9):
            self.limit = limit

        def cut(self, probs):
            return [Region(probs.amax(1) < self.limit, 1.0)]

    with pytest.raises(TypeError, match=r"Forgotten must be a @dataclass\(frozen=True\)"):
        Forgotten(0.5)


def test_a_rule_that_returns_one_region_alone_is_told_to_return_a_list():
    class Alone(Rule):
        def cut(self, probs):
            return Region(probs.amax(1) < 0.9, 1.0)

    with pytest.raises(TypeError, match="rule Alone must return a list of Region.*got Region"):
        Alone()(random_probs())


def test_errors_name_the_rule_and_the_value():
    with pytest.raises(ValueError, match=r"url: percentile must lie in 0-100, got 101"):
        url(101)
    with pytest.raises(ValueError, match=r"url: percentile is in percent .* mean 95, got 0.95"):
        url(0.95)
    with pytest.raises(ValueError, match=r"crl: scope must be .* got 'volume'"):
        crl(99, scope="volume")
    with pytest.raises(ValueError, match=r"crl: percentile must lie in 0-100, got -1"):
        crl(-1)
    with pytest.raises(ValueError, match=r"crl: alpha and weights must be >= 0, got -0.5"):
        crl(alpha=-0.5)
    with pytest.raises(ValueError, match="got nan"):
        url(alpha=math.nan)
    with pytest.raises(ValueError, match="url: alpha and weights must be finite, got inf"):
        url(alpha=math.inf)
    with pytest.raises(ValueError, match="scope must be"):
        url(scope="volume")(random_probs())


@pytest.mark.parametrize("name", ["url", "crl", "drop"])
def test_a_rule_by_its_name_alone_weighs_as_its_function(name):
    """JSON written by hand; else it would be the plain method under that name."""
    made = {"url": url, "crl": crl, "drop": drop}[name]
    assert rule_from_dict({"name": name, "percentile": 97}) == made(97)
    assert made(97.0).as_dict() == made(97).as_dict()
    assert type(made(97.0).percentile) is int


def test_whole_weighs_everything_alike():
    with pytest.raises(ValueError, match="whole: weighs every voxel 1, got certain_weight 0.5"):
        rule_from_dict({"name": "whole", "certain_weight": 0.5})
