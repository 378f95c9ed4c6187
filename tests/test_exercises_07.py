"""Lesson 07: right answers and typical wrong ones, read by tests/test_exercises.py."""


def ema(teacher, student, step, limit=0.99):
    decay = min(step / (step + 1), limit)
    return decay * teacher + (1 - decay) * student


RIGHT = {"07.1": 69, "07.2": ema, "07.3": 0.0287}
WRONG = [
    ("07.1", 50, "of the rest"),
    ("07.1", 99, "mean age"),
    ("07.1", 100, "time constant"),
    ("07.1", 34, "is not 34"),
    ("07.2", lambda teacher, student, step: ema(student, teacher, step), "as printed"),
    ("07.2", lambda teacher, student, step: ema(teacher, student, step, 1), "no limit"),
    ("07.2", lambda teacher, student, step: 0.99 * teacher + 0.01 * student, "from the start"),
    ("07.3", 0.2865, "ramp alone"),
    ("07.3", 0.05, "straight line"),
    ("07.3", 0.00821, "square"),
    ("07.3", 0.000674, "very start"),
]
