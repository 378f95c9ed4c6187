"""Lesson 08: right answers and typical wrong ones, read by tests/test_exercises.py."""


def paste(around, inside, top, left, height, width):
    mixed = around.copy()
    mixed[top : top + height, left : left + width] = inside[top : top + height, left : left + width]
    return mixed


def in_place(around, inside, top, left, height, width):
    around[:] = paste(around, inside, top, left, height, width)
    return around


RIGHT = {"08.1": (4 / 9, 8 / 27), "08.2": paste, "08.3": 99}
WRONG = [
    ("08.1", (2 / 3, 8 / 27), "share of an edge"),
    ("08.1", (4 / 9, 19 / 27), "around the box"),
    ("08.1", (44.4, 29.6), "in percent"),
    ("08.1", 4 / 9, "two numbers"),
    ("08.2", lambda a, b, *box: paste(b, a, *box), "roles are swapped"),
    ("08.2", lambda a, b, top, left, h, w: paste(a, b, top, left, w, h), "height and width"),
    ("08.2", lambda a, b, t, left, h, w: paste(a, b, t, left, h - t, w - left), "first corner"),
    ("08.2", in_place, "was changed"),
    ("08.3", 100, "one percent fewer"),
    ("08.3", 9, "one axis"),
    ("08.3", 1 / 99, "other way round"),
    ("08.3", 10, "hundredth"),
]
