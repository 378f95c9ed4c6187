"""A step works for the device alone, and its recording repeats it; checked where there is no GPU.

A tensor without data (device "meta") cannot be waited for: whatever would, raises. A CUDA graph
repeats kernels on fixed places in memory; here the graph is one of torch's operators, traced.
"""

from __future__ import annotations

import contextlib

import pytest
import torch
from tiny import Cut, Repeated, same_weights, tiny_config, tiny_method, write_tiny
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from buarl.data.acdc import Acdc
from buarl.data.batches import Batches, SemiBatch
from buarl.data.strong_views import StrongViews
from buarl.fast.recorder import Recorder
from buarl.fast.resident import ResidentBatches
from buarl.fast.union_find import largest_component_on_device
from buarl.methods import METHODS, Urpc
from buarl.methods.base import Adam
from buarl.methods.signed_distance.maps import signed_distance_on_device
from buarl.networks import UNet, VNet
from buarl.regions import whole
from buarl.training.engine import Engine
from buarl.training.loop import _Training, fit
from buarl.training.state import TrainingState

META = torch.device("meta")
RECORDED = ("supervised", "mean_teacher", "sassnet", "dtc", "urpc", "mc_net", "bcp", "unimatch")


def test_a_method_says_whether_its_steps_can_be_recorded():
    assert set(RECORDED) == {name for name, kind in METHODS.items() if kind.recordable}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


class Uploads(TorchFunctionMode):
    """Refuses tensors made of host numbers: a GPU copies them at once, and the host waits."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.tensor, torch.as_tensor) and (kwargs or {}).get("device") == META:
            raise AssertionError(f"host numbers sent to the device: {args}")
        return func(*args, **(kwargs or {}))


class Copies(TorchDispatchMode):
    """Refuses copies between host and device that the host waits for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if "copy" in str(func):
            tensors = [t for t in tree_leaves((args, kwargs, out)) if torch.is_tensor(t)]
            far = len({t.device for t in tensors}) > 1
            waits = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            assert not (far and waits), f"a blocking copy: {func}"
        return out


@contextlib.contextmanager
def no_waiting(monkeypatch):
    """Nothing inside may wait for the device "meta"; autocast does not know it, bf16 is off."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    with Uploads(), Copies():
        yield


def meta_batch(rank):
    image = torch.rand(4, 1, *[32] * rank, device=META)
    label = torch.zeros_like(image[:, 0], dtype=torch.long)
    return SemiBatch.from_parts(image, label, image.clone())


def whole_step(method, batch):
    """Every stage's step as `fit` makes it, optimizers and all."""
    for stage in method.stages():
        for learner in stage.learners:
            optimizer = learner.optimizer.build(learner.module)
            learner.training_step(batch, method.at(50, 100)).loss.backward()
            optimizer.step()
        if stage.after_step is not None:
            stage.after_step(method.at(50, 100))


@pytest.mark.parametrize(("rank", "reduction"), [(2, "region"), (2, "voxel"), (3, "region")])
@pytest.mark.parametrize("name", METHODS)
def test_no_step_waits_for_the_device(name, rank, reduction, monkeypatch):
    options = {"labeled_reduction": reduction, "unlabeled_reduction": reduction}
    options = {key: value for key, value in options.items() if key not in METHODS[name].unused}
    network = None if rank == 2 else VNet(2, 2)
    method = tiny_method(name, network, **options).to(META).train()
    with no_waiting(monkeypatch):
        if name == "ss_net":  # asks how many voxels of each class there are
            with pytest.raises(NotImplementedError, match="nonzero"):
                whole_step(method, meta_batch(rank))
        else:
            whole_step(method, meta_batch(rank))


@pytest.mark.parametrize("rank", [2, 3])
def test_strong_views_wait_for_nothing(rank, monkeypatch):
    network = None if rank == 2 else VNet(2, 2)
    method = tiny_method("bcp", network, strong_views=StrongViews()).to(META).train()
    with no_waiting(monkeypatch):
        whole_step(method, meta_batch(rank))


def test_a_wait_is_found(monkeypatch):
    image = torch.rand(3, device=META)
    with no_waiting(monkeypatch):
        for wait in (lambda: float(image.sum()), lambda: image.cpu(), lambda: image[image > 0]):
            with pytest.raises((NotImplementedError, RuntimeError)):
                wait()
        for upload in (lambda: torch.tensor([1.0], device=META), lambda: torch.ones(2).to(META)):
            with pytest.raises(AssertionError, match="host numbers|blocking copy"):
                upload()


def test_batches_on_the_device_wait_for_nothing(source, monkeypatch):
    batches = ResidentBatches(Batches(source, 2, (32, 32)), META)
    with no_waiting(monkeypatch):
        batch = batches.batch((0,), 0, 4, 4)
    assert {tensor.device for tensor in batch} == {META}


@pytest.mark.parametrize("name", ["bcp", "sassnet"])
def test_the_loop_around_a_step_waits_for_nothing(name, source, monkeypatch):
    """Batches, learning rates, optimizers and the teacher's average; logs are read in `flush`."""
    plain = _Training.step

    def step(training, *place):
        with no_waiting(monkeypatch):
            return plain(training, *place)

    monkeypatch.setattr("buarl.training.loop.choose_engine", lambda *_, **__: Engine(META, "fp32"))
    monkeypatch.setattr(_Training, "step", step)
    monkeypatch.setattr(TrainingState, "flush", lambda *_: 0.0)
    fit(tiny_method(name), source, tiny_config(name).shortened(2))


# Recording


class Traced(Repeated):
    """Records torch's operators instead of kernels; what it repeats is as blind to the host.

    Tracing runs the step, unlike recording, so the first repetition has been made already.
    """

    def _record(self, compute):
        type(self).recordings += 1
        run = []
        graph = make_fx(lambda: run.append(compute()) or run[0])()

        @torch.no_grad()
        def replay():
            self._logs = run.pop() if run else graph()

        return replay, {}


def sorted_statistic(flat, rank, scope="batch"):
    return flat.sort(1).values[:, rank : rank + 1]


@pytest.fixture
def traced(monkeypatch):
    """`fit(record=True)` on the CPU, along the paths of a GPU."""
    for module in ("rule", "entropy", "arguments"):
        monkeypatch.setattr(f"buarl.{module}.may_look", lambda tensor: False)
    monkeypatch.setattr("buarl.methods.bcp.largest_component", largest_component_on_device)
    monkeypatch.setattr(
        "buarl.methods.signed_distance.maps.signed_distance", signed_distance_on_device
    )
    monkeypatch.setattr("buarl.entropy._order_statistic", sorted_statistic)
    monkeypatch.setattr("buarl.fast.recorder.Recorder", Traced)
    monkeypatch.setattr(Traced, "recordings", 0)
    return Traced


def test_only_a_gpu_records():
    with pytest.raises(ValueError, match="only a CUDA GPU can record a step, got device 'cpu'"):
        Recorder(torch.device("cpu"), "Bcp")


def both(source, config, *methods):
    """The results of a recorded training and of one with the same optimizer's kernel, as written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Traced, "__call__", lambda self, compute, batch, key: compute(batch))
        expected = fit(methods[0], source, config, record=True)
    return expected, fit(methods[1], source, config, record=True)


def assert_same(result, expected):
    assert same_weights(result.network, expected.network)
    assert result.history == expected.history


@pytest.mark.parametrize("name", METHODS)
def test_only_a_method_whose_numbers_always_move_is_refused_at_the_start(name, source, repeated):
    """SS-Net's numbers stand still between two levels of its ramp; only a GPU finds it waiting."""
    config = tiny_config(name).shortened(1)
    if name == "ua_mt":
        with pytest.raises(ValueError, match="a step of UaMt cannot be recorded.*threshold_share"):
            fit(tiny_method(name), source, config, record=True)
    else:
        fit(tiny_method(name), source, config, record=True)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_training_is_the_same_training(name, source, traced):
    ramped = name not in ("supervised", "bcp", "unimatch")
    options = {"ramp_levels": 2} if ramped else {}
    options |= {"ema_limit": 0.5} if name == "mean_teacher" else {}
    methods = (tiny_method(name, **options) for _ in range(2))
    steps = 6 if ramped else 3  # at each level one as written, one recorded and one repeated
    assert_same(*both(source, tiny_config(name).shortened(steps), *methods))
    assert traced.recordings > 0


def test_adam_is_recorded_too(source, traced):
    methods = (tiny_method("supervised", optimizer=Adam(0.004)) for _ in range(2))
    assert_same(*both(source, tiny_config("supervised").shortened(3), *methods))
    assert traced.recordings == 1


def test_a_number_that_moves_is_recorded_anew(source, repeated):
    """12 steps at 4 levels of the ramp: the first of each as written, the others repeated."""
    method = tiny_method("urpc", ramp_levels=4)
    fit(method, source, tiny_config("urpc"), record=True)
    assert repeated.recordings == 4
    fit(tiny_method("bcp"), source, tiny_config("bcp"), record=True)
    assert repeated.recordings == 4 + 2  # one a stage


class Forgetful(Urpc):
    """Its ramp moves the loss, but `numbers` says nothing of it."""

    def numbers(self, step):
        return {}

    def output(self, labeled, unlabeled, step, **logs):
        hidden = step._replace(numbers={"weight": self.weight(step)})
        return super().output(labeled, unlabeled, hidden, **logs)


def test_a_forgotten_number_shows(source, traced):
    methods = [Forgetful(UNet(4, 2), ramp_levels=12) for _ in range(2)]
    methods[1].load_state_dict(methods[0].state_dict())
    with pytest.raises(AssertionError):
        assert_same(*both(source, tiny_config("urpc"), *methods))


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False)])
def test_a_run_goes_on_recorded_or_not(source, repeated, tmp_path, first, second):
    rules = {"labeled_rule": whole(), "unlabeled_rule": whole()}  # no percentile to hang on
    exact, method, again = (tiny_method("bcp", **rules) for _ in range(3))
    config = tiny_config("bcp", seed=1, checkpoint_every=5)
    fit(exact, source, config)

    def cut(stage, step, _):
        if (stage, step.index) == ("selftrain", 6):
            raise Cut

    with pytest.raises(Cut):
        fit(method, source, config, out=tmp_path, callback=cut, record=first)
    fit(again, source, config, out=tmp_path, resume=True, record=second)
    for mine, theirs in zip(again.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)  # two kernels of SGD


class Refused(Repeated):
    """Says what CUDA says when a step waits while it is recorded."""

    def _record(self, compute):
        raise RuntimeError("operation not permitted when stream is capturing\nand much more")


def test_a_method_that_waits_is_not_recorded(source, monkeypatch):
    monkeypatch.setattr("buarl.fast.recorder.Recorder", Refused)
    message = r"a step of SsNet cannot be recorded, .*\(operation not permitted .* capturing\)$"
    with pytest.raises(ValueError, match=message):
        fit(tiny_method("ss_net", ramp_levels=2), source, tiny_config("ss_net"), record=True)


def test_a_gpu_that_is_full_is_not_taken_for_a_method_that_waits(source, monkeypatch):
    class Full(Repeated):
        def _record(self, compute):
            raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("buarl.fast.recorder.Recorder", Full)
    with pytest.raises(torch.OutOfMemoryError):
        fit(tiny_method("bcp"), source, tiny_config("bcp"), record=True)
