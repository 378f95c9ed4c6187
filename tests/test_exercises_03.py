"""Lesson 03: right answers and typical wrong ones, read by tests/test_exercises.py."""

import torch

import buarl


def shares(images, q, scope="batch"):
    return buarl.uncertain_mask(images, q, scope).double().flatten(1).mean(1)


def above_mean_of_thresholds(images, q):
    cut = buarl.entropy_threshold(images, q, "image").mean()
    return (images.double() > cut).double().flatten(1).mean(1)


RIGHT = {
    "03.1": (0, 10),
    "03.2": shares,
    "03.3": lambda q, wrong: min(1.0, (100 - q) / 100 / wrong),
}
WRONG = [
    ("03.1", (5, 5), "no two values are alike"),
    ("03.1", (10, 0), "not above it"),
    ("03.1", (0, 5), "whole or not at all"),
    ("03.1", (0, 0.1), "in percent"),
    ("03.1", 0, "two numbers"),
    ("03.2", lambda images, q: shares(images, q, "image"), "its own threshold"),
    ("03.2", above_mean_of_thresholds, "mean of two thresholds"),
    ("03.2", lambda images, q: shares(images, q).mean(), "one number an image"),
    ("03.2", lambda images, q: torch.tensor([0.1, 0.1, 0.1]), "shape"),
    ("03.3", lambda q, wrong: (100 - q) / 100 / wrong, "exceeds 1"),
    ("03.3", lambda q, wrong: (100 - q) / 100, "at random"),
    ("03.3", lambda q, wrong: min(1.0, wrong / ((100 - q) / 100)), "upside down"),
]
