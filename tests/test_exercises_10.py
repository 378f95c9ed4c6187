"""Lesson 10: right answers and typical wrong ones, read by tests/test_exercises.py."""

import math

from torch.nn.functional import cross_entropy

import buarl


def weighted(logits, label, regions, finish=lambda w, ce: (w * ce).mean()):
    ce = cross_entropy(logits, label, reduction="none")
    return finish(sum(r.mask * r.weight for r in regions), ce)


def per_region(logits, label, regions):
    ce = cross_entropy(logits, label, reduction="none")
    return sum((ce * r.weight)[r.mask].mean() for r in regions)


def margin(probs, weights=(1.0, 0.5)):
    best = probs.topk(2, dim=1).values
    undecided = best[:, 0] - best[:, 1] < 0.2
    return [buarl.Region(undecided, weights[0]), buarl.Region(~undecided, weights[1])]


def first_two(probs):
    close = (probs[:, 0] - probs[:, 1]).abs() < 0.2
    return [buarl.Region(close, 1.0), buarl.Region(~close, 0.5)]


RIGHT = {"10.1": weighted, "10.2": margin, "10.3": math.log(1 + 1 / math.e)}
WRONG = [
    ("10.1", lambda logits, label, regions: cross_entropy(logits, label), "weights are missing"),
    ("10.1", lambda *a: weighted(*a, lambda w, ce: (w * ce).sum()), "that is a sum"),
    ("10.1", lambda *a: weighted(*a, lambda w, ce: (w * ce).sum() / w.sum()), "sum of the weights"),
    ("10.1", per_region, "reading per region"),
    ("10.2", first_two, "not the two best"),
    ("10.2", lambda probs: margin(probs, (0.5, 1.0)), "wrong way round"),
    ("10.2", lambda probs: margin(probs)[:1], "two regions"),
    ("10.2", lambda probs: [margin(probs)[0]] * 2, "exactly one"),
    ("10.2", lambda probs: buarl.url(95)(probs), "not the undecided"),
    ("10.2", lambda probs: probs.topk(2, dim=1).values[:, 0] < 0.6, "list of buarl.Region"),
    ("10.3", math.log(1 + 3 / math.e), "LA has two"),
    ("10.3", math.log(2), "knows nothing"),
    ("10.3", 0, "with logits"),
    ("10.3", 0.731, "minus its logarithm"),
]
