"""Appendix A1: right answers and typical wrong ones, read by tests/test_exercises.py."""

RIGHT = {"A1.1": lambda volume: (volume - volume.mean()) / volume.std(), "A1.2": 85.75}
WRONG = [
    ("A1.1", lambda volume: volume - volume.mean(), "deviation is not 1"),
    ("A1.1", lambda volume: (volume - volume.min()) / (volume.max() - volume.min()), "0 to 1"),
    ("A1.2", 85750, "cubic millimeters"),
    ("A1.2", 43.75, "three edges"),
]
