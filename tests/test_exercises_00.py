"""Lesson 00: right answers and typical wrong ones, read by tests/test_exercises.py."""

RIGHT = {"00.1": 97}
WRONG = [("00.1", 3, "counts from below"), ("00.1", 99, "is not 99")]
