"""Speedruns: the rules that a program can hold are held, and the line says what was measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from buarl.commands.main import main
from buarl.data.source import open_source
from buarl.results import speedrun
from buarl.results.speedrun import COLUMNS, TRACKS, Entry, p_of_target, run_speedrun, yardstick
from buarl.training.config import Experiment

PAGE = (Path(__file__).parent.parent / "results" / "speedrun.md").read_text(encoding="utf-8")
SMALL = {"steps": 2, "image_size": [32, 32], "width": 2, "labeled_batch": 2}
ROW = Experiment("mean_teacher", source="phantom", labeled=3, preset="toy", set=SMALL)
CPU = torch.device("cpu")


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
    assert TRACKS["acdc7"].needed(CPU) == 5
    assert TRACKS["acdc7"].needed(torch.device("cuda")) == 10


def scored(dice, needed=5, teacher=False):
    """The line of made-up scores of a run that was made in this repository."""
    folder = scored.folder
    entry = Entry(ROW, teacher)
    return speedrun._line("phantom", entry, dice, [1.0] * len(dice), "0.50 s", needed, folder, CPU)


@pytest.fixture
def run_folder(tmp_path):
    environment = {"machine": "here", "gpu": None, "precision": "fp32", "commit": "abc"}
    row = {"method": "bcp", "source": "phantom", "preset": "toy", "seed": 1, "labeled": 3}
    row |= {"options": {}, "labeled_rule": {}, "unlabeled_rule": {}}
    run = {"experiment": row, "environment": environment, "finished": True}
    run |= {"config": {"precision": "fp32", "stages": []}, "data": {"root": "."}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    scored.folder = tmp_path
    return tmp_path


@pytest.mark.parametrize(
    ("dice", "reached"),
    [
        ([0.860, 0.861, 0.859, 0.860, 0.862], "yes, 0.85"),
        ([0.860, 0.861, 0.859, 0.860], "no, 0.85"),  # a seed is missing
        ([0.84, 0.87, 0.85, 0.86, 0.85], "no, 0.85"),  # above on average, p = 0.2
        ([0.83, 0.831, 0.829, 0.83, 0.832], "no, 0.85"),
    ],
)
def test_the_target_is_reached_by_all_seeds_and_a_p_below_a_hundredth(run_folder, dice, reached):
    line = scored(dice)
    assert line["reached"] == reached
    assert line["seeds"] == f"{len(dice)} of 5"
    assert tuple(line) == COLUMNS


# Rules


def test_a_folder_keeps_the_entry_that_was_said_beforehand(tmp_path, phantom):
    entry, out = Entry(ROW), tmp_path / "run"
    first = run_speedrun("phantom", entry, phantom, out, seeds=1)
    assert sorted(path.name for path in out.iterdir()) == ["seed_1337", "speedrun.json"]
    for other, word in (
        (replace(entry, teacher=True), "teacher was False, now it is True"),
        (replace(entry, send_back="probs"), "send_back was labels, now it is probs"),
        (replace(entry, precision="bf16"), "precision was None, now it is bf16"),
        (replace(entry, row=replace(ROW, set={**SMALL, "steps": 3})), "row was .*, now it is"),
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


# The command and its page


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
