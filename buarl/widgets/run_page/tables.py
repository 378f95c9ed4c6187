"""The tables of a page about runs, as rows of text."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence

from buarl.capsule import RUN, Capsule, fingerprint
from buarl.evaluation.scores import summary
from buarl.results.table import COLUMNS, DECIMALS, score_text
from buarl.training.seconds import seconds_of

Table = list[list[str]]  # headings first


def run_title(run: Capsule) -> str:
    """What a run trained, in a few words.

    Args:
        run: The capsule.
    """
    row = run.row
    words = [row["method"]]
    for term in ("labeled", "unlabeled"):
        rule = row.get(f"{term}_rule") or {}
        if rule.get("name", "whole") != "whole":
            cut = rule.get("percentile")
            words.append(f"{term} {rule['name']}{'' if cut is None else f' {cut:g}'}")
    words += [f"{key}={value}" for key, value in (row.get("set") or {}).items()]
    return ", ".join(words)


def runs_table(runs: Sequence[Capsule]) -> Table:
    """One line a run and evaluation: its scores, what it is of, how long it took, what it trained.

    Scores stand next to the name, as a phone shows only the first columns.

    Args:
        runs: Capsules.
    """
    lines = [["run", "split", *COLUMNS.values()]]
    lines[0] += ["data", "labeled", "seed", "steps", "min", "trained"]
    for run in runs:
        steps = "+".join(str(stage["steps"]) for stage in run.run["config"]["stages"])
        minutes = sum(seconds_of(run.run, run.folder).values()) / 60
        labeled = run.row.get("labeled")
        about = [f"{run.row['source']}, {run.row['preset']}", str(labeled or "all"), str(run.seed)]
        about += [steps, f"{minutes:.1f}" if run.finished else "in training", run_title(run)]
        for split, rows in run.metrics.items() or [("not evaluated", None)]:
            scores = _scores(rows) if rows else {}
            cells = [score_text(key, scores.get(key)) for key in COLUMNS]
            lines.append([run.name, split, *cells, *about])
    return lines


def fault_of(run: Capsule) -> str | None:
    """Why a page cannot show a run: what its `run.json` holds under a name is something else.

    Args:
        run: The capsule; reading it has checked the other files, and of `run.json` what it needs.
    Returns:
        One sentence that names the file; None where nothing is wrong.
    """
    path = run.folder / RUN
    try:
        _ = runs_table([run]), run.class_names
    except ValueError as error:
        return str(error) if str(path) in str(error) else f"{path}: damaged ({error})"
    except KeyError as error:
        return f"{path}: damaged, it has no {error.args[0]}"
    except (AttributeError, TypeError) as error:  # a value of another type
        return f"{path}: damaged, not as a run writes it ({error})"
    return None


def spread_table(runs: Sequence[Capsule]) -> Table:
    """Mean and standard deviation (n - 1) over seeds, for rows that differ in nothing else.

    Args:
        runs: Capsules. One evaluation of one row with fewer than two seeds has no line.
    Returns:
        Headings alone where nothing has two seeds.
    """
    groups: dict[tuple[str, str], dict[int, Mapping[str, float | None]]] = {}
    titles = {}
    for run in runs:
        row = json.dumps({k: v for k, v in run.row.items() if k != "seed"}, sort_keys=True)
        for split, rows in run.metrics.items():
            groups.setdefault((row, split), {}).setdefault(run.seed, _scores(rows))
            titles[row] = run_title(run)
    lines = [["trained", "split", *COLUMNS.values(), "seeds"]]
    for (row, split), by_seed in groups.items():
        if len(by_seed) > 1:
            cells = [_mean_and_spread(key, [s[key] for s in by_seed.values()]) for key in COLUMNS]
            lines.append([titles[row], split, *cells, ", ".join(map(str, by_seed))])
    return lines


def repeated(runs: Sequence[Capsule]) -> list[str]:
    """A sentence for every run that another one repeats, as a spread counts a seed once.

    Args:
        runs: Capsules.
    """
    first: dict[str, str] = {}
    twins = [(run.name, first.setdefault(fingerprint(run.run), run.name)) for run in runs]
    return [
        f"{name} is the run {other} once more, with the same row, data and seed; a spread between "
        "seeds counts it once"
        for name, other in twins
        if name != other
    ]


def class_table(runs: Sequence[Capsule]) -> Table:
    """Scores of every class, as means over the cases of an evaluation.

    Args:
        runs: Capsules.
    """
    lines = [["run", "split", "class", *COLUMNS.values(), "cases"]]
    for run in runs:
        for split, rows in run.metrics.items():
            for name in dict.fromkeys(row["class"] for row in rows):
                ours = [row for row in rows if row["class"] == name]
                scores = _scores(ours)
                cells = [score_text(key, scores[key]) for key in COLUMNS]
                lines.append([run.name, split, name, *cells, str(len(ours))])
    return lines


def _scores(rows: Sequence[dict]) -> dict[str, float | None]:
    """The summary of an evaluation, None where there is no number."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in summary(rows).items()
    }


def _mean_and_spread(key: str, values: Sequence[float | None]) -> str:
    if None in values:
        return "-"
    mean, spread = statistics.mean(values), statistics.stdev(values)
    return f"{mean:.{DECIMALS[key]}f} ± {spread:.{DECIMALS[key]}f}"
