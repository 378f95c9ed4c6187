"""What the methods are worth on the lessons' hearts: rows with several seeds, run once.

The runs are data, `study.json` beside this file, made by `make lesson-study`. They are trained as
the lessons' networks are, on the same three labeled patients; a seed changes first weights, order
of the batches, dropout, noise and boxes. So the spread between seeds says how far such a training
moves by chance. It does not say what other patients would change.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from scipy import stats

FILE = Path(__file__).with_name("study.json")
CHECKPOINTS = Path(__file__).with_name("checkpoints.json")


class Spread(NamedTuple):
    """A number over seeds.

    Attributes:
        mean: Over the seeds.
        sd: Standard deviation between seeds (n - 1); NaN with one seed.
        values: One for each seed, in the order of `seeds`.
        seeds: Which.
    """

    mean: float
    sd: float
    values: tuple[float, ...]
    seeds: tuple[int, ...]


class Difference(NamedTuple):
    """One row minus another, seed by seed.

    Attributes:
        mean: Over the seeds that both rows have.
        sd: Standard deviation of the differences between seeds (n - 1); NaN with one seed.
        low: Lower end of the 95 % interval of the mean, by Student's t; NaN with one seed.
        high: Its upper end.
        values: One for each seed.
        seeds: Which.
    """

    mean: float
    sd: float
    low: float
    high: float
    values: tuple[float, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """All runs of the study.

    Args:
        content: As `study.json` holds it: how it was made, and "runs".
    """

    content: dict[str, Any]

    @cached_property
    def rows(self) -> list[str]:
        """Names of the rows that have a run, in the order of `buarl.lessons.rows.STUDY_ROWS`."""
        return list(dict.fromkeys(run["row"] for run in self.content["runs"]))

    def seeds(self, row: str) -> list[int]:
        """The seeds of a row that have been run.

        Args:
            row: Its name.
        Raises:
            ValueError: no such row.
        """
        return [run["seed"] for run in self._runs(row)]

    def dice(self, row: str, network: str = "student", structure: str | None = None) -> Spread:
        """Average Dice over the validation volumes, for every seed.

        Args:
            row: Its name.
            network: "student" or "teacher".
            structure: Name of a class; None takes the mean over all.
        Raises:
            ValueError: no such row, network or class.
        """
        found = [(run["seed"], _dice(run, network, structure)) for run in self._runs(row)]
        return _spread(row, found)

    def wrong(self, row: str, moment: str = "end") -> Spread:
        """Share of wrong pixels of the student on unlabeled training slices, 0-1, for every seed.

        Args:
            row: Its name.
            moment: "end", or "pretrain" for the end of BCP's first stage: those are the first
                pseudo-labels.
        Raises:
            ValueError: no such row or moment.
        """
        found = []
        for run in self._runs(row):
            if moment not in run["wrong"]:
                raise ValueError(
                    f"moment of {row!r} must be one of {list(run['wrong'])}, got {moment!r}"
                )
            found.append((run["seed"], run["wrong"][moment]))
        return _spread(row, found)

    def difference(
        self, row: str, other: str, network: str = "student", structure: str | None = None
    ) -> Difference:
        """Subtract the Dice of another row, seed by seed.

        Args:
            row: Its name.
            other: What is subtracted.
            network: "student" or "teacher".
            structure: Name of a class; None takes the mean over all.
        Raises:
            ValueError: as `dice`, or no seed that both rows have.
        """
        ours, theirs = (self.dice(name, network, structure) for name in (row, other))
        return _difference(f"{row!r} and {other!r}", ours, theirs)

    def wrong_difference(self, row: str, other: str, moment: str = "end") -> Difference:
        """Subtract the share of wrong pixels of another row, seed by seed; below 0 is better.

        Args:
            row: Its name.
            other: What is subtracted.
            moment: See `wrong`.
        Raises:
            ValueError: as `wrong`, or no seed that both rows have.
        """
        ours, theirs = (self.wrong(name, moment) for name in (row, other))
        return _difference(f"{row!r} and {other!r}", ours, theirs)

    def cases(self, row: str, seed: int, network: str = "student") -> dict[str, float | None]:
        """Dice by "<case> <class>" of one run; None where there is nothing to score.

        Args:
            row: Its name.
            seed: One of `seeds`.
            network: "student" or "teacher".
        Raises:
            ValueError: no such run or network.
        """
        for run in self._runs(row):
            if run["seed"] == seed:
                return dict(_of_network(run, network))
        raise ValueError(f"seed of {row!r} must be one of {self.seeds(row)}, got {seed}")

    def _runs(self, row: str) -> list[dict[str, Any]]:
        found = [run for run in self.content["runs"] if run["row"] == row]
        if not found:
            raise ValueError(f"the study has the rows {self.rows}, got {row!r}")
        return found


def lesson_study(path: Path = FILE) -> Study:
    """Read the study that comes with the package.

    Args:
        path: The file.
    Returns:
        Its rows, with mean, spread and paired differences over seeds.
    Raises:
        ValueError: the file is missing or damaged; the message names it.

    >>> study = lesson_study()
    >>> 0 < study.dice("supervised").mean < 1
    True
    >>> study.difference("BCP", "supervised").mean > 0
    True
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not content["runs"]:
            raise ValueError("it holds no run")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be read as a study ({reason})") from error
    return Study(content)


def checkpoint_scores(path: Path = CHECKPOINTS) -> dict[int, dict[int, list[float]]]:
    """Read how the supervised row of the lessons scored while it trained.

    Args:
        path: The file, made by tools/run_lesson_checkpoints.py.
    Returns:
        Per seed and step the mean Dice of each of six validation patients.
    Raises:
        ValueError: the file is missing or damaged; the message names it.

    >>> runs = checkpoint_scores()
    >>> len(runs), {len(dice) for steps in runs.values() for dice in steps.values()}
    (5, {6})
    """
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        return {run["seed"]: dict(zip(run["steps"], run["dice"], strict=True)) for run in runs}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be read as scores of checkpoints ({reason})") from error


def _of_network(run: dict[str, Any], network: str) -> dict[str, float | None]:
    if network not in run["dice"]:
        raise ValueError(
            f"network of {run['row']!r} must be one of {list(run['dice'])}, got {network!r}"
        )
    return run["dice"][network]


def _dice(run: dict[str, Any], network: str, structure: str | None) -> float:
    """Mean over the volumes of each class, then over the classes."""
    by_class: dict[str, list[float]] = {}
    for name, value in _of_network(run, network).items():
        if value is not None:
            by_class.setdefault(name.split()[-1], []).append(value)
    if structure is not None and structure not in by_class:
        raise ValueError(f"structure must be one of {list(by_class)}, got {structure!r}")
    means = {name: fmean(values) for name, values in by_class.items()}
    return fmean(means.values()) if structure is None else means[structure]


def _spread(what: str, found: list[tuple[int, float]]) -> Spread:
    if not found:
        raise ValueError(f"{what} have no seed in common")
    seeds, values = zip(*found, strict=True)
    sd = stdev(values) if len(values) > 1 else math.nan
    return Spread(fmean(values), sd, tuple(values), tuple(seeds))


def _difference(what: str, ours: Spread, theirs: Spread) -> Difference:
    other = dict(zip(theirs.seeds, theirs.values, strict=True))
    both = zip(ours.seeds, ours.values, strict=True)
    spread = _spread(what, [(seed, value - other[seed]) for seed, value in both if seed in other])
    count = len(spread.seeds)
    half = float(stats.t.ppf(0.975, count - 1)) * spread.sd / math.sqrt(count)
    return Difference(
        spread.mean, spread.sd, spread.mean - half, spread.mean + half, spread.values, spread.seeds
    )
