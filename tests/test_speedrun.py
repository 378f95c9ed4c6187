"""Speedruns: the rules that a program can hold are held, and the line says what was measured."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from buarl.commands.interruption import SIGNALS
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.errors import DataError
from buarl.data.public import read_manifest
from buarl.data.source import open_source
from buarl.outside import load_code
from buarl.regions import crl
from buarl.results import speedrun
from buarl.results.speedrun import (
    COLUMNS,
    TRACKS,
    Entry,
    Track,
    p_of_target,
    run_speedrun,
    yardstick,
)
from buarl.results.speedrun_line import Seed, check_one_machine, line_of
from buarl.results.speedrun_rules import say_beforehand, track_of
from buarl.training.config import Experiment
from buarl.training.environment import environments_of, machine_of
from buarl.training.loop import StopTraining
from buarl.training.run import read_run, run_experiment
from buarl.training.seconds import seconds_of

PAGE = (Path(__file__).parent.parent / "results" / "speedrun.md").read_text(encoding="utf-8")
SMALL = {"steps": 2, "image_size": [32, 32], "width": 2, "labeled_batch": 2}
ROW = Experiment("mean_teacher", source="phantom", labeled=3, preset="toy", set=SMALL)
CPU = torch.device("cpu")
KEPT = {"seconds": 0.5, "machine": "a", "native_bf16": False, "threads": 2}
OWN_RULE = """
import torch
from dataclasses import dataclass
from buarl.rule import Region, Rule

@dataclass(frozen=True)
class Mine(Rule):
    def cut(self, probs):
        return [Region(torch.ones_like(probs[:, 0], dtype=torch.bool), FACTOR)]
"""


@pytest.fixture(autouse=True)
def quick_yardstick(monkeypatch):
    monkeypatch.setattr(speedrun, "yardstick", lambda device: 0.5)


@pytest.fixture(scope="module")
def phantom():
    return open_source("phantom")


# What it takes to reach the target


@pytest.mark.parametrize(
    ("dice", "p"),
    [
        ([0.86, 0.87, 0.88], 0.0371),  # t = 0.02 / (0.01 / sqrt 3) = 3.46, two degrees of freedom
        ([0.84, 0.85, 0.86], 0.5),
        ([0.82, 0.83, 0.84], 0.9629),
        ([0.99], 1.0),
        ([0.85, 0.85], 0.0),
        ([0.84, 0.84], 1.0),
    ],
)
def test_p_is_students_t_one_sided(dice, p):
    assert p_of_target(dice, 0.85) == pytest.approx(p, abs=1e-4)


def test_a_gpu_needs_twice_as_many_seeds():
    assert TRACKS["acdc7"].needed("cpu") == 5
    assert TRACKS["acdc7"].needed("cuda") == 10


def write_public_lists(root, last=None):
    """ACDC's public lists, and none of its files; `last` stands for the last validation case."""
    slices, volumes = [], []
    for file in read_manifest("acdc"):
        (slices if "slices" in file else volumes).append(Path(file).stem)
    root.mkdir()
    (root / "train_slices.list").write_text("\n".join(slices))
    (root / "val.list").write_text("\n".join([*volumes[:-1], last or volumes[-1]]))
    return root


def environment(**changes):
    """What run.json says of a training on a processor."""
    said = {"machine": "Linux x86_64, AVX2", "gpu": None, "device": "cpu", "threads": 2}
    return {**said, "precision": "fp32", "commit": "abc", **changes}


def line(dice, environments=None, **yardstick):
    """The line of made-up scores and places."""
    kept = {"seconds": 0.5, "machine": "Linux x86_64, AVX2", "native_bf16": False, "threads": 2}
    places = environments or [environment()] * len(dice)
    seeds = [Seed([where], score, 40.0, 0.25) for where, score in zip(places, dice, strict=True)]
    return line_of("phantom", Entry(ROW), seeds, kept | yardstick)


@pytest.mark.parametrize(
    ("dice", "reached"),
    [
        ([0.860, 0.861, 0.859, 0.860, 0.862], "yes, 0.85"),
        ([0.860, 0.861, 0.859, 0.860], "no, 0.85"),  # a seed is missing
        ([0.84, 0.87, 0.85, 0.86, 0.85], "no, 0.85"),  # above on average, p = 0.2
        ([0.83, 0.831, 0.829, 0.83, 0.832], "no, 0.85"),
    ],
)
def test_the_target_is_reached_by_all_seeds_and_a_p_below_a_hundredth(dice, reached):
    found = line(dice)
    assert found["reached"] == reached
    assert found["seeds"] == f"{len(dice)} of 5"
    assert tuple(found) == COLUMNS


def test_minutes_of_training_and_of_scoring_stand_apart():
    found = line([0.860, 0.861])
    assert (found["minutes"], found["scoring"]) == ("40.0 (40.0 - 40.0)", "0.2")


def test_the_scoring_of_a_seed_is_on_its_own_clock(tmp_path, phantom, monkeypatch):
    scored, seeds = speedrun.score_run, []

    def slow(*args, **how):
        time.sleep(0.6)
        return scored(*args, **how)

    monkeypatch.setattr(speedrun, "score_run", slow)
    monkeypatch.setattr(speedrun, "line_of", lambda track, entry, found, kept: seeds.extend(found))
    run_speedrun("phantom", Entry(ROW), phantom, tmp_path / "run", seeds=1)
    assert seeds[0].scoring >= 0.01  # minutes
    run = read_run(tmp_path / "run" / "seed_1337")
    assert seeds[0].minutes == sum(seconds_of(run, tmp_path / "run" / "seed_1337").values()) / 60


def test_on_the_track_of_the_fewest_the_row_says_how_many_are_labeled(capsys, tmp_path, phantom):
    row = replace(ROW, source="acdc", labeled=2)
    seeds = [Seed([environment()], 0.9, 40.0, 0.25)]
    kept = {"seconds": 0.5, "machine": "Linux x86_64, AVX2", "native_bf16": False, "threads": 2}
    assert line_of("acdc_fewest", Entry(row), seeds, kept)["track"] == "acdc_fewest, 2 labeled"
    source = Acdc(write_public_lists(tmp_path / "acdc"))
    assert track_of("acdc_fewest", Entry(row), source) == TRACKS["acdc_fewest"]
    with pytest.raises(ValueError, match="must say how many patients are labeled, got all"):
        track_of("acdc_fewest", Entry(replace(row, labeled=None)), source)
    for track, more, said in (
        ("acdc_fewest", [], "labeled: track acdc_fewest must be given them, got None"),
        ("phantom", ["--labeled", "2"], "labeled: track phantom has 3, got 2"),
    ):
        assert main(["speedrun", "--track", track, "--out", str(tmp_path / "out"), *more]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_more_labeled_patients_than_there_are_leave_no_folder_behind(
    tmp_path, phantom, monkeypatch
):
    monkeypatch.setitem(TRACKS, "phantom", Track("phantom", None))
    with pytest.raises(DataError, match="labeled must lie in 1 to"):
        run_speedrun("phantom", Entry(replace(ROW, labeled=900)), phantom, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("turned", ["order", "volume"])
def test_lists_that_are_not_the_public_ones_are_refused(tmp_path, turned):
    root = write_public_lists(tmp_path / "acdc", last="mine" if turned == "volume" else None)
    if turned == "order":
        path = root / "train_slices.list"
        path.write_text("\n".join(reversed(path.read_text().splitlines())))
    entry = Entry(replace(ROW, source="acdc", labeled=7))
    place = {"order": "case 1 of .* is data/slices/", "volume": "case 1332 of .* is data/mine.h5"}
    with pytest.raises(ValueError, match=f"not the public ones of acdc; {place[turned]}"):
        run_speedrun("acdc7", entry, Acdc(root), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_line_says_every_rule_with_its_arguments_and_normalizer():
    row = replace(ROW, unlabeled_rule=crl(80, 0.9), unlabeled_reduction="region")
    kept = {"seconds": 0.5, "machine": "Linux x86_64, AVX2", "native_bf16": False, "threads": 2}
    said = line_of("phantom", Entry(row), [Seed([environment()], 0.9, 40.0, 0.25)], kept)["row"]
    for words in ("unlabeled crl(", "percentile=80,", "uncertain_weight=0.9", ") per region toy "):
        assert words in said


# Where the seeds were trained


def test_processors_count_where_both_seeds_name_theirs():
    zen, xeon, early = (environment(processor=name) for name in ("Zen 5", "Xeon", None))
    check_one_machine(Path("out"), [("a", zen), ("b", early), ("c", zen)])
    assert machine_of(zen) == "Linux x86_64, AVX2, Zen 5"
    with pytest.raises(ValueError, match=r"but a on .*Zen 5 and b on .*Xeon"):
        check_one_machine(Path("out"), [("a", zen), ("b", xeon)])


GPU = {"gpu": "H200", "device": "cuda:0"}


def test_five_seeds_of_a_gpu_are_half_of_what_it_takes():
    found = line([0.860, 0.861, 0.859, 0.860, 0.862], [environment(**GPU)] * 5)
    assert (found["seeds"], found["reached"]) == ("5 of 10", "no, 0.85")
    assert (found["hardware"], found["machine"]) == ("one GPU", "H200")


def test_a_training_on_the_processor_of_a_machine_with_a_gpu_is_one_of_the_processor():
    found = line([0.86], [environment(gpu="H200")], native_bf16=True)
    assert found["machine"] == "Linux x86_64, AVX2, native bf16, 2 threads"
    assert found["hardware"] == "two CPU cores"
    assert found["seeds"] == "1 of 5"


def test_what_differs_between_seeds_stands_all_in_its_cell():
    places = [
        environment(threads=2, commit="b"),
        environment(threads=1, precision="bf16", commit="a"),
        environment(threads=2, commit="b"),
    ]
    found = line([0.86, 0.86, 0.86], places)
    assert found["machine"] == "Linux x86_64, AVX2, 2, 1 threads"
    assert found["commit"] == "b, a"
    assert found["row"].endswith(" fp32, bf16")


@pytest.mark.parametrize(
    ("threads", "yardstick", "cell"),
    [
        (1, {"threads": 1}, "0.50 s"),
        (1, {"threads": 2}, "0.50 s, 2 threads"),
        (2, {"threads": 1}, "0.50 s, 1 thread"),
        (1, {"machine": "a laptop"}, "0.50 s on a laptop"),
    ],
)
def test_a_yardstick_that_is_not_of_the_training_says_what_it_is_of(threads, yardstick, cell):
    assert line([0.86], [environment(threads=threads)], **yardstick)["yardstick"] == cell


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (GPU, r"seed_1337 was trained on \w.* and seed_1338 was trained on H200; "),
        ({"machine": "Darwin arm64"}, "and seed_1338 was trained on Darwin arm64, "),
        ({"device": "mps"}, "and seed_1338 was trained on .*, mps; "),
    ],
)
def test_seeds_of_two_machines_are_one_sentence_that_names_them(tmp_path, phantom, other, words):
    run_speedrun("phantom", Entry(ROW), phantom, tmp_path / "run", seeds=2)
    rewrite(tmp_path / "run" / "seed_1338" / "run.json", **other)
    with pytest.raises(ValueError, match=f"must be trained on one machine, .*{words}") as said:
        run_speedrun("phantom", Entry(ROW), phantom, tmp_path / "run", seeds=2)
    assert str(said.value).startswith(f"{tmp_path / 'run'}: ")
    assert "\n" not in str(said.value)


def test_seeds_of_another_machine_are_scored_here_and_not_added_to(tmp_path, phantom):
    """What is trained already has its own machine in its line; no seed is begun on a second one."""
    out = tmp_path / "run"
    run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    rewrite(out / "seed_1337" / "run.json", **GPU, threads=16)
    found = run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    assert (found["machine"], found["seeds"]) == ("H200", "1 of 10")
    with pytest.raises(ValueError, match="and seed_1338 would be trained on "):
        run_speedrun("phantom", Entry(ROW), phantom, out)
    assert not (out / "seed_1338").exists()


def stop(*_):
    raise StopTraining


def test_a_seed_that_went_on_with_other_threads_says_both(tmp_path, phantom):
    out, before = tmp_path / "run", torch.get_num_threads()
    say_beforehand(out, {"track": "phantom", **Entry(ROW).as_dict()}, lambda: KEPT)
    try:
        torch.set_num_threads(1)
        with pytest.raises(StopTraining):
            run_experiment(ROW, phantom, out / "seed_1337", callback=stop)
        torch.set_num_threads(2)
        found = run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    finally:
        torch.set_num_threads(before)
    assert found["machine"].endswith("1, 2 threads")
    run = read_run(out / "seed_1337")
    assert [each["threads"] for each in environments_of(run)] == [1, 2]


def test_a_seed_that_went_on_elsewhere_is_refused(tmp_path, phantom):
    out = tmp_path / "run"
    run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    path = out / "seed_1337" / "run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, "resumed": [{**run["environment"], **GPU}]}))
    words = "seed_1337 was trained on .* and seed_1337 was trained on H200; "
    with pytest.raises(ValueError, match=words):
        run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pretrained": {"folder": "x"}}, "its first stage is another run's"),
        ({"resumed": [{"devices": 2}]}, "was trained on 2 devices; a record is of one"),
    ],
)
def test_a_seed_that_breaks_a_rule_is_refused(tmp_path, phantom, change, words):
    out = tmp_path / "run"
    run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    path = out / "seed_1337" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=rf"seed_1337: {words}"):
        run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)


def test_code_of_your_own_that_changes_between_seeds_is_refused(tmp_path, phantom):
    mine = tmp_path / "mine.py"
    mine.write_text(OWN_RULE.replace("FACTOR", "1.0"))
    row = replace(ROW, unlabeled_rule=load_code(f"{mine}:Mine")())
    said = {"seeds": 1, "code": [f"{mine}:Mine"]}
    run_speedrun("phantom", Entry(row), phantom, tmp_path / "run", **said)
    kept = json.loads((tmp_path / "run" / "speedrun.json").read_text())["code"]
    assert kept == {"mine.py:Mine": sha256(mine.read_bytes()).hexdigest()[:12]}
    run = read_run(tmp_path / "run" / "seed_1337")
    assert run["environment"]["code"] == kept
    mine.write_text(OWN_RULE.replace("FACTOR", "7.0"))
    row = replace(ROW, unlabeled_rule=load_code(f"{mine}:Mine")())
    with pytest.raises(ValueError, match=r"speedrun.json: code.mine.py:Mine was"):
        run_speedrun("phantom", Entry(row), phantom, tmp_path / "run", **said)


def rewrite(path, **changes):
    """Another environment in a run.json."""
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, "environment": {**run["environment"], **changes}}))


def test_threads_are_those_of_the_training_and_the_yardstick_is_measured_once(
    tmp_path, phantom, monkeypatch
):
    out, before, times = tmp_path / "run", torch.get_num_threads(), iter((0.5, 9.0))
    monkeypatch.setattr(speedrun, "yardstick", lambda device: next(times))
    try:
        torch.set_num_threads(1)
        run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
        torch.set_num_threads(2)
        found = run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    finally:
        torch.set_num_threads(before)
    assert found["machine"].endswith(", 1 thread")
    assert found["yardstick"] == "0.50 s"
    assert json.loads((out / "speedrun.json").read_text())["yardstick"]["seconds"] == 0.5


def test_a_folder_of_before_yardsticks_were_kept_gets_one(tmp_path, phantom):
    out = tmp_path / "run"
    run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    kept = json.loads((out / "speedrun.json").read_text())
    then = {key: value for key, value in kept.items() if key != "yardstick"}
    (out / "speedrun.json").write_text(json.dumps(then))
    run_speedrun("phantom", Entry(ROW), phantom, out, seeds=1)
    assert json.loads((out / "speedrun.json").read_text()) == kept


# Rules


def test_a_folder_keeps_the_entry_that_was_said_beforehand(tmp_path, phantom):
    entry, out = Entry(ROW), tmp_path / "run"
    first = run_speedrun("phantom", entry, phantom, out, seeds=1)
    assert sorted(path.name for path in out.iterdir()) == ["seed_1337", "speedrun.json"]
    for other, word in (
        (replace(entry, teacher=True), "teacher was False, now it is True"),
        (replace(entry, send_back="probs"), "send_back was labels, now it is probs"),
        (replace(entry, precision="bf16"), "precision was None, now it is bf16"),
        (
            replace(entry, row=replace(ROW, set={**SMALL, "steps": 3})),
            r"row\.set\.steps was 2, now it is 3$",
        ),
    ):
        with pytest.raises(ValueError, match=word):
            run_speedrun("phantom", other, phantom, out, seeds=1)
    again = run_speedrun("phantom", entry, phantom, out, seeds=2)  # goes on with the next seed
    assert (first["seeds"], again["seeds"]) == ("1 of 5", "2 of 5")
    assert "±" not in first["Dice"]
    assert "±" in again["Dice"]
    assert again["row"] == f"mean_teacher toy {ROW.changes} fp32"


@pytest.mark.parametrize(
    ("track", "entry", "seeds", "message"),
    [
        ("acdc", Entry(ROW), None, r"track must be one of .*, got 'acdc'"),
        ("acdc7", Entry(ROW), None, r"on track acdc7 must have .*'acdc', 'labeled': 7.*, got"),
        ("phantom", Entry(replace(ROW, labeled=4)), None, r"must have .*3}, got .*'labeled': 4"),
        ("phantom", Entry(ROW), 6, r"seeds must lie in 1 to 5, got 6"),
        ("phantom", Entry(ROW), 0, r"seeds must lie in 1 to 5, got 0"),
        (
            "phantom",
            Entry(replace(ROW, method="supervised"), teacher=True),
            1,
            "supervised has no teacher",
        ),
        ("phantom", Entry(replace(ROW, options={"nois": 1})), 1, "has no option"),
        (
            "phantom",
            Entry(replace(ROW, set={**SMALL, "labeled_draw": 5})),
            1,
            "the first patients of the public list are .*, got labeled_draw=5, which draws others",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused_before_anything_is_written(
    tmp_path, phantom, track, entry, seeds, message
):
    with pytest.raises(ValueError, match=message):
        run_speedrun(track, entry, phantom, tmp_path / "run", seeds=seeds)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path, phantom):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be a new folder, or that of an earlier speedrun"):
        run_speedrun("phantom", Entry(ROW), phantom, tmp_path, seeds=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", r"must hold what was said, got \[1\]"),
        ('{"track": "phan', "damaged, it is no JSON"),
        ("", "damaged, it is no JSON"),
        ('{"track": "phantom", "yardstick": 3}', "yardstick must have seconds, machine, .* got 3"),
    ],
)
def test_a_damaged_entry_is_one_line_with_the_file_and_what_to_do(tmp_path, phantom, text, words):
    (tmp_path / "speedrun.json").write_text(text)
    with pytest.raises(ValueError, match=rf"speedrun\.json: {words}.*; bring it back") as said:
        run_speedrun("phantom", Entry(ROW), phantom, tmp_path, seeds=1)
    assert "\n" not in str(said.value)
    assert (tmp_path / "speedrun.json").read_text() == text


# The command and its page


MINE = """
import os, signal
from buarl.methods import MeanTeacher
class Mine(MeanTeacher):
    def training_step(self, batch, step):
        if step.index == 3 and not os.environ.pop("CALM", None):
            os.kill(os.getpid(), signal.{})
        return super().training_step(batch, step)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_after_the_step_and_the_command_it_prints_goes_on(
    tmp_path, capsys, monkeypatch, name, code
):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE.format(name))
    words = ["speedrun", "--out", "a record", "--preset", "toy", "--seeds", "1"]
    words += ["--method", "mine.py:Mine", "--set", "steps=6", "image_size=32,32", "width=2"]
    before = [signal.getsignal(each) for each in SIGNALS]
    assert main(words) == code
    assert [signal.getsignal(each) for each in SIGNALS] == before
    said = capsys.readouterr().err
    assert "interrupted, saved after the last step; go on with: " in said
    saved = torch.load("a record/seed_1337/last.pt", weights_only=True)["position"]
    assert list(saved) == [0, 4]
    advice = shlex.split(said.strip().splitlines()[-1].split("go on with: ")[1])
    assert advice[advice.index("speedrun") :] == words
    monkeypatch.setenv("CALM", "1")
    assert main(words) == 0
    assert "| 1 of 5 |" in capsys.readouterr().out


def test_a_signal_while_a_run_is_scored_ends_at_once_and_keeps_the_seed(
    tmp_path, capsys, monkeypatch
):
    def scored(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)  # the signal comes within

    monkeypatch.setattr(speedrun, "score_run", scored)
    sets = [f"{key}={str(value).strip('[]').replace(' ', '')}" for key, value in SMALL.items()]
    words = ["speedrun", "--out", str(tmp_path / "run"), "--preset", "toy", "--seeds", "1"]
    assert main([*words, "--set", *sets]) == 143
    assert "interrupted, stopped; go on with: " in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "seed_1337" / "run.json").read_text())["finished"]


def test_a_signal_after_the_last_step_of_a_seed_begins_no_other(tmp_path, capsys, monkeypatch):
    def ended(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("buarl.training.run.run_experiment", ended)
    (tmp_path / "run").mkdir()
    assert main(["speedrun", "--out", str(tmp_path / "run"), "--preset", "toy"]) == 130
    assert "interrupted, saved after the last step; go on with: " in capsys.readouterr().err


def test_the_command_prints_one_line_that_fits_the_table(tmp_path, capsys):
    sets = [f"{key}={str(value).strip('[]').replace(' ', '')}" for key, value in SMALL.items()]
    words = ["speedrun", "--out", str(tmp_path / "run"), "--preset", "toy", "--seeds", "1"]
    assert main([*words, "--set", *sets, "--teacher", "--send-back", "probs"]) == 0
    (line,) = capsys.readouterr().out.strip().splitlines()
    (heading,) = [text for text in PAGE.splitlines() if text.startswith("| track |")]
    assert [cell.strip() for cell in heading.strip("|").split("|")] == list(COLUMNS)
    assert line.count("|") == heading.count("|")
    assert re.match(r"\| phantom \| bcp toy .* fp32 \| teacher, probs \| 0\.\d{3} \| 1 of 5 ", line)


def test_the_rules_on_the_page_are_the_programs():
    assert "with a one-sided p below 0.01" in PAGE
    assert speedrun.MOST_P == 0.01
    assert {track.target for track in TRACKS.values()} == {0.85}
    assert "five on a CPU, ten on a GPU" in PAGE
    assert f"**Seeds** are {speedrun.FIRST_SEED}, {speedrun.FIRST_SEED + 1}" in PAGE


def test_the_yardstick_is_a_time():
    assert 0 < yardstick(CPU, size=16, repeats=1) < 60
