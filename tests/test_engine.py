"""Device and precision are chosen or refused; bf16 stays inside the network; files are whole."""

from __future__ import annotations

import copy
import errno
import os
import subprocess
import sys

import pytest
import torch
from tiny import tiny_config, tiny_method, write_tiny
from torch import nn

from buarl.data.acdc import Acdc
from buarl.data.batches import Batches
from buarl.methods import METHODS
from buarl.networks import UNet, VNet
from buarl.regions import whole
from buarl.training import environment as of_training
from buarl.training.checkpoint import load_state, save_state, write_atomic, write_json, write_text
from buarl.training.engine import Engine, choose_engine
from buarl.training.loop import fit

CPU = torch.device("cpu")
BF16 = Engine(CPU, "bf16")


def test_unknown_precision_and_missing_cuda_are_errors(monkeypatch):
    with pytest.raises(ValueError, match="'auto', 'fp32', 'bf16'.*, got 'fp16'"):
        choose_engine("cpu", "fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda:0' asked for"):
        choose_engine("cuda:0")


def test_auto_takes_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_engine().device == CPU


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_fp32_on_every_machine(monkeypatch, native):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert choose_engine("cpu").precision == "fp32"
    assert choose_engine("cpu", "fp32").precision == "fp32"
    assert choose_engine("cpu", "bf16").precision == "bf16"


@pytest.mark.parametrize(("network", "rank"), [(UNet(4, 2), 2), (VNet(2, 2), 3)])
def test_placing_changes_the_layout_and_not_the_result(network, rank):
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[rank]
    engine, image = Engine(CPU, "fp32"), torch.rand(2, 1, *[16] * rank)
    network.eval()
    expected = network(image)
    placed = engine.place(network)
    convolutions = [p for p in placed.parameters() if p.dim() == rank + 2]
    assert all(p.is_contiguous(memory_format=layout) for p in convolutions)
    assert torch.equal(engine.place_image(image), image)
    assert engine.place_image(image).is_contiguous(memory_format=layout)
    torch.testing.assert_close(placed(engine.place_image(image)), expected, atol=1e-5, rtol=1e-4)


def test_autocast_only_with_bf16():
    convolution, image = nn.Conv2d(1, 1, 3), torch.rand(1, 1, 8, 8)
    for precision in ("bf16", "bf16_logits_fp32", "fp32"):
        with Engine(CPU, precision).autocast():
            low = convolution(image).dtype == torch.bfloat16
            assert low == (precision != "fp32")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rank", [2, 3])
def test_logits_can_stay_in_float32_in_every_network_of_every_method(name, rank):
    """Weights, names and fp32 results stay; only the last convolution leaves autocast."""
    image = torch.rand(2, 1, *(16,) * rank)
    method = METHODS[name](UNet(4, 2) if rank == 2 else VNet(2, 2)).eval()
    names, exact = list(method.state_dict()), method.student(image)
    low, high = Engine(CPU, "bf16"), Engine(CPU, "bf16_logits_fp32")
    with low.autocast():
        assert method.student(image).dtype == torch.bfloat16
    placed = copy.deepcopy(high.place(method))
    assert list(placed.state_dict()) == names
    with high.autocast():
        for network in (placed.student, getattr(placed, "teacher", placed.student)):
            assert network(image).dtype == torch.float32
    torch.testing.assert_close(placed.student(image), exact, atol=1e-5, rtol=1e-4)


def test_a_network_without_a_head_is_refused_by_name():
    with pytest.raises(ValueError, match=r"last convolution is called head, found none in Conv2d"):
        Engine(CPU, "bf16_logits_fp32").place(nn.Conv2d(1, 4, 1))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "bcp"])
def test_losses_are_float32_under_bf16(source, name):
    method, batch = tiny_method(name), Batches(source, 2, (32, 32)).batch((0,), 0, 4, 4)
    for stage in method.stages():
        with BF16.autocast():
            output = stage.learners[0].training_step(batch, method.at(9, 10))
        assert output.loss.dtype == torch.float32
        assert all(v.dtype == torch.float32 for v in output.logs.values() if torch.is_tensor(v))
        output.loss.backward()
        assert all(p.grad.dtype == torch.float32 for p in method.student.parameters())


@pytest.mark.parametrize("precision", ["bf16", "bf16_logits_fp32"])
@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "bcp"])
def test_training_in_bf16_runs_and_keeps_float32_weights(source, name, precision):
    method = tiny_method(name)
    result = fit(method, source, tiny_config(name, precision=precision))
    assert all(t.dtype in (torch.float32, torch.int64) for t in method.state_dict().values())
    assert all(torch.isfinite(p).all() for p in method.parameters())
    exact = fit(tiny_method(name), source, tiny_config(name))
    assert result.history != exact.history  # else bf16 was not used
    for low, high in zip(result.history, exact.history, strict=True):
        assert low["student_loss"] == pytest.approx(high["student_loss"], rel=0.1)


# Compiling


@pytest.mark.parametrize("name", ["bcp"])  # two stages, with and without a teacher
def test_a_compiled_training_is_the_same_training(source, name):
    """ "aot_eager" traces and differentiates as "inductor" does, without minutes of C++."""
    rules = {"labeled_rule": whole(), "unlabeled_rule": whole()}  # no percentile, where the last
    plain, compiled = (tiny_method(name, **rules) for _ in range(2))  # digit can move a voxel
    config = tiny_config(name, seed=1)  # where no pseudo-label hangs on the last digit
    fit(plain, source, config)
    fit(compiled, source, config, compiler="aot_eager")
    assert list(plain.state_dict()) == list(compiled.state_dict())  # names fit old checkpoints
    for mine, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


# Files


def failing_half_way(path):
    path.write_text("half of the new o")
    raise RuntimeError("disk full")


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "run.json"
    write_text(path, "old")
    with pytest.raises(OSError, match=r"run\.json: could not be written \(disk full"):
        write_atomic(path, failing_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match=r"new\.json: could not be written \(disk full"):
        write_atomic(tmp_path / "new.json", failing_half_way)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_cannot_be_saved_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    save_state(path, {"step": 1})
    with pytest.raises(Exception, match=r"pickle|lambda"):
        save_state(path, {"step": lambda: 2})
    assert load_state(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_what_was_written_is_as_for_any_new_file(tmp_path, mask, mode):
    write = "from buarl.training.checkpoint import write_text; write_text(sys.argv[1], 'x')"
    code = f"import os, sys; os.umask({mask}); {write}"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_what_is_flushed_may_be_written_as_windows_wants_it(tmp_path, monkeypatch):
    fcntl, flushed = pytest.importorskip("fcntl"), []

    def fsync(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"
    assert len(flushed) == 1


def test_a_gpu_by_its_number_is_made_the_current_one_and_one_that_is_not_there_is_refused(
    monkeypatch,
):
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert choose_engine("cuda:1").device == torch.device("cuda:1")
    assert current == [torch.device("cuda:1")]
    with pytest.raises(ValueError, match="'cuda:9' asked for, but torch sees 2 CUDA GPUs"):
        choose_engine("cuda:9")


def test_the_commit_of_a_checkout_around_an_installed_package_is_not_ours(tmp_path, monkeypatch):
    site = tmp_path / ".venv" / "buarl"
    site.mkdir(parents=True)
    (tmp_path / ".gitignore").write_text(".venv\n")
    (site / "environment.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "theirs"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(of_training, "__file__", str(site / "environment.py"))
    assert of_training.environment()["commit"] == "unknown"
    monkeypatch.setattr(of_training, "__file__", str(tmp_path / ".gitignore"))
    assert len(of_training.environment()["commit"]) == 12


def test_checkpoint_errors_name_the_file(tmp_path):
    path = tmp_path / "last.pt"
    with pytest.raises(ValueError, match=r"last\.pt: no such checkpoint"):
        load_state(path)
    save_state(path, {"weights": torch.arange(4.0)})
    assert torch.equal(load_state(str(path))["weights"], torch.arange(4.0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"last\.pt: damaged, not a whole zip archive"):
        load_state(path)
