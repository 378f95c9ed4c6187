"""Lesson 09: right answers and typical wrong ones, read by tests/test_exercises.py."""

import numpy as np

RIGHT = {
    "09.1": lambda one, other: np.concatenate([one, other]).mean(),
    "09.2": (2 * 1024 / (1024 + 1028), 0.8),
    "09.3": 0.5642,
}
WRONG = [
    ("09.1", lambda one, other: one.mean(), "one way only"),
    ("09.1", lambda one, other: (one.mean() + other.mean()) / 2, "mean of two means"),
    ("09.2", (0.8, 0.998), "Dice of the volume"),
    ("09.2", (0.998, 0.998), "mean over slices"),
    ("09.2", 0.998, "two numbers"),
    ("09.3", 1.128, "half of it"),
    ("09.3", 0, "better one is not"),
]
