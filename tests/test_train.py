"""A run is a function of its seed, learns, follows its schedule, and says when it goes wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tiny import Cut, cut_after, same_weights, tiny_config, tiny_method, trained, write_tiny
from torch import nn

from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError
from buarl.methods import Supervised
from buarl.methods.base import Learner, Method, Sgd, Stage, StepOutput
from buarl.networks import UNet
from buarl.schedules import Poly, StepDecay
from buarl.training.checkpoint import load_state
from buarl.training.config import StagePlan
from buarl.training.loop import StopTraining, fit

NAMES = ["supervised", "mean_teacher", "bcp"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


# Seeds


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_a_function_of_its_seed(source, name):
    method, result = trained(name, source)
    assert not same_weights(method, tiny_method(name))
    torch.manual_seed(123)  # the caller's generator plays no part
    again, same = trained(name, source)
    assert same_weights(method, again)
    assert result.history == same.history
    other, different = trained(name, source, seed=1)
    assert not same_weights(method, other)
    assert result.history != different.history


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_generators_are_unchanged(source, fails):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    method = tiny_method("bcp")
    if fails:
        with pytest.raises(Cut):
            fit(method, source, tiny_config("bcp"), callback=cut_after("pretrain", 2))
    else:
        fit(method, source, tiny_config("bcp"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_the_teacher_of_stage_2_starts_as_the_student(source):
    seen = {}

    def callback(name, step, method):
        if (name, step.index) == ("pretrain", 11):
            seen["student"] = method.student.head.weight.detach().clone()
            seen["teacher"] = method.teacher.head.weight.clone()
        elif (name, step.index) == ("selftrain", 0):
            seen["moved"] = method.teacher.head.weight.clone()
            seen["new student"] = method.student.head.weight.detach().clone()

    fit(tiny_method("bcp"), source, tiny_config("bcp"), callback=callback)
    assert not torch.equal(seen["student"], seen["teacher"])
    expected = 0.99 * seen["student"] + 0.01 * seen["new student"]
    torch.testing.assert_close(seen["moved"], expected)


# Learning


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_goes_down(source, name):
    plans = [(StagePlan(40, 4, 0 if name == "supervised" else 4),), (StagePlan(40, 4, 0),) * 2]
    if name == "bcp":
        plans[1] = (StagePlan(40, 4, 0), StagePlan(5, 4, 4))
    _, result = trained(name, source, stages=plans[name == "bcp"])
    losses = [row["labeled"] for row in result.history if row["stage"] != "selftrain"]
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("schedule", [Poly(), StepDecay(0.3)])
def test_history_shows_step_and_learning_rate_of_the_schedule(source, schedule):
    _, result = trained("supervised", source, stages=(StagePlan(24, 4, 0, schedule),))
    assert [row["step"] for row in result.history] == [10, 20, 24]
    for row in result.history:
        assert row["stage"] == "train"
        assert row["lr"] == pytest.approx(0.01 * schedule(row["step"] - 1, 24))
    assert result.seconds["train"] > 0


def test_history_shows_the_numbers_that_a_method_says_of_its_steps(source):
    method, result = trained("mean_teacher", source, stages=(StagePlan(20, 4, 4),))
    for row, indices in zip(result.history, (range(10), range(10, 20)), strict=True):
        for number in ("weight", "ema_decay"):
            values = [method.at(index, 20).numbers[number] for index in indices]
            assert row[number] == pytest.approx(np.mean(values))


class Counting(Supervised):
    """Logs the step, so that the means in the history can be computed by hand."""

    def training_step(self, batch, step):
        return StepOutput(super().training_step(batch, step).loss, {"number": step.index})


def test_history_holds_means_since_the_last_row(source):
    config = tiny_config("supervised", stages=(StagePlan(23, 4, 0),), checkpoint_every=15)
    result = fit(Counting(UNet(4, 2)), source, config)
    assert [row["number"] for row in result.history] == [4.5, 12, 17, 21]
    assert [row["step"] for row in result.history] == [10, 15, 20, 23]  # 15: a checkpoint


class Ramping(Supervised):
    """Logs one number at its first step alone, and another from the sixth step on."""

    def training_step(self, batch, step):
        logs = {"start": 3.0} if step.index == 0 else {}
        logs |= {"ramp": float(step.index)} if step.index > 5 else {}
        return StepOutput(super().training_step(batch, step).loss, logs)


def test_a_number_that_is_not_said_at_every_step_has_the_mean_of_those_that_say_it(source):
    config = tiny_config("supervised", stages=(StagePlan(20, 4, 0),))
    first, second = fit(Ramping(UNet(4, 2)), source, config).history
    assert (first["start"], first["ramp"], second["ramp"]) == (3, 7.5, 14.5)
    assert "start" not in second


@pytest.mark.parametrize("name", ["step", "stage", "lr"])
def test_a_method_cannot_log_over_a_column_of_the_history(source, name):
    class Careless(Supervised):
        def training_step(self, batch, step):
            return StepOutput(super().training_step(batch, step).loss, {name: 0.3})

    with pytest.raises(ValueError, match=f"must not log '{name}', the history has its own"):
        fit(Careless(UNet(4, 2)), source, tiny_config("supervised"))


class Bad(Supervised):
    """Its loss is lost from a step on."""

    def training_step(self, batch, step):
        loss = super().training_step(batch, step).loss
        return StepOutput(loss * float("nan" if step.index >= 12 else 1), {})


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    source, tmp_path
):
    config = tiny_config("supervised", stages=(StagePlan(40, 4, 0),), checkpoint_every=7)
    with pytest.raises(FloatingPointError, match=r"nan in stage 'train' .* before step 14"):
        fit(Bad(UNet(4, 2)), source, config, out=tmp_path)
    state = load_state(tmp_path / "last.pt")
    assert state["position"] == [0, 7]
    assert all(torch.isfinite(t).all() for t in state["method"].values() if t.is_floating_point())


class Coasting(Method):
    """Stage 1 pushes a weight, stage 2 has no gradient: only momentum can move it there."""

    def __init__(self, keep):
        super().__init__(nn.Conv2d(1, 1, 1))
        self.keep = keep

    def stages(self):
        def stage(name, step):
            learner = Learner("student", self.student, step, Sgd(weight_decay=0.0))
            return Stage(name, (learner,), keep_optimizer=self.keep)

        return stage("push", self.pushing_step), stage("coast", self.training_step)

    def pushing_step(self, batch, step, push=1.0):
        return StepOutput(push * self.student.weight.sum() + 0 * self.student.bias.sum(), {})

    def training_step(self, batch, step):
        return self.pushing_step(batch, step, push=0.0)


@pytest.mark.parametrize("keep", [True, False])
def test_keep_optimizer_carries_the_momentum_into_stage_2(source, tmp_path, keep):
    weights = []
    config = tiny_config("bcp", stages=(StagePlan(1, 4, 0), StagePlan(2, 4, 0)))
    fit(
        Coasting(keep),
        source,
        config,
        out=tmp_path,
        callback=lambda *args: weights.append(args[2].student.weight.item()),
    )
    moved = np.diff(weights)
    expected = [-0.01 * 0.9, -0.01 * 0.81] if keep else [0, 0]
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    begun = Coasting(keep)
    fit(begun, source, config, begin_from=tmp_path / "push.pt")
    assert begun.student.weight.item() == weights[-1]


# Refusals


def test_refusals_say_what_is_wrong(source, tmp_path):
    method = tiny_method("bcp")
    with pytest.raises(ValueError, match=r"\['pretrain', 'selftrain'\], got 1 plan"):
        fit(method, source, tiny_config("supervised"))
    with pytest.raises(ValueError, match=r"resume needs out=FOLDER"):
        fit(method, source, tiny_config("bcp"), resume=True)
    with pytest.raises(ValueError, match=r"last\.pt: no such checkpoint"):
        fit(method, source, tiny_config("bcp"), out=tmp_path, resume=True)
    with pytest.raises(DataError, match="unlabeled patients"):
        fit(tiny_method("mean_teacher"), source, tiny_config("mean_teacher", labeled=None))
    with pytest.raises(ValueError, match="precision"):
        fit(method, source, tiny_config("bcp", precision="half"))


def never(*_):
    raise AssertionError("a step was taken")


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("bcp", {"labeled": None}, "4 unlabeled samples needs unlabeled patients"),
        ("bcp", {"stages": (StagePlan(9, 3, 0), StagePlan(9, 4, 4))}, "must be even, .* got 3"),
        ("bcp", {"stages": (StagePlan(9, 4, 0), StagePlan(9, 4, 2))}, "equal, .* got 4 and 2"),
        ("bcp", {"labeled": 9}, "labeled must lie in 1 to 4"),
    ],
)
def test_what_is_known_before_the_first_step_is_said_there(source, name, changes, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        fit(tiny_method(name), source, tiny_config(name, **changes), callback=never, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_checkpoint_every_is_a_whole_number(value):
    with pytest.raises(ValueError, match=f"checkpoint_every must be .* at least 1, got {value}"):
        tiny_config("bcp", checkpoint_every=value)


def test_a_folder_is_an_existing_one_and_may_be_a_string(source, tmp_path):
    config = tiny_config("supervised")
    for out in (tmp_path / "no", str(tmp_path / "no")):
        with pytest.raises(ValueError, match="out must be an existing folder, got '.*no'"):
            fit(tiny_method("supervised"), source, config, out=out, callback=never)
    fit(tiny_method("supervised"), source, config, out=str(tmp_path))
    assert (tmp_path / "last.pt").is_file()


# Stopping


def stop_after(stage, index):
    def callback(name, step, method):
        if (name, step.index) == (stage, index):
            raise StopTraining

    return callback


@pytest.mark.parametrize(("stage", "index"), [("pretrain", 3), ("pretrain", 11), ("selftrain", 6)])
def test_a_stop_saves_the_step_it_came_in_and_moves_no_row_of_the_history(
    source, tmp_path, stage, index
):
    whole, result = trained("bcp", source)
    config, steps = tiny_config("bcp"), []
    with pytest.raises(StopTraining):
        fit(tiny_method("bcp"), source, config, out=tmp_path, callback=stop_after(stage, index))
    method = tiny_method("bcp")
    again = fit(
        method,
        source,
        config,
        out=tmp_path,
        resume=True,
        callback=lambda name, step, _: steps.append((name, step.index)),
    )
    assert same_weights(method, whole)
    assert again.history == result.history
    assert steps[0] == ((stage, index + 1) if index < 11 else ("selftrain", 0))


def test_a_stop_without_a_folder_just_ends(source):
    config = tiny_config("supervised")
    with pytest.raises(StopTraining):
        fit(tiny_method("supervised"), source, config, callback=stop_after("train", 1))


def test_a_callback_that_evaluates_does_not_switch_dropout_off(source):
    """Evaluation leaves the student in eval mode; training must not go on in it."""
    plain, watched = tiny_method("supervised"), tiny_method("supervised")
    fit(plain, source, tiny_config("supervised"))
    fit(watched, source, tiny_config("supervised"), callback=lambda *_: watched.eval())
    assert same_weights(plain, watched)
