"""Apple's GPU has no float64: no method computes with it, in training or prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_config, tiny_method, write_tiny
from torch.utils._python_dispatch import TorchDispatchMode

from buarl.commands.main import main
from buarl.components import largest_component
from buarl.data.acdc import Acdc
from buarl.data.batches import Batches
from buarl.entropy import entropy_of_probs, entropy_threshold, uncertain_mask
from buarl.evaluation.predict import predict_slices, predict_windows
from buarl.fast.resident import ResidentBatches
from buarl.fast.union_find import largest_component_on_device
from buarl.methods import METHODS
from buarl.methods.signed_distance.maps import signed_distance, signed_distance_on_device
from buarl.networks import UNet, VNet
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.engine import Engine, choose_engine
from buarl.training.loop import _training_batches, fit

MPS = torch.device("mps")


class NoFloat64(TorchDispatchMode):
    """A device without float64: every operation that yields such a tensor fails."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.empty.memory_format:
            return result  # scratch of the CPU's batch norm; whatever fills one is seen
        for each in result if isinstance(result, list | tuple) else [result]:
            if isinstance(each, torch.Tensor) and each.dtype == torch.float64:
                raise TypeError(f"{func}: float64 does not exist here")
        return result


@pytest.fixture
def as_on_mps(monkeypatch):
    """What asks for the widest float is told float32, as there."""
    for module in ("entropy", "methods.signed_distance.maps"):
        monkeypatch.setattr(f"buarl.{module}.widest_float", lambda device: torch.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


def test_the_guard_notices_float64():
    with NoFloat64(), pytest.raises(TypeError, match="float64 does not exist"):
        torch.zeros(2).double()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_predicts_without_float64(name, source, as_on_mps):
    config = tiny_config(name)
    config = config.shortened(3)
    method = tiny_method(name)
    with NoFloat64():
        fit(method, source, config, device="cpu")
        predict_slices(method.student, source.volume("p91_frame01").image, (32, 32))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_steps_through_volumes_without_float64(name, semi_3d, as_on_mps):
    row = Experiment(
        name, source="phantom_la", labeled=4, set={"width": 2, "image_size": [32, 16, 16]}
    )
    method = build_method(row, 2, config=config_for(row))
    with NoFloat64():
        for learner in method.stages()[-1].learners:
            learner.training_step(semi_3d, method.at(90, 100)).loss.backward()
        predict_windows(method.student, np.zeros((33, 16, 16), np.float32), (32, 16, 16), (16,) * 3)


def test_what_only_a_device_runs_needs_no_float64_either(as_on_mps):
    label = torch.randint(3, (2, 24, 20))
    probs = torch.randn(2, 3, 24, 20).softmax(1)
    with NoFloat64():
        ours = signed_distance_on_device(label, 3, background=True)
        kept = largest_component_on_device(label, 3)
        entropy = entropy_of_probs(probs)
        threshold, mask = entropy_threshold(entropy, 95), uncertain_mask(entropy, 95)
    torch.testing.assert_close(ours, signed_distance(label, 3), atol=1e-6, rtol=1e-6)
    assert torch.equal(kept, largest_component(label, 3))
    assert threshold.dtype == torch.float32
    assert torch.equal(mask, entropy > threshold)


def test_batches_stay_on_the_host_for_it(source):
    """Those that are cut out on a GPU need float64."""
    config = tiny_config("mean_teacher")
    assert type(_training_batches(source, config, MPS)) is Batches
    assert type(_training_batches(source, config, torch.device("cpu"))) is Batches
    with NoFloat64(), pytest.raises(TypeError, match="float64"):
        ResidentBatches(Batches(source, 2, (32, 32)), torch.device("cpu")).batch((0,), 0, 2, 2)


def test_mps_is_accepted_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_engine("mps") == Engine(MPS, "fp32")
    assert choose_engine().device.type == "cpu"  # auto does not choose it: nobody has run it


def test_mps_is_refused_where_there_is_none(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert main(["train", "--device", "mps", "--out", str(tmp_path / "run")]) == 2
    assert "device 'mps' asked for, but torch sees no Apple GPU" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda, cuda:N or mps, got 'xp"):
        choose_engine("xpu")


@pytest.mark.parametrize("network", [UNet(4, 2), VNet(2, 2)])
def test_nothing_is_laid_out_channels_last_for_it(network):
    rank = {4: 2, 5: 3}[max(p.dim() for p in network.parameters())]
    engine = Engine(torch.device("cpu"), "fp32")
    object.__setattr__(engine, "device", MPS)
    assert engine._layout(rank == 3) == torch.contiguous_format
