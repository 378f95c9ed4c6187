"""The line of a speedrun: its scores, and where each of its seeds was trained, in its own words."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

from buarl.results.speedrun_rules import TRACKS, Entry
from buarl.training.environment import Environment, kind_of, machine_of, same_machine

MOST_P = 0.01
COLUMNS = (
    *("track", "row", "scored", "Dice", "seeds", "p", "reached", "minutes", "scoring"),
    *("hardware", "machine", "yardstick", "commit"),
)


class Seed(NamedTuple):
    """A seed that was trained and scored.

    Attributes:
        environments: Where it was trained, see `environments_of`.
        dice: Mean over cases, then classes.
        minutes: Of training.
        scoring: Minutes that scoring the checkpoint took when the line was made.
    """

    environments: Sequence[Environment]
    dice: float
    minutes: float
    scoring: float


def p_of_target(dice: Sequence[float], target: float) -> float:
    """Probability of such a mean or a higher one if the true mean were the target, one-sided.

    Args:
        dice: One score for each seed.
        target: What the mean is to reach.
    Returns:
        From Student's t; 1 where there are fewer than two scores.

    >>> round(p_of_target([0.86, 0.87, 0.88], 0.85), 3)
    0.037
    """
    if len(dice) < 2:
        return 1.0
    if statistics.stdev(dice) == 0:
        return float(statistics.mean(dice) < target)
    return float(stats.ttest_1samp(dice, target, alternative="greater").pvalue)


def check_one_machine(out: Path, seeds: Sequence[tuple[str, Environment]]) -> None:
    """Refuse seeds of different machines: their minutes have no mean.

    Args:
        out: The folder, for the message.
        seeds: What of it was trained where, in words such as "seed_1337 was trained".
    Raises:
        ValueError: two machines; the first seed and the first other one are named.
    """
    for words, environment in seeds[1:]:
        first, other = machine_of(seeds[0][1]), machine_of(environment)
        if not same_machine(seeds[0][1], environment):
            raise ValueError(
                f"{out}: all seeds must be trained on one machine, but {seeds[0][0]} on {first} "
                f"and {words} on {other}; go on where the first was trained, or in a new folder"
            )


def line_of(
    track: str, entry: Entry, seeds: Sequence[Seed], yardstick: Mapping[str, Any]
) -> dict[str, str]:
    """A line of the table of records.

    Args:
        track: A name in `TRACKS`.
        entry: What was said beforehand.
        seeds: At least one, all of one machine.
        yardstick: As `say_beforehand` returns it.
    Returns:
        Text by the names in `COLUMNS`. Where seeds differ in threads, precision or commit, all of
        these stand in the cell.
    """
    dice, minutes = [seed.dice for seed in seeds], [seed.minutes for seed in seeds]
    environments = [each for seed in seeds for each in seed.environments]
    target, needed = TRACKS[track].target, TRACKS[track].needed(kind_of(environments[0]))
    p = p_of_target(dice, target)
    enough = len(dice) == needed and p < MOST_P
    spread = f" ± {statistics.stdev(dice):.3f}" if len(dice) > 1 else ""
    return {
        "track": track if TRACKS[track].labeled else f"{track}, {entry.row.labeled} labeled",
        "row": f"{_row(entry)} {_listed(environments, 'precision')}",
        "scored": f"{'teacher' if entry.teacher else 'student'}, {entry.send_back}",
        "Dice": f"{statistics.mean(dice):.3f}{spread}",
        "seeds": f"{len(dice)} of {needed}",
        "p": f"{p:.3g}",
        "reached": f"{'yes' if enough else 'no'}, {target}",
        "minutes": f"{statistics.mean(minutes):.1f} ({min(minutes):.1f} - {max(minutes):.1f})",
        "scoring": f"{statistics.mean(seed.scoring for seed in seeds):.1f}",
        "hardware": hardware_of(environments),
        "machine": _machine(environments, yardstick),
        "yardstick": _yardstick(environments, yardstick),
        "commit": _listed(environments, "commit"),
    }


def _row(entry: Entry) -> str:
    """The row in words."""
    row = entry.row
    options = " ".join(f"{key}={value}" for key, value in row.options.items())
    network = f"network={row.network}" if row.network else ""
    words = (row.method, row.rules, row.preset, row.changes, options, network)
    return " ".join(word for word in words if word)


def hardware_of(environments: Sequence[Environment]) -> str:
    """The kind of machine within which a record is one: CPUs by their threads, or a GPU.

    Args:
        environments: Of all seeds, of one machine. Of runs that keep no threads it is not known.

    >>> hardware_of([{"device": "cpu", "threads": 1}, {"device": "cpu", "threads": 2}])
    'two CPU cores'
    >>> hardware_of([{"device": "cpu", "threads": 8}]), hardware_of([{"device": "cuda:0"}])
    ('more CPU cores', 'one GPU')
    """
    if kind_of(environments[0]) != "cpu":
        return "one GPU"
    threads = [each.get("threads") for each in environments]
    if None in threads:
        return "CPU cores, unknown how many"
    return "two CPU cores" if max(threads) <= 2 else "more CPU cores"


def _machine(environments: Sequence[Environment], yardstick: Mapping[str, Any]) -> str:
    name = machine_of(environments[0])
    if kind_of(environments[0]) == "cuda":
        return name
    bf16 = ", native bf16" if yardstick["native_bf16"] and yardstick["machine"] == name else ""
    return f"{name}{bf16}, {_threads(_distinct(environments, 'threads'))}"


def _yardstick(environments: Sequence[Environment], yardstick: Mapping[str, Any]) -> str:
    """Its time; also where and how it was measured, where that is not how the seeds were trained.

    A folder that was begun without one may have got it elsewhere.
    """
    name, threads = machine_of(environments[0]), str(yardstick["threads"])
    words = f"{yardstick['seconds']:.2f} s"
    if yardstick["machine"] != name:
        return f"{words} on {yardstick['machine']}"
    alike = kind_of(environments[0]) == "cuda" or threads in _distinct(environments, "threads")
    return words if alike else f"{words}, {_threads([threads])}"


def _threads(counts: Sequence[str]) -> str:
    return f"{', '.join(counts)} {'thread' if [*counts] == ['1'] else 'threads'}"


def _listed(environments: Iterable[Environment], key: str) -> str:
    return ", ".join(_distinct(environments, key))


def _distinct(environments: Iterable[Environment], key: str) -> list[str]:
    """The different values of a key in order of the seeds."""
    values = [environment.get(key) for environment in environments]
    return list(dict.fromkeys("unknown" if value is None else str(value) for value in values))
