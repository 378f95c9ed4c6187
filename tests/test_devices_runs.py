"""Whole runs on several devices: in step with one process, stopped, killed, and gone on with."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from processes import free_port, together
from tiny import tiny_config, tiny_method, write_tiny
from torch import nn

import buarl
from buarl.capsule import read_capsule
from buarl.commands.main import main
from buarl.commands.words import program
from buarl.data.acdc import Acdc
from buarl.evaluation.monitor import SHARES
from buarl.methods import METHODS
from buarl.methods.recipe import StagePlan
from buarl.training.checkpoint import load_state
from buarl.training.config import Experiment
from buarl.training.devices import Devices, NotStarted
from buarl.training.loop import StopTraining, fit
from buarl.training.run import read_run, run_experiment

ROOT = Path(__file__).parent.parent
WORDS = ["--source", "acdc", "--labeled", "2", "--seed", "3", "--labeled-rule", "url"]
WORDS += ["--labeled-percentile", "80", "--method", "mean_teacher"]
SET = ["--set", "steps=100", "checkpoint_every=5", "width=2", "image_size=32,32"]
SET += ["labeled_batch=4", "unlabeled_batch=4"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("devices") / "data")


def calm(name):
    """A tiny method whose steps draw nothing but boxes."""
    options = {"noise": 0.0} if name == "mean_teacher" else {}
    method = tiny_method(name, **options)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return method


def stop_after(step):
    def callback(stage, at, method):
        if at.index + 1 == step:
            raise StopTraining

    return callback


def trained_together(group, options, root, folder):
    """Runs in two processes: whole ones, and halves for another number of processes."""
    source, results = Acdc(root), {}
    for name in ("mean_teacher", "bcp"):
        method = calm(name)
        result = fit(method, source, tiny_config(name).shortened(4), group=group)
        results[name] = method.state_dict(), result.history
    config = tiny_config("mean_teacher", checkpoint_every=100).shortened(4)
    out = folder / "two_then_one"
    stop = stop_after(2) if group.first else None
    with pytest.raises(StopTraining):  # asked for in the first process, agreed on by both
        fit(calm("mean_teacher"), source, config, out=out, callback=stop, group=group)
    method = calm("mean_teacher")
    fit(method, source, config, out=folder / "one_then_two", resume=True, group=group)
    results["one_then_two"] = method.state_dict(), []
    return results


def trained_apart(group, options, root):
    """Batch normalization of each device by itself, and what `fit` refuses a group."""
    source, method = Acdc(root), calm("bcp")
    fit(method, source, tiny_config("bcp").shortened(2), group=group)
    group.check_alike(method)
    refused = {}
    for name, change, asked in (
        ("ss_net", {}, {}),
        ("mean_teacher", {"labeled_batch": 3}, {}),
        ("bcp", {"labeled_batch": 2, "unlabeled_batch": 2}, {}),
        ("mean_teacher", {}, {"record": True}),
        ("mean_teacher", {}, {"compiler": "inductor"}),
    ):
        plan = replace(StagePlan(2, 4, 4), **change)
        plans = (replace(plan, unlabeled_batch=0), plan) if name == "bcp" else (plan,)
        config = replace(tiny_config(name), stages=plans)
        try:
            fit(tiny_method(name), source, config, group=group, **asked)
        except ValueError as error:
            refused[name, *change, *asked] = str(error)
    return method.state_dict(), refused


@pytest.fixture(scope="module")
def together_and_alone(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    source, alone = Acdc(root), {}
    for name in ("mean_teacher", "bcp"):
        method = calm(name)
        result = fit(method, source, tiny_config(name).shortened(4))
        alone[name] = method.state_dict(), result.history
    alone["one_then_two"] = alone["two_then_one"] = alone["mean_teacher"]
    for name in ("one_then_two", "two_then_one"):
        (folder / name).mkdir()
    config = tiny_config("mean_teacher", checkpoint_every=100).shortened(4)
    with pytest.raises(StopTraining):
        fit(
            calm("mean_teacher"),
            source,
            config,
            out=folder / "one_then_two",
            callback=stop_after(2),
        )
    both = together(trained_together, folder, {}, root, folder)
    method = calm("mean_teacher")
    fit(method, source, config, out=folder / "two_then_one", resume=True)
    for results in both:
        results["two_then_one"] = method.state_dict(), []
    return alone, both


@pytest.mark.parametrize("run", ["mean_teacher", "bcp", "one_then_two", "two_then_one"])
def test_a_run_of_two_processes_is_that_of_one(together_and_alone, run):
    """From the batches on, through two stages of BCP and a stop: to rounding in float32."""
    alone, both = together_and_alone
    state, history = alone[run]
    for found in both:
        for name, value in state.items():
            if value.is_floating_point():
                assert (found[run][0][name] - value).abs().max() < 1e-4, name
    for ours, theirs in zip(both[0][run][1], history, strict=False):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert all(torch.equal(both[0][run][0][k], both[1][run][0][k]) for k in state)


@pytest.fixture(scope="module")
def apart(root, tmp_path_factory):
    options = {"devices": {"batch_norm": "per_device"}}
    return together(trained_apart, tmp_path_factory.mktemp("apart"), options, root)


def test_batch_normalization_of_each_device_leaves_all_with_the_same_bits(apart, root):
    (first, _), (second, _) = apart
    assert all(torch.equal(first[name], second[name]) for name in first)
    alone = calm("bcp")
    fit(alone, Acdc(root), tiny_config("bcp").shortened(2))
    state = alone.state_dict()
    assert any((first[name] - state[name]).abs().max() > 1e-4 for name in state)


def test_what_several_devices_cannot_train_is_refused_with_a_sentence(apart):
    refused = apart[0][1]
    assert refused == apart[1][1]
    assert "SsNet trains on one device only: its memory" in refused["ss_net",]
    said = refused["mean_teacher", "labeled_batch"]
    assert "labeled_batch must be a multiple of the 2 devices, got 3; --set labeled_batch=4" in said
    said = refused["bcp", "labeled_batch", "unlabeled_batch"]
    assert "on each of 2 devices labeled_batch must be even" in said
    assert "record is for one device only" in refused["mean_teacher", "record"]
    assert "compiler is for one device only" in refused["mean_teacher", "compiler"]


# --- From the command line ------------------------------------------------------------------------


def started(words, cwd, stdout=subprocess.DEVNULL, **environment):
    """`buarl WORDS` in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "BUARL_LAUNCHED")}
    clean |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "buarl", *words],
        cwd=cwd,
        env=clean,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path, *processes):
    end = time.monotonic() + 120
    while not path.is_file() and all(p.poll() is None for p in processes):
        assert time.monotonic() < end
        time.sleep(0.01)


def children(process):
    """The processes that one has started, in this order."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True)
    pairs = [map(int, line.split()) for line in listed.stdout.splitlines()[1:]]
    return sorted(pid for pid, parent in pairs if parent == process.pid)


posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and ps")


@posix
def test_a_killed_process_ends_the_run_with_a_message_and_it_resumes_with_one(
    root, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where the command is typed decides how the program is called
    words = ["train", *WORDS, "--root", str(root), *SET, "--out", "run", "--devices", "2"]
    run = started(words, tmp_path)
    wait_for(tmp_path / "run" / "last.pt", run)
    os.kill(children(run)[1], signal.SIGKILL)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 2
    assert "buarl: process 1 of 2 was killed by SIGKILL, so the others ended too" in said
    way_on = said.split("with these devices or others: ")[1].splitlines()[0]
    assert way_on == f"{program()} train --resume run --root {root} --devices 2"
    assert "Traceback" not in said
    done = load_state(tmp_path / "run" / "last.pt")["position"][1]
    assert 0 < done < 100
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    check_whole(tmp_path / "run", 100)


def check_whole(run, steps):
    """A finished capsule whose parts were written once, by one process."""
    capsule = read_capsule(run)
    assert capsule.run["finished"]
    assert [row["step"] for row in capsule.history][-1] == steps
    for rows in (capsule.history, capsule.premise, capsule.calibration, capsule.validation):
        assert len(set(map(str, rows))) == len(rows)
    watched = {row["step"] for row in capsule.premise}
    assert watched == {max(1, round(share * steps)) for share in SHARES}
    assert capsule.ids["labeled"]
    assert list(capsule.slices.steps) == sorted(watched)


@posix
def test_the_first_process_alone_watches_prints_and_writes(root, tmp_path):
    words = ["train", *WORDS, "--root", str(root), *SET, "steps=4", "--out", "run"]
    words.remove("steps=100")
    words += ["--devices", "2", "--validate", "2", "--memory-budget", "1KB"]
    run = started(words, tmp_path, stdout=subprocess.PIPE)
    printed, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    next_command, page = printed.splitlines()
    assert next_command.startswith("trained in ")
    assert (tmp_path / page).is_file()
    check_whole(tmp_path / "run", 4)
    assert {row["step"] for row in read_capsule(tmp_path / "run").validation} == {2, 4}


@posix
def test_ctrl_c_before_the_first_step_ends_all_without_a_traceback(root, tmp_path):
    words = ["train", *WORDS, "--root", str(root), *SET, "--out", "run", "--devices", "2"]
    run = started(words, tmp_path)
    end = time.monotonic() + 60
    while len(children(run)) < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)  # they load torch for seconds, and cannot answer yet
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert children(run) == []


@posix
def test_two_machines_stop_together_on_a_signal_to_one_and_save(root, tmp_path):
    """Two commands as on two machines, each with one device, that meet on this one."""
    words = ["train", *WORDS, "--root", str(root), *SET, "--out", "run", "--nodes", "2"]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    if sys.platform == "linux":
        meet["GLOO_SOCKET_IFNAME"] = "lo"
    both = [started(words, tmp_path, NODE_RANK=str(number), **meet) for number in (0, 1)]
    wait_for(tmp_path / "run" / "last.pt", *both)
    both[1].send_signal(signal.SIGTERM)
    said = [each.communicate(timeout=300)[1] for each in both]
    assert both[1].returncode == 143, said
    assert "interrupted, saved after the last step" in said[0]
    assert "--nodes 2" in said[0]
    state, run = load_state(tmp_path / "run" / "last.pt"), read_run(tmp_path / "run")
    assert 0 < state["position"][1] < 100
    assert run["environment"]["devices"] == 2
    assert not run["finished"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--devices", "0"], "devices must lie in 1-1024, got 0"),
        (
            ["--devices", "2", "--device", "cuda:1"],
            "device must be auto, cpu or cuda where several",
        ),
        (
            ["--nodes", "2"],
            "--nodes 2 needs MASTER_ADDR, MASTER_PORT, NODE_RANK in the environment",
        ),
    ],
)
def test_mistakes_are_one_sentence_before_anything_starts(capsys, tmp_path, words, said):
    assert main(["train", "--out", str(tmp_path / "run"), *words]) == 2
    assert capsys.readouterr().err.startswith(f"buarl: {said}")
    assert not (tmp_path / "run").exists()


def test_a_number_of_the_machine_out_of_range_is_one_sentence(monkeypatch, capsys, tmp_path):
    for name, value in (("MASTER_ADDR", "x"), ("MASTER_PORT", "1"), ("NODE_RANK", "2")):
        monkeypatch.setenv(name, value)
    assert main(["train", "--out", str(tmp_path / "run"), "--nodes", "2"]) == 2
    assert "NODE_RANK must lie in 0 to 1, got '2'" in capsys.readouterr().err


def test_a_notebook_begins_the_folder_and_says_what_to_type(root, tmp_path, monkeypatch):
    row = Experiment(
        method="mean_teacher",
        labeled=2,
        source="acdc",
        set={"steps": 2, "width": 2, "image_size": [32, 32]},
    )
    out = tmp_path / "my run"
    with pytest.raises(NotStarted) as caught:
        run_experiment(row, Acdc(root), out, devices=Devices(2))
    (said,) = caught.value._render_traceback_()  # a notebook shows no more
    command = said.split("type in a terminal: ")[1]
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "buarl", "train"]
    assert words[4:] == ["--resume", str(out), "--devices", "2"]
    assert json.loads((out / "run.json").read_text())["experiment"] == row.as_dict()
    assert main([*words[3:6], "--root", str(root)]) == 0  # and one device can do it as well
    assert read_run(out)["finished"]


def test_without_the_extra_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(
        ValueError, match=r"--require-hashes --no-deps -r requirements-devices\.txt"
    ):
        Devices(2, device="cpu").join()


def test_one_device_imports_no_lightning():
    """The base install has none."""
    code = (
        "import sys; sys.modules['lightning'] = None; import buarl.training.run, "
        "buarl.commands.main; from buarl.training.devices import Devices; Devices().join()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_file_of_the_extra_has_a_checksum():
    text = (ROOT / "requirements-devices.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pins = {}
    for line in lines:
        named, *hashes = line.split("--hash=")
        pinned = Requirement(named)
        assert re.fullmatch(r"==[\d.]+", str(pinned.specifier)), line
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", each) for each in hashes), line
        pins[pinned.name] = str(pinned.specifier).removeprefix("==")
    assert {"lightning", "pytorch-lightning", "lightning-utilities", "torchmetrics"} <= pins.keys()
    assert f"lightning=={pins['lightning']} " in (ROOT / "requirements.txt").read_text()
    assert pins["lightning"] not in ("2.6.2", "2.6.3")  # they stole credentials


def test_every_method_trains_on_several_devices_or_says_why_not():
    assert {name for name, kind in METHODS.items() if kind.one_device_only} == {"ss_net"}
    assert buarl.methods.base.Method.one_device_only == ""
