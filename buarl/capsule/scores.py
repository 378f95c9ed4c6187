"""What a table of scores must be, whether it stands in a run folder or in an entry of a ledger."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

RANGES = {"dice": 1.0, "jaccard": 1.0, "hd95": math.inf, "asd": math.inf}
ROUNDED = 1e-4  # scores are written with six digits


def check_scores(
    rows: Sequence[Mapping[str, Any]],
    notes: Sequence[str] = (),
    *,
    classes: Collection[str] = (),
    cases: Collection[str] | None = None,
) -> None:
    """Refuse scores that cannot be those of one whole evaluation.

    Args:
        rows: One for each case and class, with "case", "class", the scores of `RANGES` and
            "missed". A score that is not there, None or NaN, is that of a structure without a mask.
        notes: What stands above the table; one of them says how many volumes were scored.
        classes: The foreground classes; without them those that the rows have.
        cases: The cases that there must be; None takes the number that the notes say.
    Raises:
        ValueError: what is damaged, incomplete or mixed, in one sentence.

    >>> row = {"case": "a", "class": "LV", "dice": 0.9, "hd95": 1.0, "asd": 0.5, "missed": False}
    >>> check_scores([{**row, "jaccard": 0.9 / 1.1}])
    >>> check_scores([{**row, "jaccard": 0.1}])
    Traceback (most recent call last):
    ValueError: damaged, case 'a', class 'LV': Dice 0.9 makes a Jaccard of 0.818182, it is 0.1
    """
    if not rows:
        raise ValueError("incomplete, no row")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        place = (row["case"], row["class"])
        where = f"case {place[0]!r}, class {place[1]!r}"
        if classes and place[1] not in classes:
            raise ValueError(f"mixed, this run has no class {place[1]!r}")
        if place in seen:
            raise ValueError(f"damaged, {where} twice")
        seen.add(place)
        if wrong := _wrong(row):
            raise ValueError(f"damaged, {where}: {wrong}")
    found = {case for case, _ in seen}
    if len(seen) != len(found) * len(classes or {name for _, name in seen}):
        raise ValueError("incomplete, a case lacks a class")
    if cases is not None and (foreign := sorted(found - set(cases))):
        raise ValueError(f"mixed, this run does not validate on case {foreign[0]!r}")
    needed = len(cases) if cases is not None else volumes_said(notes)
    if needed is not None and len(found) != needed:
        raise ValueError(f"incomplete, {len(found)} of {needed} volumes")


def notes_of(text: str) -> list[str]:
    """The notes above a table: the lines before it that begin with #, without that.

    Only those: a case may have a name that begins with #.

    >>> notes_of("# a note\\ncase,dice\\n#1,0.5")
    ['a note']
    """
    return [line[2:] for line in takewhile(lambda line: line.startswith("#"), text.splitlines())]


def words_of(notes: Sequence[str]) -> list[str]:
    """What notes say, piece by piece.

    >>> words_of(["split val, 20 volumes; last checkpoint", "seed 1"])
    ['split val, 20 volumes', 'last checkpoint', 'seed 1']
    """
    return [word for note in notes for word in note.split("; ")]


def volumes_said(notes: Sequence[str]) -> int | None:
    """How many volumes the notes of an evaluation tell of; None where they do not say.

    >>> volumes_said(["split val, 20 volumes; last checkpoint"])
    20
    """
    found = [re.match(r"split \w+, (\d+) volumes?;", note) for note in notes]
    return next((int(match[1]) for match in found if match), None)


def _wrong(row: Mapping[str, Any]) -> str:
    """What is wrong with one row; "" where nothing is."""
    scores = {}
    for name, top in RANGES.items():
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            return f"{name} is {value!r:.60}"
        scores[name] = math.nan if value is None else float(value)
        if not (math.isnan(scores[name]) or 0 <= scores[name] <= top):
            return f"{name} is {value}"
    dice, jaccard = scores["dice"], scores["jaccard"]
    if math.isnan(dice):  # both masks are empty, and then there is no score at all
        return "" if all(map(math.isnan, scores.values())) else "it has no Dice, but other scores"
    if math.isnan(jaccard) or abs(jaccard - dice / (2 - dice)) > ROUNDED:
        return f"Dice {dice:g} makes a Jaccard of {dice / (2 - dice):.6g}, it is {jaccard:g}"
    if row["missed"] and dice > 0:
        return f"it is missed and has a Dice of {dice:g}"
    if not row["missed"] and math.isnan(scores["hd95"] + scores["asd"]):
        return "it has a Dice and no distances"
    return ""
