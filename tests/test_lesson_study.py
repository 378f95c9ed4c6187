"""The study behind what lessons say of methods: read right, complete, and of these networks."""

from __future__ import annotations

import json
import math

import pytest

from buarl.lessons.rows import STUDY_ROWS
from buarl.lessons.shipped import shipped_figures
from buarl.lessons.study import FILE, Study, lesson_study

SEEDS = 5


def run(row, seed, rv, lv, wrong=0.1):
    dice = {"a RV": rv, "b RV": rv + 0.2, "a LV": lv, "b LV": None}
    return {"row": row, "seed": seed, "dice": {"student": dice}, "wrong": {"end": wrong}}


@pytest.fixture
def small():
    return Study(
        {
            "runs": [
                run("plain", 1, 0.1, 0.4),
                run("plain", 2, 0.3, 0.6),
                run("ours", 2, 0.4, 0.6, wrong=0.05),
                run("ours", 1, 0.4, 0.5, wrong=0.05),
                run("ours", 3, 0.0, 0.0),
                run("once", 1, 0.0, 0.0),
                run("late", 9, 0.0, 0.0),
            ]
        }
    )


def test_dice_is_the_mean_over_volumes_then_classes_for_every_seed(small):
    found = small.dice("plain")
    assert found.values == pytest.approx((0.3, 0.5))  # (0.2 + 0.4) / 2, (0.4 + 0.6) / 2
    assert found.mean == pytest.approx(0.4)
    assert found.sd == pytest.approx(0.1 * 2**0.5)
    assert small.dice("plain", structure="RV").values == pytest.approx((0.2, 0.4))


def test_differences_are_taken_seed_by_seed_where_both_rows_have_one(small):
    found = small.difference("ours", "plain")
    assert dict(zip(found.seeds, found.values, strict=True)) == pytest.approx({2: 0.05, 1: 0.2})
    assert found.mean == pytest.approx(0.125)
    half = 12.7062047 * (0.15 / 2**0.5) / 2**0.5
    assert (found.low, found.high) == pytest.approx((0.125 - half, 0.125 + half))
    assert small.wrong_difference("ours", "plain").values == pytest.approx((-0.05, -0.05))


def test_one_seed_has_no_spread(small):
    assert math.isnan(small.dice("once").sd)
    found = small.difference("once", "plain")
    assert found.mean == pytest.approx(-0.25)
    assert math.isnan(found.low)


def test_what_is_not_there_is_refused_by_name(small, tmp_path):
    for ask, message in (
        (lambda: small.dice("BPC"), "rows .*'plain'.*got 'BPC'"),
        (lambda: small.dice("plain", "teacher"), "network of 'plain'.*'student'.*got 'teacher'"),
        (lambda: small.dice("plain", structure="heart"), "'RV', 'LV'.*got 'heart'"),
        (lambda: small.wrong("plain", "pretrain"), "moment .*'end'.*got 'pretrain'"),
        (lambda: small.difference("late", "plain"), "no seed in common"),
        (lambda: small.cases("plain", 3), r"\[1, 2\], got 3"),
        (lambda: lesson_study(tmp_path / "none.json"), "none.json"),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    for content in ("", "[]", "{}", '{"runs": []}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(ValueError, match=r"bad\.json.* as a study"):
            lesson_study(tmp_path / "bad.json")


def test_rows_that_lessons_compare_were_run_with_five_seeds():
    """The other rows have one so far: `make lesson-study` runs what is missing."""
    study = lesson_study()
    assert study.rows == list(STUDY_ROWS)
    compared = ("supervised", "Mean Teacher, pseudo-labels", "Mean Teacher + URL + CRL")
    for row in (*compared, "BCP", "BCP + URL + CRL"):
        assert study.seeds(row) == [1337 + k for k in range(SEEDS)]


def test_the_file_says_how_it_was_made_and_no_path():
    content = json.loads(FILE.read_text())
    for key in ("command", "environment", "source", "preset", "steps", "checkpoint", "rows"):
        assert content[key]
    assert "/" not in FILE.read_text().replace("torch", "")


def test_its_first_seed_is_the_networks_that_come_with_the_package():
    study = lesson_study()
    for name in study.rows:
        if name in ("BCP", "supervised", "Mean Teacher"):
            said, seed = shipped_figures(name), study.seeds(name)[0]
            assert said["seed"] == seed
            assert study.dice(name).values[0] == pytest.approx(
                said["student"]["dice"]["mean"], abs=0.005
            )
