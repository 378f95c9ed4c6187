"""A small table on a real Slurm: jobs are requeued, pre-empted and cancelled, and it comes out whole.

`make test-slurm` runs it; `make test` does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from cluster import cluster, missing
from tiny import write_tiny

from buarl.data.source import open_source
from buarl.results.plan import chains, read_plan, states_of
from buarl.training.checkpoint import load_state
from buarl.training.run import read_run, run_experiment

pytestmark = pytest.mark.skipif("BUARL_SLURM" not in os.environ, reason="make test-slurm runs it")
SET = ["steps=250", "labeled_batch=4", "width=2", "image_size=32,32", "checkpoint_every=10"]
PATIENCE = 900  # seconds; Slurm holds a requeued job for two minutes


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    assert missing() == [], "apt-get install slurm-wlm munge"
    with cluster(tmp_path_factory.mktemp("cluster") / "slurm") as environment:
        yield environment


def until(what, patience: float = PATIENCE):
    """Wait for something that is not false, and return it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError("waited in vain")


def test_a_table_comes_out_complete_though_jobs_are_stopped_in_three_ways(slurm, tmp_path):
    data, out = write_tiny(tmp_path / "data", patients=5), tmp_path / "out"
    words = ["plan", "table", "3", "--preset", "toy", "--readings", "voxel", "--labeled", "2"]
    words += ["--only", "BCP", "URL + CRL"]
    words += ["--seeds", "0", "1", "--source", "acdc", "--root", str(data), "--out", str(out)]
    words += ["--launcher", "slurm", "--jobs", "2", "--slurm", "time=60", "--set", *SET]

    def plan() -> str:
        command = [sys.executable, "-m", "buarl", *words]
        done = subprocess.run(command, env=slurm, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(*command: str) -> str:
        done = subprocess.run(command, env=slurm, capture_output=True, text=True, check=True)
        return done.stdout

    def checkpoint_of(task: int, place: int = 0):
        """The first run of a list, once it has saved something."""
        name = work[task][place]
        return (out / name / "last.pt").is_file() and name

    said = plan()
    assert "4 more are sent" in said
    array = said.split("sent as array ")[1].partition(";")[0]
    planned = read_plan(out)
    work = chains(planned.runs(), planned.root)
    assert len(work) == 4
    assert "4 lists wait or run on the cluster; 0 more are sent" in plan()  # nothing is sent twice

    first = until(lambda: checkpoint_of(0))  # cancelled and requeued by hand
    call("scontrol", "requeue", f"{array}_0")
    second = until(lambda: checkpoint_of(1))  # pre-empted: submitit's signal
    signal = ["scancel", "--signal=USR2", f"{array}_1"]  # it repeats itself: the job is requeued
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(signal, env=slurm, capture_output=True, timeout=4, check=False)
    until(lambda: checkpoint_of(2))  # cancelled for good
    call("scancel", f"{array}_2")
    until(lambda: not call("squeue", "--noheader"))

    states = states_of(out, planned)
    assert all(states[name] == "done" for task in (0, 1, 3) for name in work[task])
    assert any(states[name] != "done" for name in work[2])
    said = plan()
    assert f"job {array}_2 has left the cluster before its end" in said
    assert "1 more are sent" in said
    until(lambda: not call("squeue", "--noheader"))

    assert set(states_of(out, planned).values()) == {"done"}
    summary = (out / "summary.md").read_text()
    assert "4 done of 4 runs" in summary
    assert "2: 0 1" in summary
    assert "Not run" not in summary
    log = "".join(path.read_text() for path in (out / "slurm").glob(f"{array}_1_*_log.*"))
    assert "Calling checkpoint method" in log
    source = open_source("acdc", data)
    for name in (first, second, work[2][0]):
        assert "pretrained" not in read_run(out / name)
        run_experiment(planned.runs()[name], source, tmp_path / name)
        ours, theirs = (load_state(f / name / "last.pt")["method"] for f in (out, tmp_path))
        assert all((ours[key] == theirs[key]).all() for key in theirs)
