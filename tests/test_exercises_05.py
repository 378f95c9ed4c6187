"""Lesson 05: right answers and typical wrong ones, read by tests/test_exercises.py."""

from torch.nn import functional


def loss_share(q, alpha, high, low):
    uncertain, certain = (1 - q / 100) * high, alpha * q / 100 * low
    return uncertain / (uncertain + certain)


def weight_share(q, alpha, high, low):
    return loss_share(q, alpha, 1, 1)


def one_hot(label):
    return functional.one_hot(label, 4)


RIGHT = {
    "05.1": lambda q, alpha: (q / 100) / (alpha * (1 - q / 100)),
    "05.2": 19,
    "05.3": loss_share,
    "05.4": lambda logits, label: logits.softmax(1) - one_hot(label),
}
WRONG = [
    ("05.1", lambda q, alpha: 1 / alpha, "per voxel"),
    ("05.1", lambda q, alpha: alpha * q / (100 - q), "it divides"),
    ("05.1", lambda q, alpha: q / (100 - q), "leaves alpha out"),
    ("05.1", lambda q, alpha: alpha * (100 - q) / q, "upside down"),
    ("05.2", 1, "regions equal"),
    ("05.2", 1 / 19, "upside down"),
    ("05.3", weight_share, "share of weight"),
    ("05.3", lambda q, alpha, high, low: high / (high + alpha * low), "per region"),
    ("05.3", lambda q, alpha, high, low: loss_share(q, 1, high, low), "forgets alpha"),
    ("05.3", lambda q, alpha, high, low: loss_share(q, 1 / alpha, high, low), "under URL"),
    ("05.4", lambda logits, label: one_hot(label) - logits.softmax(1), "sign"),
    ("05.4", lambda logits, label: logits.softmax(1), "alone"),
    ("05.4", lambda logits, label: -one_hot(label) / logits.softmax(1), "through the softmax"),
]
