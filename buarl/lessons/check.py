"""Exercises that answer back: `check("05.1", answer)` says right or wrong, and why, and hints.

The judges stand in `buarl.lessons.exercises`, one file a lesson. A judge gets an answer and returns
what is wrong with it in one sentence, or None if nothing is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Judge = Callable[[Any], str | None]


@dataclass(frozen=True, repr=False)
class Verdict:
    """What `check` found; a notebook shows it as one or two lines.

    Args:
        exercise: Number of the exercise, for example "05.1".
        right: True, False, or None while there is no answer.
        text: What to tell the reader.
    """

    exercise: str
    right: bool | None
    text: str

    def __repr__(self) -> str:
        """The lines that a notebook shows."""
        mark = {True: "✓", False: "✗", None: "…"}[self.right]
        return f"{mark} {self.exercise}: {self.text}"


@dataclass(frozen=True)
class Exercise:
    """An exercise as its judge registered it.

    Args:
        number: Lesson and place, for example "05.1".
        hint: One sentence for a reader who is stuck or wrong.
        judge: Returns what is wrong with an answer, or None.
        praise: What a right answer shows, one sentence.
    """

    number: str
    hint: str
    judge: Judge
    praise: str


EXERCISES: dict[str, Exercise] = {}


def exercise(number: str, *, hint: str, praise: str) -> Callable[[Judge], Judge]:
    """Register a judge under the number of its exercise.

    Args:
        number: Lesson and place, for example "05.1".
        hint: One sentence for a reader who is stuck or wrong.
        praise: What a right answer shows, one sentence.
    Returns:
        A decorator that gives the judge back unchanged.
    """

    def register(judge: Judge) -> Judge:
        EXERCISES[number] = Exercise(number, hint, judge, praise)
        return judge

    return register


class _NoAnswer(Exception):
    """Raised where a function under test still returns `...`."""


def check(number: str, answer: Any = ...) -> Verdict:
    """Judge an answer to an exercise.

    Args:
        number: Number of the exercise, for example "05.1".
        answer: What the exercise asks for: a number, an array, a function. `...`, None and a
            function that returns `...` count as no answer yet.
    Returns:
        A verdict, which a notebook shows; `verdict.right` is True, False or None. An answer that
        raises an exception is wrong, and the verdict names the exception.
    Raises:
        ValueError: there is no exercise of this number.

    >>> check("00.1", 97).right
    True
    >>> check("00.1")
    … 00.1: no answer yet. Hint: 3 of 100 pixels are above it, so how many percent are not?
    """
    found = _find(number)
    if answer is ... or answer is None:
        return Verdict(number, None, f"no answer yet. Hint: {found.hint}")
    try:
        wrong = found.judge(_watched(answer) if callable(answer) else answer)
    except _NoAnswer:
        return Verdict(number, None, f"no answer yet. Hint: {found.hint}")
    except Exception as error:  # a reader's code may raise anything; that is an answer as well
        if not callable(answer) and "not callable" in str(error):
            return Verdict(number, False, f"a function is asked for.\n  Hint: {found.hint}")
        wrong = f"your answer raised {type(error).__name__}: {error}"
    if wrong is None:
        return Verdict(number, True, f"right. {found.praise}")
    return Verdict(number, False, f"{wrong}\n  Hint: {found.hint}")


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, where a returned `...` means that nothing is written yet."""

    def watched(*args: Any, **named: Any) -> Any:
        result = function(*args, **named)
        if result is ...:
            raise _NoAnswer
        return result

    return watched


def _find(number: str) -> Exercise:
    """The exercise of a number; its lesson's judges are imported on first use."""
    lesson = str(number).split(".")[0].lower()
    try:
        importlib.import_module(f"buarl.lessons.exercises.lesson_{lesson}")
    except ModuleNotFoundError:
        raise ValueError(f"no lesson {lesson!r} has exercises to check") from None
    if number not in EXERCISES:
        known = ", ".join(sorted(key for key in EXERCISES if key.split(".")[0].lower() == lesson))
        raise ValueError(f"no exercise {number!r}; lesson {lesson} has {known}")
    return EXERCISES[number]
