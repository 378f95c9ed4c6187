"""Lesson 15: right answers and typical wrong ones, read by tests/test_exercises.py."""


def rule(low, high, gain):
    return "holds" if low > 0 else "refuted" if high < gain / 2 else "undecided"


RIGHT = {"15.1": rule, "15.2": (0.6, 0.346)}
WRONG = [
    ("15.1", lambda low, high, gain: "holds" if low > 0 else "refuted", "is not 'refuted'"),
    ("15.1", lambda low, high, gain: low > 0, "three words"),
    ("15.2", (0.49, 0.28), "divide by n - 1"),
    ("15.2", (0.6, 0.6), "standard error"),
    ("15.2", 0.6, "two numbers"),
]
