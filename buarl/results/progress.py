"""How long the runs of a plan will still take, in seconds and in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from buarl.data.text import read_text
from buarl.results.ledger import read_entry
from buarl.results.plan import PROGRESS, Plan, State, chains
from buarl.training.config import Config, config_for


def seconds_left(out: Path, plan: Plan, states: Mapping[str, State], jobs: int = 1) -> float | None:
    """How long the trainings that are left take, from the speed of those that are done or run.

    Args:
        out: The folder of the plan. plan: The plan. states: From `states_of`.
        jobs: How many run at once.
    Returns:
        Seconds; None while no training has said how fast it is. A stage that another run lends
        counts once. Evaluations are not counted. A stage of which no run has done a step is taken
        to cost as much per image as those that were seen.
    """
    runs, rates = plan.runs(), {}
    per_image: dict[str, list[float]] = {}  # by data set: a volume takes longer than a slice
    configs = {name: config_for(row) for name, row in runs.items()}
    positions = {name: _position(Path(out), name, states[name], configs[name]) for name in runs}
    for name, row in runs.items():
        for stage, (steps, seconds) in enumerate(positions[name]):
            if steps and seconds:
                rates.setdefault((row.source, row.method, stage), []).append(seconds / steps)
                each = seconds / steps / _images(configs[name], stage)
                per_image.setdefault(row.source, []).append(each)
    if not rates:
        return None
    anywhere = [each for of_source in per_image.values() for each in of_source]
    total = 0.0
    for chain in chains(runs, plan.root):
        for place, name in enumerate(chain):
            for stage, steps in enumerate(configs[name].steps):
                if states[name] == "done" or (
                    place and stage == 0 and len(configs[name].steps) > 1
                ):
                    continue
                row, images = runs[name], _images(configs[name], stage)
                unseen = [each * images for each in per_image.get(row.source, anywhere)]
                known = rates.get((row.source, row.method, stage), unseen)
                rest = max(steps - positions[name][stage][0], 0)
                total += rest * sum(known) / len(known)
    return total / max(jobs, 1)


def _images(config: Config, stage: int) -> int:
    """Images of a step."""
    return config.stages[stage].labeled_batch + config.stages[stage].unlabeled_batch


def _position(out: Path, name: str, state: State, config: Config) -> list[tuple[int, float]]:
    """Steps and seconds of every stage so far."""
    places = [(0, 0.0)] * len(config.steps)
    try:
        if state == "done":
            seconds = list(read_entry(out / f"{name}.json")["seconds"].values())
            return list(zip(config.steps, seconds, strict=True))
        said = json.loads(read_text(out / name / PROGRESS))
        for stage, (steps, seconds) in enumerate(said["stages"][: len(places)]):
            places[stage] = int(steps), float(seconds)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no word of it yet
    return places


def duration(seconds: float | None) -> str:
    """A length of time in words.

    >>> duration(0), duration(40), duration(8000), duration(None)
    ('no time', '1 min', '2 h 13 min', 'an unknown time')
    """
    if seconds is None:
        return "an unknown time"
    if seconds == 0:
        return "no time"
    minutes = max(round(seconds / 60), 1)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def shown(states: Sequence[State]) -> str:
    """How many runs are in which state.

    >>> shown(["done", "missing", "done"])
    '2 done, 1 missing'
    """
    order = ("done", "running", "trained", "cut off", "failed", "missing")
    return ", ".join(f"{list(states).count(s)} {s}" for s in order if s in states) or "nothing"
