"""Lesson 13: right answers and typical wrong ones, read by tests/test_exercises.py."""

import numpy as np
from scipy.ndimage import distance_transform_edt


def distance(mask, sign=1, boundary=True, scaled=True):
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    edge = inside == 1
    if scaled:
        inside, outside = inside / inside.max(), outside / outside.max()
    return sign * np.where(edge & boundary, 0, outside - inside)


def at_a_time(mask):
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    both = (outside - inside) / max(outside.max(), inside.max())
    return np.where(inside == 1, 0, both)


RIGHT = {
    "13.1": distance,
    "13.2": 87.9,
    "13.3": lambda vectors, scores, size: vectors[scores.argsort(descending=True)[:size]],
}
WRONG = [
    ("13.1", lambda mask: distance(mask, sign=-1), "sign"),
    ("13.1", lambda mask: distance(mask, boundary=False), "inner boundary"),
    ("13.1", lambda mask: distance(mask, scaled=False), "in pixels"),
    ("13.1", lambda mask: abs(distance(mask)), "no sign"),
    ("13.1", at_a_time, "same maximum"),
    ("13.2", -87.9, "positive"),
    ("13.2", 92.1, "denominator"),
    ("13.2", 0.0549, "z = 40"),
    ("13.2", 38.2, "base 10"),
    ("13.3", lambda vectors, scores, size: vectors[scores.argsort()[:size]], "lowest"),
    ("13.3", lambda vectors, scores, size: vectors[:size], "first candidates"),
    ("13.3", lambda vectors, scores, size: vectors[scores.topk(size).indices], "raised"),
]
