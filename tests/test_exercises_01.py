"""Lesson 01: right answers and typical wrong ones, read by tests/test_exercises.py."""

import numpy as np

RIGHT = {
    "01.1": lambda x, y: np.corrcoef(np.ravel(x), np.ravel(y))[0, 1],
    "01.2": lambda image, turns, flip: (
        np.flip(np.rot90(image, turns), 1) if flip else np.rot90(image, turns)
    ),
    "01.3": 909,
}
WRONG = [
    ("01.1", lambda x, y: (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()), "means"),
    ("01.1", lambda x, y: np.cov(x.ravel(), y.ravel())[0, 1], "contrast"),
    ("01.2", lambda image, turns, flip: np.flip(np.rot90(image, turns), int(flip)), "only 4"),
    ("01.2", lambda image, turns, flip: image[:2], "shape"),
    ("01.3", 2000, "12 labeled"),
    ("01.3", 10_000 / 11, "full passes"),
]
