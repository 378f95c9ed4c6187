"""Lesson 11: right answers and typical wrong ones, read by tests/test_exercises.py."""

from dataclasses import replace

from buarl import crl, url

PAIRS = [(u, c) for u in (95, 97, 99) for c in (95, 97, 99)]


def missing(rows, build=lambda base, u, c: with_rules(base, u, c), pairs=PAIRS):
    base = rows["95, 95"]
    return {f"{u}, {c}": build(base, u, c) for u, c in pairs if f"{u}, {c}" not in rows}


def with_rules(base, u, c, **more):
    return replace(base, labeled_rule=url(u), unlabeled_rule=crl(c), **more)


def all_nine(rows):
    return {f"{u}, {c}": with_rules(rows["95, 95"], u, c) for u, c in PAIRS}


def crossed_rules(base, u, c):
    return replace(base, labeled_rule=crl(u), unlabeled_rule=url(c))


RIGHT = {
    "11.1": lambda q: ((100 - q) / q, 100 / q),
    "11.2": missing,
    "11.3": (0.10, 0.05),
}
WRONG = [
    ("11.1", lambda q: (q / (100 - q), 100 / q), "upside down"),
    ("11.1", lambda q: (1 - q / 100, 100 / q), "share of uncertain"),
    ("11.1", lambda q: (0.5, 100 / q), "paper's alpha"),
    ("11.1", lambda q: ((100 - q) / q, 2), "weighs only alpha"),  # the old text of this lesson
    ("11.1", lambda q: ((100 - q) / q, 1), "nearly so"),
    ("11.1", lambda q: (100 - q) / q, "two numbers"),
    ("11.2", all_nine, "already"),
    ("11.2", lambda rows: missing(rows, pairs=PAIRS[:5]), "of the six rows are missing"),
    ("11.2", lambda rows: missing(rows, crossed_rules), "rules are crossed"),
    ("11.2", lambda rows: missing(rows, lambda b, u, c: with_rules(b, c, u)), "percentiles are"),
    ("11.2", lambda rows: missing(rows, lambda *a: with_rules(*a, preset="toy")), "changes more"),
    ("11.2", lambda rows: [(97, 97)], "dictionary"),
    ("11.2", lambda rows: {"97/97": rows["95, 95"]}, "no such pair"),
    ("11.3", (0.05, 0.05), "5 % of both"),
    ("11.3", (0.10, 0.10), "threshold of its own"),
    ("11.3", (10, 5), "in percent"),
    ("11.3", 0.1, "two shares"),
]
