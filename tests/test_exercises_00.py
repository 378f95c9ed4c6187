"""Lesson 00: right answers and typical wrong ones, read by tests/test_exercises.py."""

RIGHT = {"00.1": 97, "00.2": 1 / 99}
WRONG = [
    ("00.1", 3, "counts from below"),
    ("00.1", 99, "is not 99"),
    ("00.2", 0.5, "the paper's value"),
    ("00.2", 99, "upside down"),
    ("00.2", 1, "one pixel"),
]
