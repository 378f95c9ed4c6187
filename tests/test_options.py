"""Options of methods: one mechanism refuses what no option may be, and says what it may be."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
from tiny import same_weights, tiny_method
from torch import nn

from buarl.dice import DICE_SSL4MIS
from buarl.methods import METHODS, Bcp, MeanTeacher, Supervised
from buarl.methods.base import Adam, Method, RampedMethod, Sgd, Step, StepOutput
from buarl.methods.options import Above, Range, check_options, described, fits
from buarl.networks import UNet
from buarl.regions import crl, url, whole

REFUSED = [  # method, option, value, what it must be
    ("mean_teacher", "unsupervised", "pseudolabel", '"mse" or "pseudo_label"'),
    ("mean_teacher", "entropy_from", "techer", '"teacher" or "student"'),
    ("bcp", "entropy_from", "techer", '"teacher" or "student"'),
    ("ua_mt", "teacher_mode", "trian", '"train" or "eval"'),
    ("bcp", "teacher_mode", "trian", '"train" or "eval"'),
    ("mean_teacher", "ema_limit", 5, "a number from 0 to 1"),
    ("mean_teacher", "noise", -1, "a number of at least 0"),
    ("ua_mt", "noise", True, "a number of at least 0"),
    ("urpc", "ramp_share", -1, "a number of at least 0"),
    ("bcp", "box_share", 5, "a number from 0 to 1"),
    ("bcp", "unlabeled_weight", -1, "a number of at least 0"),
    ("bcp", "unlabeled_weight", "0.5", "a number of at least 0"),
    ("bcp", "ema_decay", None, "a number from 0 to 1"),
    ("bcp", "mixed_label", 1, "True or False"),
    ("supervised", "ce_share", 7, "a number from 0 to 1"),
    ("supervised", "ce_share", math.nan, "a number from 0 to 1"),
    ("dtc", "consistency_weight", math.inf, "a number of at least 0"),
    ("dtc", "consistency_weight", math.nan, "a number of at least 0"),
    ("sassnet", "ramp_levels", 0, "a whole number of at least 1"),
    ("sassnet", "ramp_levels", 40.0, "a whole number of at least 1"),
    ("mc_net", "temperature", 0, "a number above 0"),
    ("mc_net", "decoders", "3", "a whole number"),
    ("ua_mt", "passes", 0, "a whole number of at least 1"),
    ("ua_mt", "divisor", True, "2 or"),
    ("ss_net", "max_features", 0, "a whole number of at least 1 or None"),
    ("ss_net", "keep", "best", '"lowest" or "highest"'),
    ("urpc", "perturb", "no", "True or False or None"),
    ("supervised", "labeled_reduction", "voxels", '"region" or "voxel"'),
    ("supervised", "labeled_rule", "url", "a function or another callable"),
    ("supervised", "dice", "D2", "a Dice"),
    ("supervised", "optimizer", "adam", "an Optimizer"),
]


@pytest.mark.parametrize(("name", "option", "value", "must_be"), REFUSED)
def test_a_wrong_option_is_refused_with_its_rule_and_its_value(name, option, value, must_be):
    with pytest.raises(ValueError, match="must be") as caught:
        tiny_method(name, **{option: value})
    assert str(caught.value).startswith(f"{name}.{option} must be {must_be}")
    assert str(caught.value).endswith(f", got {value!r}")


@pytest.mark.parametrize("name", METHODS)
def test_every_option_of_every_method_is_checked(name):
    """No option takes an object that is nothing in particular."""
    for option in METHODS[name].defaults():
        with pytest.raises(ValueError, match=rf"{name}\.{option} must be .*, got <object"):
            tiny_method(name, **{option: object()})


@pytest.mark.parametrize("name", METHODS)
def test_every_default_is_allowed(name):
    kind = METHODS[name]
    method = kind(UNet(4, 2), **kind.defaults())
    assert {option: getattr(method, option) for option in kind.defaults()} == kind.defaults()


@pytest.mark.parametrize("name", METHODS)
def test_an_editor_sees_every_option_in_the_signature(name):
    kind = METHODS[name]
    network, *options = inspect.signature(kind).parameters.values()
    assert network.name == "network"
    assert network.kind is network.POSITIONAL_OR_KEYWORD
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    assert {option.name: option.default for option in options} == kind.defaults()
    assert {each.name for each in fields(kind)} == set(kind.defaults())


@pytest.mark.parametrize("kind", [Sgd, Adam])
@pytest.mark.parametrize("lr", [-0.1, math.nan, "0.1"])
def test_an_optimizer_checks_its_learning_rate(kind, lr):
    with pytest.raises(ValueError, match=rf"{kind.__name__}.lr must be a number of at least 0"):
        kind(lr=lr)


def test_numbers_of_numpy_and_whole_numbers_are_numbers():
    method = tiny_method(
        "mean_teacher", noise=np.float32(0.5), ema_limit=1, ramp_levels=np.int64(3)
    )
    assert method.noise == 0.5
    tiny_method("ss_net", max_features=None)
    tiny_method("ua_mt", divisor="C")
    tiny_method("supervised", labeled_rule=lambda probs: url()(probs))


# The kinds of annotations


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "words"),
    [
        (Annotated[float, Range(0, 1)], [0, 1, 0.5], [-0.1, 1.1, math.nan, "0"], "from 0 to 1"),
        (Annotated[float, Above(0)], [1e-9, 7], [0, -1, math.inf, False], "a number above 0"),
        (Annotated[int, Range(2)], [2, 9], [1, 2.0, True], "a whole number of at least 2"),
        (bool, [True, False], [0, 1, None], "True or False"),
        (str, ["a"], [1, None], "a text"),
        (Literal["a", 2, None], ["a", 2, None], ["b", 2.0, False], '"a" or 2 or None'),
        (int | None, [3, None], [1.5, "3"], "a whole number or None"),
        (Callable[[int], int], [abs], [3], "a function or another callable"),
        (tuple[int, ...], [(1, 2)], [[1, 2]], "a tuple"),
        (Adam, [Adam()], [Sgd()], "an Adam"),
        ("unreadable", [1, None, "x"], [], "a unreadable"),
    ],
)
def test_kinds_and_their_words(kind, right, wrong, words):
    assert all(fits(value, kind) for value in right)
    assert not any(fits(value, kind) for value in wrong)
    assert words in described(kind) or kind == "unreadable"


def test_an_annotation_that_is_not_known_when_the_program_runs_is_named():
    @dataclass
    class Odd:
        value: NotImported = 1  # noqa: F821

    with pytest.raises(TypeError, match=r"annotations of Odd must be names of its module"):
        check_options(Odd(), "odd")


# Methods from outside


@dataclass(kw_only=True, eq=False, repr=False)
class Sharp(RampedMethod):
    """A method of a user, with an option."""

    name = "sharp"
    power: Annotated[float, Range(1, 4)] = 2.0

    def training_step(self, batch, step):
        labeled, unlabeled = self.labeled_and_unlabeled_logits(batch)
        certain = (unlabeled.softmax(1) ** self.power).mean()
        return self.output(self.labeled_loss(labeled, batch.label), -certain, step)


def test_a_method_of_your_own_has_checked_options(semi_2d):
    method = Sharp(UNet(4, 2), power=3, unlabeled_rule=crl(80))
    assert Sharp.defaults()["power"] == 2.0
    output = method.training_step(semi_2d, method.at(5, 10))
    assert set(output.logs) == {"labeled", "unlabeled"}
    assert output.loss.requires_grad
    with pytest.raises(ValueError, match=r"sharp.power must be a number from 1 to 4, got 5"):
        Sharp(UNet(4, 2), power=5)
    with pytest.raises(ValueError, match=r"sharp.ramp_levels must be"):
        Sharp(UNet(4, 2), ramp_levels=0)
    with pytest.raises(TypeError, match="no_such_option"):
        Sharp(UNet(4, 2), no_such_option=1)


class Plain(Method):
    """A method of a user, with a plain constructor."""

    def __init__(self, network, *, scale=1.0, **common):
        super().__init__(network, **common)
        self.scale, self.head = scale, nn.Conv2d(4, 4, 1)

    def training_step(self, batch, step):
        loss = self.scale * self.labeled_loss(self.student(batch.labeled_image), batch.label)
        return StepOutput(loss, {})


def test_a_method_with_a_plain_constructor_works(semi_2d):
    method = Plain(UNet(4, 2), scale=2.0, dice=DICE_SSL4MIS)
    assert Plain.defaults().keys() == {"scale", *Method.defaults()}
    assert method.training_step(semi_2d, Step(0, 1)).loss > 0
    with pytest.raises(ValueError, match=r"Plain.ce_share must be a number from 0 to 1, got 2"):
        Plain(UNet(4, 2), ce_share=2)


class Closed(Method):
    """A method of a user that hands nothing on."""

    def __init__(self, network, *, keep):
        super().__init__(network)

    def training_step(self, batch, step):
        return StepOutput(self.student.head.weight.sum(), {})


class Undecorated(Supervised):
    """A method of a user who forgot the decorator."""

    strength: float = 0.5


def test_options_without_the_decorator_are_refused_as_no_row_could_set_them():
    with pytest.raises(TypeError, match=r"Undecorated must be decorated .* options \['strength'\]"):
        Undecorated(UNet(4, 2))


def test_defaults_are_what_the_constructor_takes():
    assert list(Closed.defaults()) == ["keep"]


def test_a_step_without_numbers_says_how_to_get_them(semi_2d):
    with pytest.raises(ValueError, match=r"no number 'weight'; make it with method.at\(index"):
        tiny_method("urpc").training_step(semi_2d, Step(0, 1))


# What torch expects of a module


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_copied_pickled_and_hashed_like_any_module(name):
    method = tiny_method(name)
    for twin in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert type(twin) is type(method)
        assert twin is not method
        assert twin != method
        assert len({method, twin}) == 2
        assert same_weights(method, twin)
        assert all(getattr(twin, o) == getattr(method, o) for o in METHODS[name].defaults())
    assert next(iter(method.children())) is method.student
    assert (
        method.state_dict().keys()
        == dict([*method.named_parameters(), *method.named_buffers()]).keys()
    )


def test_options_and_networks_stay_apart():
    method = Bcp(UNet(4, 2), labeled_rule=url(95))
    assert [name for name, _ in method.named_children()] == ["student", "teacher"]
    assert not hasattr(MeanTeacher, "network")
    twin = Supervised(network=UNet(4, 2))
    assert torch.is_tensor(twin.student.head.weight)


class Asked:
    """A rule that counts how often it is called."""

    def __init__(self):
        self.rule, self.calls = url(80), 0

    def __call__(self, probs):
        self.calls += 1
        return self.rule(probs)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_asks_every_rule_but_those_it_says_it_has_no_use_for(name, semi_2d):
    """So no run can record a rule that changed nothing."""
    rules = {"labeled_rule": Asked(), "unlabeled_rule": Asked()}
    kind = METHODS[name]
    used = {key: rule for key, rule in rules.items() if key not in kind.unused}
    method = kind(UNet(4, 2), **used).train()
    for stage in method.stages():
        for learner in stage.learners:
            learner.training_step(semi_2d, method.at(50, 100))
    assert [key for key, rule in rules.items() if not rule.calls] == [
        key for key in rules if key in kind.unused
    ]


@pytest.mark.parametrize(("option", "value"), [("rule", crl(99)), ("reduction", "region")])
def test_what_a_method_has_no_use_for_is_refused(option, value):
    said = f"supervised does not use unlabeled_{option}, so it must stay .*, got (crl|'region')"
    with pytest.raises(ValueError, match=said):
        Supervised(UNet(4, 2), **{f"unlabeled_{option}": value})
    Supervised(UNet(4, 2), labeled_rule=url(), labeled_reduction="region", unlabeled_rule=whole())


def test_a_method_of_your_own_inherits_what_is_unused_and_may_say_otherwise():
    @dataclass(kw_only=True, eq=False, repr=False)
    class Floor(Supervised):
        name = "floor"

    @dataclass(kw_only=True, eq=False, repr=False)
    class Both(Floor):
        unused = ()

    @dataclass(kw_only=True, eq=False, repr=False)
    class Slip(Floor):
        unused = ("unlabelled_rule",)

    with pytest.raises(ValueError, match="floor does not use unlabeled_rule"):
        Floor(UNet(4, 2), unlabeled_rule=crl())
    assert Both(UNet(4, 2), unlabeled_rule=crl()).unlabeled_rule == crl()
    with pytest.raises(TypeError, match="unused must name its options"):
        Slip(UNet(4, 2))
