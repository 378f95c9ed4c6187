"""Lesson 14: right answers and typical wrong ones, read by tests/test_exercises.py."""

import numpy as np


def cost(stages, unit=3600):
    return sum(steps * seconds for steps, seconds in stages) / unit


def all_at_once(stages):
    return sum(steps for steps, _ in stages) * sum(seconds for _, seconds in stages) / 3600


RIGHT = {
    "14.1": cost,
    "14.2": lambda times: np.median(np.diff(times)),
    "14.3": (0.777, 0.006),
}
WRONG = [
    ("14.1", lambda stages: cost(stages, 1), "in seconds"),
    ("14.1", lambda stages: cost(stages, 60), "in minutes"),
    ("14.1", lambda stages: cost(stages[-1:]), "last stage"),
    ("14.1", all_at_once, "before it multiplies"),
    ("14.2", lambda times: np.diff(times).mean(), "hiccup pulls"),
    ("14.2", lambda times: times[-1] / len(times), "number of steps"),
    ("14.2", np.median, "differences first"),
    ("14.2", lambda times: np.diff(times).min(), "fastest"),
    ("14.3", (0.777, 0.0051), "divides by 5"),
    ("14.3", (0.777, 0.0000325), "variance"),
    ("14.3", (0.777, 0.014), "range"),
    ("14.3", (0.777, 0.00255), "root of 5"),
    ("14.3", (0.78, 0.006), "the mean"),
    ("14.3", 0.777, "two numbers"),
]
