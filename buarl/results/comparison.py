"""A comparison of two groups of runs in words."""

from __future__ import annotations

from buarl.arguments import counted
from buarl.results.statistics import Comparison

SOURCES = ("arXiv 2307.10926", "arXiv 2409.17763", "arXiv 2605.25561")
"""On how much a test set of a given size can carry; named, not described: see `text`."""

TOO_NARROW = (
    "an interval of so few is too narrow: of simulated ones (3 seeds, 10 patients) 82 to 95 of 100 "
    "held the true difference, the fewer the more seeds differ"
)


def comparison_text(title: str, found: Comparison, score: str = "dice") -> str:
    """A comparison in words, Dice and Jaccard in points (hundredths).

    Args:
        title: What is compared with what. found: The comparison. score: Which score.
    """
    percent = score in ("dice", "jaccard")
    factor, unit = (100, "points") if percent else (1, "voxels")
    people = len(dict.fromkeys(found.patients))
    values = [factor * v for v in (found.mean, found.low, found.high)]
    lines = [
        title,
        f"difference of {score}: {values[0]:+z.2f} {unit}, 95 % interval {values[1]:+.2f} to "
        f"{values[2]:+.2f} over seeds and patients together",
        f"paired: seeds {' '.join(map(str, found.seeds))}; {counted(len(found.cases), 'volume')} "
        f"of {counted(people, 'patient')}",
        f"Wilcoxon over patients: p = {found.p:.3g}",
    ]
    lines.append(_said_of_interval(len(found.seeds), people))
    if percent:
        lines += _power_lines(found, people)
    if found.unpaired:
        lines.append(f"left out, in one group only or without a score: {', '.join(found.unpaired)}")
    return "\n".join(lines)


def _said_of_interval(seeds: int, people: int) -> str:
    if seeds == people == 1:
        return "one seed and one patient: the interval is over nothing and says nothing"
    if seeds == 1:
        return "one seed: the interval is over patients only and says nothing of seeds"
    if people == 1:
        return "one patient: the interval is over seeds only and says nothing of patients"
    return TOO_NARROW


def _power_lines(found: Comparison, people: int) -> list[str]:
    lines = []
    if found.seeds_needed is not None:
        lines.append(
            f"to see 0.5 points between seeds on these volumes: "
            f"{counted(found.seeds_needed, 'seed')} "
            f"(spread {100 * found.seed_spread:.2f})"
        )
    if found.patients_needed is not None:
        lines.append(
            f"to see 0.5 points between patients: "
            f"{counted(found.patients_needed, 'patient')} (spread "
            f"{100 * found.patient_spread:.2f}); these {people} show {100 * found.visible:.2f} "
            f"points at best, however many seeds (on test sets of this size see also "
            f"{', '.join(SOURCES)})"
        )
    return lines
