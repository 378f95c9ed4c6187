"""Judges of lesson 07, Mean Teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off


@exercise(
    "07.1",
    hint="for which n is 0.99 to the power n one half? Logarithms solve it.",
    praise="A teacher with this decay is made of the students of about the last hundred steps.",
)
def half_life(answer: Any) -> str | None:
    """Steps after which half of a teacher is gone."""
    mistakes = {
        "after 50 steps 0.99^50 = 61 % is left: 1 % of the rest goes, not of the start.": 50,
        "that is the mean age of what it remembers, not the half-life.": 99,
        "that is the time constant, after which 37 % is left.": 100,
    }
    exact = np.log(0.5) / np.log(0.99)  # 68.97, so 69 whole steps
    return off(answer, exact, mistakes=mistakes, tolerance=1e-3)


@exercise(
    "07.2",
    hint="the decay is the share of the old teacher that stays, and it is 0 at step 0.",
    praise="The first step copies the student, and the useless start is forgotten.",
)
def follow(answer: Callable[..., Any]) -> str | None:
    """Eq. 10 as it is meant, with the decay that starts at zero."""
    teacher, student = np.random.default_rng(0).normal(size=(2, 3, 4))
    for step in (0, 1, 9, 500):
        decay = min(step / (step + 1), 0.99)
        mistakes = {
            "that is Eq. 10 as printed: the student gets the large share.": (
                (1 - decay) * teacher + decay * student
            ),
            "the decay has no limit there.": (step * teacher + student) / (step + 1),
            "the decay is 0.99 from the start there.": 0.99 * teacher + 0.01 * student,
        }
        given = answer(teacher.copy(), student.copy(), step)
        right = decay * teacher + (1 - decay) * student
        if wrong := off(given, right, mistakes=mistakes, what=f"the teacher after step {step}"):
            return wrong
    return None


@exercise(
    "07.3",
    hint="put t/L = 1/2 into the formula, and square before you multiply by -5.",
    praise="Less than a third of its end: most of the rise lies in the second half.",
)
def weight_at_half(answer: Any) -> str | None:
    """Weight of the unlabeled term halfway through a run."""
    mistakes = {
        "that is the ramp alone; multiply by its largest weight.": np.exp(-1.25),
        "that would be a straight line.": 0.05,
        "the square is missing.": 0.1 * np.exp(-2.5),
        "that is the weight at the very start.": 0.1 * np.exp(-5),
    }
    return off(answer, 0.1 * np.exp(-1.25), mistakes=mistakes, tolerance=1e-3)
