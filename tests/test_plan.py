"""A plan runs what is missing and nothing twice, shares what it may, and names what failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import Cut, cut_after, write_tiny

from buarl.capsule import CASES, read_capsule
from buarl.commands import launch, slurm
from buarl.commands.launch import launch_local
from buarl.commands.main import main
from buarl.evaluation.protocols import BEST, Selection, read_validated, score_selected
from buarl.evaluation.scores import summary
from buarl.results import work
from buarl.results.measured import read_results
from buarl.results.plan import (
    PROGRESS,
    Plan,
    chains,
    check_kept,
    read_plan,
    states_of,
    write_plan,
)
from buarl.results.progress import seconds_left
from buarl.results.work import failures, work_on, write_summary
from buarl.training.checkpoint import load_state
from buarl.training.config import config_for
from buarl.training.run import read_run, run_experiment

TINY = {"steps": 6, "labeled_batch": 4, "width": 2, "image_size": [32, 32], "checkpoint_every": 2}
WORDS = ["steps=6", "labeled_batch=4", "width=2", "image_size=32,32", "checkpoint_every=2"]


@pytest.fixture
def data(tmp_path):
    return write_tiny(tmp_path / "data", patients=5)


@pytest.fixture
def plan(data):
    """Table 3 under one reading: BCP and CRL share a stage 1, URL and URL + CRL another."""
    return Plan(
        ("3",), preset="toy", readings=("voxel",), labeled=2, seeds=(0,), source="acdc",
        set=TINY, validate=2, root=str(data),
    )  # fmt: skip


def do(out: Path, plan: Plan, **more) -> int:
    write_plan(out, plan)
    return sum(work_on(out, task, **more) for task in range(len(chains(plan.runs(), plan.root))))


def bits(path: Path) -> dict[str, torch.Tensor]:
    return load_state(path)["method"]


def same(ours: Path, theirs: Path) -> bool:
    a, b = bits(ours), bits(theirs)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_time_of_a_stage_that_nobody_has_seen_is_taken_by_its_images(plan, tmp_path):
    runs = plan.runs()
    first, stages = next(iter(runs)), config_for(next(iter(runs.values()))).stages
    assert seconds_left(tmp_path, plan, dict.fromkeys(runs, "missing")) is None
    (tmp_path / first).mkdir()
    (tmp_path / first / PROGRESS).write_text(json.dumps({"stages": [[3, 6.0], [0, 0.0]]}))
    of_pretraining, of_selftraining = 2.0, 2.0 / 4 * (4 + stages[1].unlabeled_batch)
    assert stages[0].labeled_batch + stages[0].unlabeled_batch == 4
    left = seconds_left(tmp_path, plan, {**dict.fromkeys(runs, "missing"), first: "running"})
    two_lists_of_two = (3 + 6) * of_pretraining + 4 * 6 * of_selftraining
    assert left == pytest.approx(two_lists_of_two)


def test_a_table_is_run_once_and_what_it_shares_changes_no_bit(plan, tmp_path, data):
    out = tmp_path / "out"
    assert do(out, plan) == 0
    runs = plan.runs()
    assert set(states_of(out, plan).values()) == {"done"}
    lent = [name for name in runs if "pretrained" in read_run(out / name)]
    assert len(lent) == 2
    source = work.open_source("acdc", data)
    for name in lent:
        run_experiment(runs[name], source, tmp_path / name)  # trains both stages
        assert same(tmp_path / name / "last.pt", out / name / "last.pt")
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert do(out, plan) == 0
    after = {path: path.stat().st_mtime_ns for path in out.glob("*.json") if path.stem != "plan"}
    assert after == {path: when for path, when in before.items() if path.stem != "plan"}


def test_a_row_that_two_tables_share_is_one_run(plan):
    both = replace(plan, what=("3", "4"))
    names = set(plan.runs())
    assert len(names) == 4
    assert len(both.runs()) == 7  # of 4 + 4, URL + CRL is in both
    assert names < set(both.runs())
    for seed in (0, 1):
        assert len(replace(plan, seeds=tuple(range(seed + 1))).runs()) == 4 * (seed + 1)


@pytest.mark.parametrize(("stage", "index"), [("pretrain", 3), ("selftrain", 0), ("selftrain", 4)])
def test_a_cut_off_run_goes_on_bit_for_bit(plan, tmp_path, stage, index):
    plan, out = replace(plan, only=("BCP", "CRL")), tmp_path / "out"
    whole = tmp_path / "whole"
    do(whole, plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "Progress", lambda folder, inner: _both(inner, cut_after(stage, index)))
        for task in range(len(chains(plan.runs(), plan.root))):  # the power fails in each
            write_plan(out, plan)
            with pytest.raises(Cut):
                work_on(out, task)
    assert "done" not in states_of(out, plan).values()
    assert do(out, plan) == 0
    for name in plan.runs():
        assert same(out / name / "last.pt", whole / name / "last.pt")
        for file in (CASES, "validation.csv", "metrics_val.csv", "metrics_val_paper.csv"):
            ours = (out / name / file).read_text()
            theirs = (whole / name / file).read_text()
            assert [x for x in ours.splitlines() if "pretrain" not in x] == [
                x for x in theirs.splitlines() if "pretrain" not in x
            ]


def _both(inner, cut):
    """The real callback, then the power cut."""

    class Callback:
        def __call__(self, *given):
            inner(*given)
            cut(*given)

        begin, flush = inner.begin, inner.flush

    return Callback()


def test_a_killed_run_without_a_word_begins_anew(plan, tmp_path):
    plan, out = replace(plan, only=("BCP",)), tmp_path / "out"
    (name,) = plan.runs()
    (out / name).mkdir(parents=True)
    (out / name / ".lock").touch()
    assert states_of(out, plan) == {name: "cut off"}
    assert do(out, plan) == 0


def test_a_failed_cell_is_named_with_its_log_and_costs_no_other(plan, tmp_path, monkeypatch):
    out, runs = tmp_path / "out", list(plan.runs())
    real = work.train_and_score

    def fail(out, name, *rest):
        if name == runs[0]:
            raise FloatingPointError("the loss must stay finite, got nan")
        real(out, name, *rest)

    monkeypatch.setattr(work, "train_and_score", fail)
    assert do(out, plan) == 1
    states = states_of(out, plan)
    assert states == {name: "failed" if name == runs[0] else "done" for name in runs}
    (line,) = failures(out, states)
    log = out / "failed" / f"{runs[0]}.log"
    assert line == f"{runs[0]}: FloatingPointError: the loss must stay finite, got nan ({log})"
    assert "Traceback" in log.read_text()
    summary_text = (out / "summary.md").read_text()
    assert "3 done, 1 failed" in summary_text
    assert str(log) in summary_text
    monkeypatch.setattr(work, "train_and_score", real)
    assert do(out, plan) == 0
    assert not log.exists()
    assert "### Failed" not in (out / "summary.md").read_text()


def test_no_test_case_is_opened_before_the_final_evaluation(plan, tmp_path, data, monkeypatch):
    """Its file is not there while both protocols train and select."""
    plan = replace(plan, only=("BCP",), split="test")
    case, hidden = data / "data" / "p92_frame01.h5", tmp_path / "hidden.h5"
    case.rename(hidden)
    real = work.score_run

    def bring_back(*given, **more):
        assert (tmp_path / "out" / name / BEST).is_file()  # all that is selected is selected
        hidden.rename(case)
        return real(*given, **more)

    monkeypatch.setattr(work, "score_run", bring_back)
    (name,) = plan.runs()
    assert do(tmp_path / "out", plan) == 0
    entry = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert {row["case"] for row in entry["cases"]} == {"p92_frame01"}
    assert {row["case"] for row in entry["paper"]["cases"]} == {"p92_frame01"}
    assert entry["selection"].startswith("last checkpoint; no validation or test case")


@pytest.fixture
def trained(plan, tmp_path, data):
    """A run with its validations."""
    (name,) = replace(plan, only=("URL + CRL",)).runs()
    row, folder = plan.runs()[name], tmp_path / "trained"
    source = work.open_source("acdc", data)
    selection = Selection(source, config_for(row), folder, every=2)
    run_experiment(row, source, folder, callback=selection)
    selection.finish()
    return row, source, folder


def test_the_paper_s_protocol_takes_the_best_validation_of_the_last_stage(trained, data):
    row, _, folder = trained
    curve = {}
    for line in (folder / "validation.csv").read_text().splitlines():
        stage, *rest = line.split(",")
        if stage == "selftrain":
            curve[int(rest[0])] = float(rest[1])
    best = load_state(folder / BEST)
    step = max(curve, key=lambda step: (curve[step], -step))
    assert (best["step"], round(best["dice"], 5)) == (step, round(curve[step], 5))
    rows, note, *_ = score_selected(folder, data)
    assert summary(rows)["dice"] == pytest.approx(curve[step], abs=1e-5)
    assert f"after step {step} of stage selftrain" in note
    assert "protocol paper" in note
    assert "flatters" in note
    assert f"seed {row.seed}" in note
    last = [line for line in read_validated(folder) if line.step == 6 and line.network == "teacher"]
    assert {line.class_name for line in last} == {"RV", "myocardium", "LV"}


def test_evaluate_scores_the_protocol_of_the_lineage(trained, data, capsys):
    _, _, folder = trained
    assert main(["evaluate", str(folder), "--protocol", "paper"]) == 0
    said = capsys.readouterr().out
    assert "protocol paper: student with the best validation Dice" in said
    assert f"per case: {folder / 'metrics_val_paper.csv'}" in said
    assert not (folder / "metrics_val.csv").exists()
    assert main(["evaluate", str(folder), "--protocol", "paper", "--send-back", "probs"]) == 2
    assert "--send-back belongs to protocol honest alone" in capsys.readouterr().err
    (folder / BEST).unlink()
    assert main(["evaluate", str(folder), "--protocol", "paper"]) == 2
    assert "needs a run with validations (train --validate)" in capsys.readouterr().err


def test_the_best_student_is_one_that_the_checkpoint_covers(plan, tmp_path, data):
    """Killed between two checkpoints, a run forgets what it validated since, and so does this."""
    (name,) = replace(plan, only=("BCP",)).runs()
    row, source = plan.runs()[name], work.open_source("acdc", data)
    row = replace(row, set={**row.set, "checkpoint_every": 4})
    selection = Selection(source, config_for(row), tmp_path / "run", every=2)
    seen = {}

    def callback(stage, step, method):
        selection(stage, step, method)
        selection.collect()
        seen[stage, step.index + 1] = (tmp_path / "run" / BEST).is_file()

    callback.begin, callback.flush = selection.begin, selection.flush
    run_experiment(row, source, tmp_path / "run", callback=callback)
    assert not seen["selftrain", 3]  # validated after step 2, and not yet kept
    assert not seen["selftrain", 4]
    assert seen["selftrain", 5]
    selection.finish()
    assert load_state(tmp_path / "run" / BEST)["step"] in (2, 4, 6)


def test_validations_change_no_bit_of_the_training(trained, tmp_path):
    row, source, folder = trained
    run_experiment(row, source, tmp_path / "plain")
    assert same(folder / "last.pt", tmp_path / "plain" / "last.pt")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: "", "damaged, it holds no score"),
        (lambda text: text.replace("dice", "die"), "not the validations of a run"),
        (lambda text: text + "selftrain,6,student,p,LV,7\n", "dice must lie in 0-1, got 7"),
    ],
)
def test_damaged_validations_are_named(trained, spoil, says):
    path = trained[2] / CASES
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ValueError, match=f"{CASES}: .*{says}"):
        read_validated(trained[2])


# The command


def words(data: Path, out: Path, *more: object) -> list[str]:
    given = ["plan", "table", "3", "--preset", "toy", "--readings", "voxel", "--labeled", "2"]
    given += ["--seeds", "0", "--source", "acdc", "--root", data, "--out", out, "--validate", "3"]
    return [str(word) for word in [*given, *more, "--set", *WORDS]]


def test_a_plan_in_two_processes_and_its_table(data, tmp_path, capfd):
    out = tmp_path / "out"
    assert main(words(data, out, "--dry-run")) == 0
    said = capfd.readouterr().out
    assert said.count("missing ") == 4
    assert said.count("shares stage 1") == 2
    assert not out.exists()
    assert main(words(data, out, "--jobs", 2)) == 0
    printed = capfd.readouterr()
    assert "4 done of 4 runs" in printed.out
    assert "4 done" in printed.err
    assert read_plan(out).labeled == 2
    assert main(words(data, out, "--dry-run")) == 0
    assert capfd.readouterr().out.count("done ") >= 4
    for form in ("text", "markdown", "csv"):
        assert (
            main(["table", "3", "--runs", str(out), "--readings", "voxel", "--format", form]) == 0
        )
        said = capfd.readouterr().out
        assert said.count("honest") >= 4
        assert said.count("paper") >= 4
        assert "not run" not in said


def test_an_interrupted_plan_saves_and_goes_on(data, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "buarl", *words(data, out, "--only", "BCP", "--jobs", 2)]
    command[command.index("steps=6")] = "steps=4000"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("*/last.pt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130, said
    assert "interrupted, all saved; the same command goes on" in said
    plan = read_plan(out)
    assert list(states_of(out, plan).values()) == ["cut off"]
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["table", "7"], 'table must be "1" or'),
        (["table"], "plan needs tables 1 to 6, controls or methods, got none"),
        (["table", "3", "--jobs", "0"], "jobs and threads must be at least 1, got 0 and 1"),
        (["table", "3", "--seeds", "1", "1"], "seeds must be different numbers, got [1, 1]"),
        (["table", "3", "--readings", "pixel"], "reading must be"),
        (["table", "3", "--only", "Ours"], "rows must be among ['BCP', 'URL', 'CRL', 'URL + CRL']"),
        (["table", "3", "--validate", "-1"], "validate must be at least 0, got -1"),
        (["table", "3", "--preset", "big"], "preset must be one of"),
        (["table", "3", "--labeled", "0"], "labeled must be at least 1, got 0"),
        (["table", "3", "--source", "cats"], "source must be one of"),
        (["table", "3"], "needs the folder of its data"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(tmp_path, capsys, change, says):
    assert main(["plan", *change, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_plan_and_a_list_beyond_it_are_refused(plan, tmp_path):
    with pytest.raises(ValueError, match=r"plan\.json: no such file"):
        work_on(tmp_path, 0)
    write_plan(tmp_path, plan)
    with pytest.raises(ValueError, match="task must lie in 0 to 1, got 2"):
        work_on(tmp_path, 2)
    (tmp_path / "plan.json").write_text('{"what": 3, "more": 1}')
    with pytest.raises(ValueError, match=r"plan\.json: damaged"):
        read_plan(tmp_path)


def test_a_folder_with_validations_takes_no_plan_without_them_and_the_reverse(plan, tmp_path):
    for validate, other in ((0, None), (None, 0), (3, 0)):
        write_plan(tmp_path, replace(plan, validate=validate))
        with pytest.raises(ValueError, match=r"validations, now it is with.*take another --out"):
            check_kept(tmp_path, replace(plan, validate=other))
    write_plan(tmp_path, replace(plan, validate=3))
    check_kept(tmp_path, replace(plan, validate=5))


def test_a_list_keeps_its_number_though_the_plan_of_the_folder_grows(plan, tmp_path):
    """A process is started later than the plan was made, and another table may stand there then."""
    write_plan(tmp_path, replace(plan, what=("6", "3"), readings=("region", "voxel")))
    last = len(chains(plan.runs(), plan.root)) - 1
    wanted = chains(plan.runs(), plan.root)[last]
    begun = []
    assert work_on(tmp_path, last, say=begun.append, plan=plan) == 0
    assert [line.split(":")[0] for line in begun if line.endswith("begins")] == wanted


def test_a_process_that_could_not_even_begin_leaves_a_word(plan, tmp_path, monkeypatch):
    def dies(out, plan, task):
        return subprocess.Popen(
            [sys.executable, "-c", "import no_such_module"], stderr=subprocess.DEVNULL
        )

    monkeypatch.setattr(launch, "_start", dies)
    write_plan(tmp_path, plan)
    assert launch_local(tmp_path, plan, [0], 1, lambda line: None)
    states = states_of(tmp_path, plan)
    (name,) = [name for name, state in states.items() if state == "failed"]
    assert name == chains(plan.runs(), plan.root)[0][0]
    assert "the process ended with code 1; what it said: " in failures(tmp_path, states)[0]


@pytest.mark.skipif(os.name == "nt", reason="Slurm runs on Linux")
def test_jobs_of_a_cluster_are_known_by_run_and_not_by_number(plan, tmp_path, monkeypatch):
    first, *_ = work_lists = chains(plan.runs(), plan.root)
    jobs = {name: f"7_{n}" for n, names in enumerate(work_lists) for name in names}
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "jobs.json").write_text(json.dumps(jobs))
    queue = tmp_path / "bin" / "squeue"
    queue.parent.mkdir()
    queue.write_text("#!/bin/sh\necho 7_0\n")
    queue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{queue.parent}{os.pathsep}{os.environ['PATH']}")
    assert slurm.living(tmp_path) == set(first)
    grown = replace(plan, what=("6", "3"), readings=("region", "voxel"))
    gone = work_lists[1][0]
    (tmp_path / gone).mkdir()  # its job was killed before it had saved anything
    (line,) = slurm.lost(tmp_path, grown)
    assert line.startswith(f"{gone}: job 7_1 has left the cluster before its end")
    (tmp_path / "slurm" / "jobs.json").write_text('{"0": "7_0"}')
    with pytest.raises(ValueError, match="an earlier version of buarl wrote it"):
        slurm.known_jobs(tmp_path)


def test_an_entry_of_another_row_is_not_taken_for_the_run(plan, tmp_path):
    out = tmp_path / "out"
    plan = replace(plan, only=("BCP",))
    do(out, plan)
    (name,) = plan.runs()
    entry = json.loads((out / f"{name}.json").read_text())
    entry["experiment"]["seed"] = 9
    (out / f"{name}.json").write_text(json.dumps(entry))
    with pytest.raises(ValueError, match="tells of another row"):
        states_of(out, plan)


def test_the_summary_is_written_while_runs_are_missing(plan, tmp_path):
    out = tmp_path / "out"
    write_plan(out, plan)
    text = write_summary(out, plan).read_text()
    assert "4 missing of 4 runs" in text
    assert "Not run (4): BCP" in text


def test_a_stopped_run_is_left_to_go_on_and_the_next_is_not_begun(plan, tmp_path):
    out = tmp_path / "out"
    write_plan(out, plan)
    plan = replace(plan, only=())

    def stop(inner):
        def callback(stage, step, method):
            raise work.StopTraining

        return callback

    with pytest.raises(work.StopTraining):
        work_on(out, 0, wrap=stop)
    states = list(states_of(out, plan).values())
    assert states.count("cut off") == 1
    assert states.count("missing") == 3


def test_a_run_of_a_plan_is_a_whole_capsule_and_a_spoiled_one_is_left_out(plan, tmp_path):
    out = tmp_path / "out"
    plan = replace(plan, only=("BCP", "CRL"))
    do(out, plan)
    first, second = plan.runs()
    for name in (first, second):
        capsule = read_capsule(out / name)
        assert set(capsule.metrics) == {"val", "val_paper"}
        (out / f"{name}.json").unlink()  # the folders alone tell all of it
    results = read_results(out)
    assert {entry["name"] for entry in results.entries} == {first, second}
    assert results.left_out == {}
    path = out / first / CASES
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    results = read_results(out)
    assert [entry["name"] for entry in results.entries] == [second]
    assert CASES in next(iter(results.left_out))
