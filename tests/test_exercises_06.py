"""Lesson 06: right answers and typical wrong ones, read by tests/test_exercises.py."""

import numpy as np


def weights(entropy, q, alpha, reduction, swap=False, divide=True):
    marked = entropy > np.percentile(entropy, q)
    weight = np.where(marked != swap, alpha, 1.0)
    if reduction == "region" and divide:
        weight = weight / np.where(marked, marked.mean(), 1 - marked.mean())
    return weight


def by_count(entropy, q, alpha, reduction):
    return weights(entropy, q, alpha, reduction) / (10 if reduction == "region" else 1)


RIGHT = {
    "06.1": weights,
    "06.2": 66.7,
    "06.3": lambda g, alpha: alpha * g / (1 - (1 - alpha) * g),
}
WRONG = [
    ("06.1", lambda *given: weights(*given, swap=True), "that is URL"),
    ("06.1", lambda *given: weights(*given, divide=False), "mean of its own"),
    ("06.1", by_count, "not by their number"),
    ("06.1", lambda e, q, a, r: weights(-e, q, a, r), "counts from below"),
    ("06.2", 33.3333, "counts from below"),
    ("06.2", 0.66667, "in percent"),
    ("06.2", 50, "weigh half"),
    ("06.3", lambda g, alpha: alpha * g, "smaller too"),
    ("06.3", lambda g, alpha: g / (g + alpha * (1 - g)), "weighs the certain"),
]
