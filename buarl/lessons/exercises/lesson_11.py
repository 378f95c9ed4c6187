"""Judges of lesson 11, reading the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from buarl.lessons.check import exercise
from buarl.lessons.exercises.judging import off
from buarl.regions import crl, url
from buarl.results.paper import table_rows
from buarl.training.config import Experiment


@exercise(
    "11.1",
    hint="set the two weights equal; then every pixel has the weight of a certain one.",
    praise="The multiple is nearly 1: all pixels weigh the same, and a little too much.",
)
def fair_alpha(answer: Callable[..., Any]) -> str | None:
    """The alpha at which all pixels weigh alike per region, and the multiple of the plain mean."""
    for q in (99.0, 95.0, 80.0):
        given = answer(q)
        if not isinstance(given, tuple | list) or len(given) != 2:
            return "two numbers are asked for: alpha, and the multiple of the plain mean."
        alpha, fraction = (100 - q) / q, q / 100
        mistakes = {
            "that is the ratio upside down; a small region needs a small alpha.": 1 / alpha,
            "that is the share of uncertain pixels; set the two weights equal instead.": 1
            - fraction,
            "that is the paper's alpha, at which an uncertain pixel weighs far more.": 0.5,
            "at alpha = 1 the regions weigh the same, and their pixels do not.": 1.0,
        }
        if wrong := off(given[0], alpha, mistakes=mistakes, what="alpha"):
            return wrong
        mistakes = {
            "two means are added, but the first weighs only alpha.": 2.0,
            "that is upside down: each pixel weighs more than 1 / N, not less.": fraction,
            "that is nearly so; but a certain pixel weighs 1 / (q/100 N), not 1 / N.": 1.0,
            "that adds the weights of the two regions, but they hold different pixels.": (
                1 + alpha + fraction
            ),
        }
        if wrong := off(given[1], 1 / fraction, mistakes=mistakes, what="the multiple"):
            return wrong
    return None


@exercise(
    "11.2",
    hint="nine pairs of 95, 97 and 99, less the three that are there; replace() changes two rules.",
    praise="Each is data, so each is one `buarl train` away.",
)
def missing_rows(answer: Callable[..., Any]) -> str | None:
    """The six rows that Table 5 does not have."""
    there = table_rows(5)
    given = answer(dict(there))
    if not isinstance(given, Mapping) or not all(isinstance(r, Experiment) for r in given.values()):
        return "a dictionary from names to experiments is asked for."
    wanted = {f"{u}, {c}": (u, c) for u in (95, 97, 99) for c in (95, 97, 99)}
    if repeated := [name for name in given if name in there]:
        return f"{repeated[0]!r} is in the table already."
    if odd := [name for name in given if name not in wanted]:
        return f'{odd[0]!r} is no such pair; a name is written as "99, 95".'
    if absent := [name for name in wanted if name not in given and name not in there]:
        return f"{len(absent)} of the six rows are missing."
    base = there["95, 95"]
    for name, row in given.items():
        u, c = wanted[name]
        rules = row.labeled_rule, row.unlabeled_rule
        if rules == (crl(u), url(c)):
            return f"in {name!r} the rules are crossed: URL goes with labels."
        if rules != (url(u), crl(c)):
            if rules == (url(c), crl(u)):
                return f"in {name!r} the percentiles are crossed: URL's comes first."
            return f"the row {name!r} has {rules[0]} and {rules[1]}."
        if row != replace(base, labeled_rule=url(u), unlabeled_rule=crl(c)):
            return f"the row {name!r} changes more than its two rules; begin from one of the table."
    return None


@exercise(
    "11.3",
    hint="5 % of all pixels of two images are marked; where do they lie?",
    praise="Per batch the easy image gives its share to the hard one.",
)
def scope_of_two(answer: Any) -> str | None:
    """Which share of the hard image is marked, per batch and per image."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return "two shares are asked for: per batch, then per image."
    mistakes = {
        "the marked pixels are 5 % of both images, and all of them lie in the hard one.": 0.05,
        "that is the share that is not marked.": 0.95,
        "that is in percent; a share lies in 0 to 1.": 10.0,
    }
    wrong = off(answer[0], 0.10, mistakes=mistakes, tolerance=1e-3, what="the share per batch")
    mistakes = {
        "per image, each has a threshold of its own.": 0.10,
        "that is in percent; a share lies in 0 to 1.": 5.0,
    }
    return wrong or off(
        answer[1], 0.05, mistakes=mistakes, tolerance=1e-3, what="the share per image"
    )
