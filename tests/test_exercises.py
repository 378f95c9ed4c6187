"""Exercises answer back: right, wrong with the reason, no answer yet, code that raises."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest

import buarl.lessons.exercises as judges
from buarl.lessons.check import EXERCISES, check, exercise

ROOT = Path(__file__).resolve().parent.parent
LESSONS = [m.name for m in pkgutil.iter_modules(judges.__path__) if m.name.startswith("lesson_")]
for name in LESSONS:
    importlib.import_module(f"buarl.lessons.exercises.{name}")
NUMBERS = sorted(EXERCISES)


@pytest.fixture
def doubled(monkeypatch):
    """An exercise of lesson 00: return twice a number."""
    monkeypatch.setattr("buarl.lessons.check.EXERCISES", {})

    @exercise("00.9", hint="think of 2.", praise="Twice it is.")
    def judge(answer):
        return None if answer(3) == 6 else f"twice 3 is not {answer(3)}."


def test_a_right_answer_is_praised(doubled):
    verdict = check("00.9", lambda x: 2 * x)
    assert verdict.right is True
    assert repr(verdict) == "✓ 00.9: right. Twice it is."


def test_a_wrong_answer_is_told_why_and_gets_the_hint(doubled):
    verdict = check("00.9", lambda x: x + 2)
    assert verdict.right is False
    assert repr(verdict) == "✗ 00.9: twice 3 is not 5.\n  Hint: think of 2."


@pytest.mark.parametrize("answer", [..., None, lambda x: ...])
def test_a_stub_is_no_answer_yet(doubled, answer):
    verdict = check("00.9", answer)
    assert verdict.right is None
    assert repr(verdict) == "… 00.9: no answer yet. Hint: think of 2."


def test_code_that_raises_is_a_wrong_answer_that_names_the_exception(doubled):
    verdict = check("00.9", lambda x: x["a"])
    assert verdict.right is False
    assert "raised TypeError" in verdict.text


@pytest.mark.parametrize("number", ["00.99", "77.1", "nonsense", ""])
def test_an_unknown_number_is_refused(number):
    with pytest.raises(ValueError, match=r"no (exercise|lesson) "):
        check(number, 1)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "nonsense", ["words", object(), [], {}, float("nan"), -1e9, lambda *a, **k: "words"]
)
def test_nonsense_is_never_right_and_never_an_error(number, nonsense):
    assert check(number, nonsense).right is False


@pytest.mark.parametrize("number", NUMBERS)
def test_hints_and_praise_are_sentences(number):
    found = EXERCISES[number]
    assert found.hint.strip()[-1] in ".?"
    assert found.praise.strip()[-1] in ".!"


@pytest.mark.parametrize("lesson", LESSONS)
def test_judges_belong_to_a_notebook_that_asks_all_of_them(lesson):
    stem = lesson.removeprefix("lesson_")
    (path,) = [p for p in (ROOT / "notebooks").glob("*.ipynb") if p.stem.lower()[:2] == stem]
    source = "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    )
    asked = {
        node.args[0].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check"
    }
    mine = {number for number in NUMBERS if number.split(".")[0].lower() == stem}
    assert asked == mine


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_exercise_has_a_tested_right_answer_and_typical_wrong_ones(lesson):
    """tests/test_exercises_NN.py holds RIGHT and WRONG by number; see there."""
    stem = lesson.removeprefix("lesson_")
    module = importlib.import_module(f"test_exercises_{stem}")
    mine = {number for number in NUMBERS if number.split(".")[0].lower() == stem}
    assert set(module.RIGHT) == mine
    assert {number for number, _, _ in module.WRONG} == mine
    for number, answer in module.RIGHT.items():
        verdict = check(number, answer)
        assert verdict.right is True, verdict
    for number, answer, said in module.WRONG:
        verdict = check(number, answer)
        assert verdict.right is False, verdict
        assert re.search(said, verdict.text), verdict
