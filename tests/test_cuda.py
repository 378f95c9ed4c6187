"""On a CUDA GPU: the values of the CPU, no step that waits, recorded steps, whole trainings.

Skipped where there is none; tests/test_capture.py checks there what can be checked without.
"""

from __future__ import annotations

import math

import pytest
import torch
from conftest import make_semi_batch
from tiny import Cut, apart, same_weights, tiny_config, tiny_method, write_tiny

from buarl.components import largest_component
from buarl.data.acdc import Acdc
from buarl.data.batches import Batches
from buarl.dice import DICES
from buarl.entropy import entropy_of_probs, entropy_threshold, uncertain_mask
from buarl.evaluation.predict import predict_slices, predict_windows
from buarl.fast.resident import ResidentBatches
from buarl.losses import region_loss
from buarl.methods import METHODS
from buarl.methods.base import Adam, Step
from buarl.methods.signed_distance.maps import signed_distance
from buarl.networks import UNet, VNet
from buarl.regions import crl, whole
from buarl.training.loop import _Training, fit

GPU = torch.device("cuda")
RECORDED = [name for name, kind in METHODS.items() if kind.recordable]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """float32 is float32: no TF32 in convolutions."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def probs(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *shape, generator=generator).mul(3).softmax(1)


@pytest.mark.parametrize("shape", [(4, 256, 256), (2, 64, 64, 48)])
@pytest.mark.parametrize("scope", ["batch", "image"])
def test_percentile_and_mask(shape, scope):
    entropy = entropy_of_probs(probs(*shape))
    for percentile in (50, 95, 99):
        ours = uncertain_mask(entropy.to(GPU), percentile, scope)
        assert torch.equal(ours.cpu(), uncertain_mask(entropy, percentile, scope))
        threshold = entropy_threshold(entropy.to(GPU), percentile, scope)
        assert torch.equal(threshold.cpu(), entropy_threshold(entropy, percentile, scope))


@pytest.mark.parametrize("shape", [(4, 96, 96), (3, 40, 36, 24)])
def test_components_and_distances(shape):
    coarse = probs(shape[0], *[n // 4 for n in shape[1:]]).argmax(1)
    for axis in range(1, coarse.dim()):
        coarse = coarse.repeat_interleave(4, axis)
    ours = largest_component(coarse.to(GPU), shape[0])
    assert torch.equal(ours.cpu(), largest_component(coarse, shape[0]))
    ours = signed_distance(coarse.to(GPU), shape[0])
    assert torch.equal(ours.cpu(), signed_distance(coarse, shape[0]))


@pytest.mark.parametrize("reduction", ["region", "voxel"])
@pytest.mark.parametrize("dice", DICES)
def test_loss_and_gradient(reduction, dice):
    logits, results = probs(4, 64, 64).log(), []
    target = probs(4, 64, 64).flip(0).argmax(1)
    for device in ("cpu", GPU):
        there = logits.to(device).requires_grad_()
        regions = crl(90)(there.detach().softmax(1))
        loss = region_loss(there, target.to(device), regions, reduction=reduction, dice=DICES[dice])
        loss.backward()
        results.append((loss.detach().cpu(), there.grad.cpu()))
    for ours, exact in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-7)


def test_batches_are_the_same_bits(source):
    batches = Batches(source, 2, (32, 32))
    resident = ResidentBatches(batches, GPU)
    for step in range(6):
        for ours, exact in zip(
            resident.batch((1,), step, 4, 4), batches.batch((1,), step, 4, 4), strict=True
        ):
            assert torch.equal(ours.cpu(), exact)


@pytest.mark.parametrize("rank", [2, 3])
def test_predictions(rank):
    torch.manual_seed(0)
    network = (UNet(4, 4) if rank == 2 else VNet(2, 4)).eval()
    volume = torch.rand(6, 40, 36).numpy() if rank == 2 else torch.rand(40, 36, 24).numpy()
    results = []
    for device in ("cpu", GPU):
        network = network.to(device)
        results.append(
            predict_slices(network, volume, (32, 32))
            if rank == 2
            else predict_windows(network, volume, (32, 32, 16), (16, 16, 8))
        )
    (exact, entropy), (ours, ours_entropy) = results
    assert (ours != exact).mean() < 1e-3
    torch.testing.assert_close(
        torch.from_numpy(ours_entropy), torch.from_numpy(entropy), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_training_waits_for_nothing_and_learns(name, precision, source, monkeypatch):
    method = tiny_method(name, optimizer=Adam(0.01))
    config = tiny_config(name, precision=precision).shortened(40)
    plain = _Training.step

    def step(run, *place):
        torch.cuda.set_sync_debug_mode("default" if name == "ss_net" else "error")
        try:
            plain(run, *place)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(_Training, "step", step)
    history = fit(method, source, config, device="cuda").history
    losses = [row["student_loss"] for row in history if row["stage"] == history[0]["stage"]]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_training_is_the_training(name, source):
    """Kernels that add in any order move the last digits, and steps carry them on."""
    options = {} if name in ("supervised", "bcp") else {"ramp_levels": 2}
    written, recorded = (tiny_method(name, **options) for _ in range(2))
    config = tiny_config(name, precision="fp32")
    fit(written, source, config, device="cuda")
    fit(recorded, source, config, device="cuda", record=True)
    assert apart(recorded, written) < 0.05


def test_a_compiled_and_recorded_training_is_the_training(source):
    """On a CPU the two are 1e-6 apart."""
    rules = {"labeled_rule": whole(), "unlabeled_rule": whole()}  # no percentile to hang on
    written, compiled = (tiny_method("bcp", **rules) for _ in range(2))
    config = tiny_config("bcp", seed=1)
    torch.compiler.reset()
    fit(written, source, config, device="cuda")
    with torch._inductor.config.patch(fallback_random=True):  # else it draws its own dropout
        fit(compiled, source, config, device="cuda", compiler="inductor", record=True)
    assert apart(compiled, written) < 0.05


@pytest.mark.parametrize("rank", [2, 3])
def test_a_recorded_step_draws_anew(rank):
    """Dropout, boxes and noise of a repetition are those of its own seed."""
    from buarl.fast.recorder import Recorder

    batch = make_semi_batch(4, 4 if rank == 2 else 2, (32,) * rank).to(GPU)
    method = tiny_method("bcp", None if rank == 2 else VNet(2, 2), labeled_reduction="region")
    method.to(GPU).train()

    def compute(batch):
        with torch.no_grad():
            return {"loss": method.training_step(batch, Step(0, 1)).loss}

    recorder, losses = Recorder(GPU, "Bcp"), {}
    for seed in (1, 2, 3, 2, 3):
        torch.manual_seed(seed)
        losses.setdefault(seed, []).append(float(recorder(compute, batch, ())["loss"]))
    assert len({losses[1][0], losses[2][0], losses[3][0]}) == 3
    for seed in (2, 3):
        assert losses[seed][1] == pytest.approx(losses[seed][0], rel=1e-4)


def test_a_cut_run_goes_on_from_its_file(source, tmp_path):
    config = tiny_config("bcp", seed=1, checkpoint_every=5)

    def cut(stage, step, method):
        if (stage, step.index) == ("selftrain", 6):
            raise Cut

    with pytest.raises(Cut):
        fit(tiny_method("bcp"), source, config, device="cuda", out=tmp_path, callback=cut)
    method = tiny_method("bcp")
    result = fit(method, source, config, device="cuda", out=tmp_path, resume=True, record=True)
    assert result.history[-1]["step"] == 14
    assert not same_weights(method.student, tiny_method("bcp").student)
