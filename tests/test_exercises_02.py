"""Lesson 02: right answers and typical wrong ones, read by tests/test_exercises.py."""

import numpy as np


def half(entropy, wrong, order=1):
    found = wrong[np.argsort(-order * entropy)].cumsum() / wrong.sum()
    return (np.searchsorted(found, 0.5) + 1) / len(found)


RIGHT = {
    "02.1": lambda probs: 1 - probs.max(1).values,
    "02.2": half,
    "02.3": (0.777, 0.098),
}
WRONG = [
    ("02.1", lambda probs: probs.amax(1), "confidence itself"),
    ("02.1", lambda probs: 1 - probs.amax(0), "axis 1"),
    ("02.2", lambda entropy, wrong: half(entropy, wrong, -1), "most certain"),
    ("02.2", lambda entropy, wrong: wrong.mean() / 2, "perfect order"),
    ("02.3", (1.121, 0.141), "in bits"),
    ("02.3", (0.777, 0.777), "entropy after"),
    ("02.3", 0.777, "two numbers"),
]
