"""Lesson 12: right answers and typical wrong ones, read by tests/test_exercises.py."""

import torch

from buarl.methods.mc_net.mutual import sharpen


def normalized(probs, power, axis=1):
    powered = probs**power
    return powered / powered.sum(axis, keepdim=True)


def divergence(predictions, axis=1):
    mean = predictions.mean(0)
    return (mean * (mean / predictions).log()).sum(axis)


RIGHT = {
    "12.1": lambda probs, temperature: (probs.log() / temperature).softmax(1),
    "12.2": divergence,
    "12.3": 0.64,
}
WRONG = [
    ("12.1", sharpen, "every class against the rest"),
    ("12.1", normalized, "flattens"),
    ("12.1", lambda probs, temperature: normalized(probs, 1 / temperature, 0), "axis 1"),
    ("12.1", lambda probs, temperature: probs ** (1 / temperature), "divided by its sum"),
    ("12.2", lambda p: (p * (p / p.mean(0)).log()).sum(1), "other way"),
    ("12.2", lambda p: -divergence(p), "sign"),
    ("12.2", lambda p: divergence(p, 0), "sum over the classes"),
    ("12.2", lambda p: divergence(p).mean(), "one number"),
    ("12.2", lambda p: divergence(p) / torch.tensor(2.0).log(), "bits"),
    ("12.3", 0.36, "left"),
    ("12.3", 64.1, "percent"),
    ("12.3", 0.5, "not 0.5"),
]
