"""Ctrl-C and SIGTERM: every command ends in order, with its own advice, and what it advises works."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from raw_files import image_of, label_of, write_nifti
from tiny import PRESET, write_tiny

import benchmarks.__main__ as bench
from buarl.commands.main import main
from buarl.commands.words import program, python_module
from buarl.training.config import PRESETS

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "toy", PRESET)
    return tmp_path


def stopped_at(monkeypatch, place, number, after=0):
    """The function at `place` works so many times, then a signal comes instead."""
    module, name = place.rsplit(".", 1)
    __import__(module)
    real, calls = getattr(sys.modules[module], name), []

    def stopped(*args, **kwargs):
        calls.append(args)
        if len(calls) > after:
            os.kill(os.getpid(), number)
            time.sleep(30)  # the signal comes within
        return real(*args, **kwargs)

    monkeypatch.setattr(sys.modules[module], name, stopped)


WHERE = {  # command: where it is stopped, and what it then says
    "convert folder images out": (
        "buarl.files.convert_folder.convert_folder",
        "interrupted, and out was not made; start again with: {}",
    ),
    "evaluate runs/a": (
        "buarl.evaluation.score.score_run",
        "interrupted; nothing was written; start again with: {}",
    ),
    "predict runs/a images out": (
        "buarl.files.predict_files.load_model",
        "interrupted before a mask was written; start again with: {}",
    ),
    "fetch la --accept-terms --out data": (
        "buarl.files.fetch.fetch_la",
        "interrupted; finished files stay in data; go on with: {}",
    ),
    "demo --figures pictures": (
        "buarl.lessons.demo.run_demo",
        "interrupted; the demo keeps no unfinished training; start again with: {}",
    ),
    "doctor": (
        "buarl.files.doctor.report",
        "interrupted; doctor only looks, so nothing has changed; look again with: {}",
    ),
    "speedrun --out runs/a": (
        "buarl.results.speedrun.run_speedrun",
        "interrupted before anything was begun; start again with: {}",
    ),
    "train --out 'runs/a b'": (
        "buarl.training.run.run_experiment",
        "interrupted before anything was begun",
    ),
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", WHERE)
def test_every_command_gives_its_own_advice(words, number, monkeypatch, capsys):
    place, said = WHERE[words]
    stopped_at(monkeypatch, place, number)
    before = [signal.getsignal(each) for each in SIGNALS]
    if words.startswith("train"):  # in a training the first signal waits for the end of the step
        monkeypatch.setattr("buarl.commands.interruption.StopOnSignal._ask", lambda *_: 1 / 0)
        monkeypatch.setattr("buarl.commands.train.StopOnSignal.__enter__", lambda self: self)
        monkeypatch.setattr("buarl.commands.train.StopOnSignal.__exit__", lambda *_: None)
    code = main(shlex.split(words))
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1] == "buarl: " + said.format(f"{program()} {words}")
    assert "Traceback" not in "".join(printed)
    if not words.startswith("train"):
        assert code == SIGNALS[number]
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_the_benchmarks_say_that_nothing_was_written(number, monkeypatch, capsys):
    stopped_at(monkeypatch, "benchmarks.__main__.run_bench", number)
    assert bench.main(["--quick"]) == SIGNALS[number]
    said = capsys.readouterr().err
    assert said.startswith("benchmarks: interrupted; times are written at the end, so none were")
    assert said.endswith(f"start again with: {python_module('benchmarks')} --quick\n")


def test_masks_that_were_written_are_counted_and_the_advice_writes_the_rest(
    here, monkeypatch, capsys
):
    write_tiny(here / "data")
    words = ["--source", "acdc", "--root", "data", "--labeled", "2", "--method", "supervised"]
    assert main(["train", *words, "--out", "runs/a"]) == 0
    for number in range(3):
        write_nifti(here / "images" / f"p{number}.nii.gz", image_of(number))
    with monkeypatch.context() as patch:
        stopped_at(patch, "buarl.files.predict_files._predict_file", signal.SIGTERM, after=1)
        capsys.readouterr()
        assert main(["predict", "runs/a", "images", "masks"]) == 143
    said = capsys.readouterr().err
    assert "interrupted; the masks of 1 image are written, whole; to write all: " in said
    assert [path.name for path in (here / "masks").iterdir()] == ["p0_seg.nii.gz"]
    advice = shlex.split(said.split("to write all: ")[1])
    assert main(advice[advice.index("predict") :]) == 0
    assert len(list((here / "masks").iterdir())) == 3


def test_a_conversion_that_is_terminated_leaves_nothing_behind(here):
    """A process of its own, as a shell or a cluster ends it."""
    for number in range(60):
        write_nifti(here / "images" / f"p{number}.nii.gz", image_of(number))
        write_nifti(here / "images" / f"p{number}_gt.nii.gz", label_of(number, 3))
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "buarl", "convert", "folder", "images", "out"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    end = time.monotonic() + 120
    while not list(here.glob(".*out*")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143, said
    assert said.startswith("buarl: interrupted, and out was not made; start again with: ")
    assert [path.name for path in here.iterdir()] == ["images"]


def test_the_demo_ends_its_processes_without_a_word_of_theirs(here):
    """Ctrl-C in a terminal reaches the whole group of processes."""
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "buarl", "demo", "--threads", "2", "--figures", "out"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    psutil = pytest.importorskip("psutil")
    end = time.monotonic() + 120
    group = []
    while len(group) < 2 and process.poll() is None and time.monotonic() < end:
        group = [
            p
            for p in psutil.Process(process.pid).children(recursive=True)
            if "spawn_main" in " ".join(p.cmdline())
        ]
        time.sleep(0.05)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.rstrip().endswith(f"{program_of(said)} demo --threads 2 --figures out")
    psutil.wait_procs(group, timeout=20)
    assert not [p for p in group if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def program_of(said):
    return said.split("start again with: ")[1].split(" demo")[0]
