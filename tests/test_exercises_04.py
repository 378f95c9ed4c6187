"""Lesson 04: right answers and typical wrong ones, read by tests/test_exercises.py."""

import math

import numpy as np


def risk(doubt, wrong, coverage, order=1):
    kept = np.argsort(order * doubt)[: round(coverage * len(doubt))]
    return wrong[kept].mean()


RIGHT = {
    "04.1": 0.1 * 0.1 + 0.3 * 0.2,
    "04.2": 4 / math.log(3),
    "04.3": risk,
}
WRONG = [
    ("04.1", 0.1, "every bin alike"),
    ("04.1", 0.05, "do not cancel"),
    ("04.1", 7.0, "in percent"),
    ("04.1", 0.2, "largest"),
    ("04.2", math.log(3) / 4, "inverse"),
    ("04.2", math.log(3), "by what is 4 divided"),
    ("04.2", 1.309, "scales the probability"),
    ("04.3", lambda doubt, wrong, coverage: risk(doubt, wrong, coverage, -1), "most doubtful"),
    ("04.3", lambda doubt, wrong, coverage: coverage * risk(doubt, wrong, coverage), "all pixels"),
    ("04.3", lambda doubt, wrong, coverage: wrong.mean(), "risk of all"),
    ("04.3", lambda doubt, wrong, coverage: 1 - risk(doubt, wrong, coverage), "are right"),
]
