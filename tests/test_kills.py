"""Killed at any moment, or refused by the disk, a run resumes to the bits of an undisturbed one.

BUARL_KILLS=100 tries so many kills instead of 12, BUARL_KILL_SEED another series.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import PRESET, write_tiny

from buarl.capsule.parts import PARTS
from buarl.commands import train as of_train
from buarl.commands.main import main
from buarl.methods import METHODS
from buarl.training import checkpoint
from buarl.training.checkpoint import load_state
from buarl.training.config import PRESETS
from buarl.training.run import read_run

KILLS = int(os.environ.get("BUARL_KILLS", 12))
SEED = int(os.environ.get("BUARL_KILL_SEED", random.randrange(10**6)))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WRITES = 12  # files that a run writes at least; more in two stages
HEAVY = ["torch._dynamo", "buarl.commands.main", "buarl.evaluation.validation", "pytest"]
NUMBERS = ["--set", "steps=12", "checkpoint_every=3", "--validate", "4"]


def train(words, log, dies_at=None, how=None):
    """What a process of its own does: train, and send itself a signal at its n-th write."""
    sys.stdout = sys.stderr = log.open("w", buffering=1)
    torch.set_num_threads(1)
    PRESETS["toy"] = PRESET
    of_train.page_of = lambda *_: None  # as `pages` in conftest.py
    writes, fsync = [], os.fsync

    def last_breath(handle):
        writes.append(handle)
        fsync(handle)
        if len(writes) == dies_at:  # the file is written, and not yet under its name
            os.kill(os.getpid(), how)

    checkpoint.os.fsync = last_breath
    sys.exit(main(words))


@pytest.fixture(scope="module")
def start():
    """Start such a process: a server that has imported everything forks it within milliseconds."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("no forkserver on this system")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)

    def started(*arguments):
        process = context.Process(target=train, args=arguments)
        process.start()
        return process

    return started


@pytest.fixture(scope="module")
def row(tmp_path_factory):
    """The words of a row of each method, on two labeled patients."""
    root = write_tiny(tmp_path_factory.mktemp("kills") / "data")
    rules = ["--labeled-rule", "url", "--labeled-percentile", "80", "--seed", "3"]
    words = ["train", "--source", "acdc", "--root", str(root), "--labeled", "2", *rules, *NUMBERS]
    return lambda method: [*words, "--method", method]


@pytest.fixture(scope="module")
def undisturbed(start, row, tmp_path_factory):
    """The folder of an undisturbed run of a method, and how long it took once it had begun."""
    runs, folder = {}, tmp_path_factory.mktemp("undisturbed")

    def get(method):
        if method not in runs:
            out = folder / method
            process = start([*row(method), "--out", str(out)], folder / f"{method}.txt")
            wait_for_begin(out, process)
            begun = time.monotonic()
            process.join()
            assert process.exitcode == 0, (folder / f"{method}.txt").read_text()
            runs[method] = out, time.monotonic() - begun
        return runs[method]

    return get


def wait_for_begin(out, process):
    while not (out / "run.json").is_file() and process.is_alive():
        time.sleep(0.002)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_same_end(out, straight):
    ours, theirs = (load_state(folder / "last.pt") for folder in (out, straight))
    for key in ("position", "method", "history", "pending", "run"):
        assert same(ours[key], theirs[key]), key
    for name, optimizer in theirs["optimizers"].items():  # the learning rate is set at every step
        assert same(ours["optimizers"][name]["state"], optimizer["state"]), name
    for name in PARTS:
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name
    assert read_run(out)["finished"]
    assert not list(out.glob(".*.new"))  # what killed writers left


def kill_plan(rng, number):
    """Method, signal, and when: at the n-th write, or after a part of the whole time."""
    method, how = [*METHODS][number % len(METHODS)], SIGNALS[number % 3]
    if number % 2:
        return method, how, rng.randint(2, WRITES), None
    return method, how, None, rng.random()


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_resumes_to_the_same_bits(start, row, undisturbed, tmp_path, number):
    method, how, write, part = kill_plan(random.Random(SEED + number), number)
    print(f"seed {SEED}, {method}, {how.name}, write {write}, part {part}")
    straight, seconds = undisturbed(method)
    out, log = tmp_path / "a run", tmp_path / "log.txt"
    process = start([*row(method), "--out", str(out)], log, write, how)
    if part is not None:
        wait_for_begin(out, process)
        time.sleep(part * seconds)
        if process.is_alive():
            os.kill(process.pid, how)
    process.join()
    code = process.exitcode
    finished = read_run(out)["finished"]
    assert code in ((0,) if finished and code == 0 else (-how if how == 9 else 128 + how,))
    resume = ["train", "--resume", str(out), "--validate", "4"]
    if code > 0:  # it had time to say how to go on
        said = log.read_text().split("go on with: ")[1].splitlines()[0]
        resume = shlex.split(said)[said.split().index("train") :]
        assert Path(resume[2]) == out
    process = start(resume, log)
    process.join()
    assert process.exitcode == 0, log.read_text()
    assert_same_end(out, straight)


class Full:
    """A disk that is full at the n-th write, and from then on."""

    def __init__(self, monkeypatch, at):
        self.left, fsync = at, os.fsync

        def write(handle):
            self.left -= 1
            if self.left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(handle)

        monkeypatch.setattr(checkpoint.os, "fsync", write)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 9])
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    row, tmp_path, monkeypatch, capsys, at, request
):
    monkeypatch.setitem(PRESETS, "toy", PRESET)
    straight, out = (
        request.getfixturevalue("tmp_path_factory").mktemp("straight") / "r",
        tmp_path / "r",
    )
    assert main([*row("supervised"), "--out", str(straight)]) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        Full(patch, at)
        assert main([*row("supervised"), "--out", str(out)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("buarl: ")]
    assert len(said) == 1
    assert str(out) in said[0]
    assert "could not be written (No space left on device)" in said[0]
    if not list(out.glob("*.pt")):  # nothing to go on from: nothing was left
        assert not out.exists()
        assert main([*row("supervised"), "--out", str(out)]) == 0
    else:
        assert not list(out.glob(".*.new"))
        assert main(["train", "--resume", str(out), "--validate", "4"]) == 0
    assert_same_end(out, straight)
