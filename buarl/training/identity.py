"""Which row a run is of: by its numbers, not by the words that once gave them.

A row names a preset, and a preset may change; a row may also set a number that its preset gives
anyway. So a run that is read back is compared with what its row means today.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from buarl.arguments import plain_number
from buarl.outside import Code
from buarl.training.config import Config, Experiment, config_for

DEFAULTS = {each.name: each.default for each in fields(Config) if each.default is not MISSING}
NO_MATTER = ("precision", "checkpoint_every")  # compared elsewhere; changes no weight


def row_key(row: Mapping[str, Any], *, any_seed: bool = False) -> str:
    """A text that is the same for the same row, whatever its numbers are written as.

    Args:
        row: As JSON has it.
        any_seed: The same for all its seeds, too.

    >>> row_key({"a": 95.0, "b": [0.5, 2]}) == row_key({"b": [0.5, 2.0], "a": 95})
    True
    """
    return json.dumps(_plain_numbers({**row, "seed": 0} if any_seed else row), sort_keys=True)


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_numbers(each) for each in value]
    return plain_number(value) if isinstance(value, float) else value


def plain_row(row: Experiment) -> Experiment:
    """The same row without the numbers in `set` that its preset gives anyway.

    Steps that are the same in every stage become one number.

    Args:
        row: Any row. One with code from outside the package stays as it is.

    >>> plain_row(Experiment("bcp", preset="mini", set={"steps": (500, 500)})).set
    {'steps': 500}
    >>> plain_row(Experiment("bcp", preset="mini", set={"steps": 1000, "lr": 0.03})).set
    {'lr': 0.03}
    """
    if not row.set:
        return row
    try:
        numbers, steps = config_for(row), row.set.get("steps")
        if isinstance(steps, list | tuple):
            once = replace(row, set={**row.set, "steps": steps[-1]})
            row = once if config_for(once) == numbers else row
        for key in row.set:
            shorter = replace(row, set={k: v for k, v in row.set.items() if k != key})
            if config_for(shorter) == numbers:
                row = shorter
    except ValueError:  # code that only its owner has
        pass
    return row


def changed_since(entry: Mapping[str, Any], code: Code = ()) -> list[str]:
    """Numbers that the row of a run has today, other than those it was trained with.

    Args:
        entry: "experiment" and "config" of a run, as JSON.
        code: What the run may use from outside the package, see `buarl.outside`.
    Returns:
        Names of numbers, such as "stages"; empty where a run of the row would be the same today, or
        where that cannot be said, as with code that is not named.
    """
    then = entry.get("config")
    try:
        config = config_for(Experiment.from_dict(entry["experiment"], code), code)
    except (ValueError, TypeError, KeyError, AttributeError):  # no row of ours, or a damaged one
        return []
    if not isinstance(then, Mapping):
        return []
    today, then = config.as_dict(), {**DEFAULTS, **then}  # what runs did not say yet
    names = [name for name in today if name in then and name not in NO_MATTER]
    return [name for name in names if not _same(then[name], today[name], name)]


def changed_words(run: Mapping[str, Any], code: Code = ()) -> str:
    """What to say of a run whose row has other numbers today; "" where there is nothing to say."""
    if not (changed := changed_since(run, code)):
        return ""
    row, commit = run["experiment"], run.get("environment", {}).get("commit", "unknown")
    return (
        f"was trained when preset {row['preset']} gave its row other {', '.join(changed)}; "
        f"the version that it knows is commit {commit}"
    )


def _same(then: Any, today: Any, name: str = "") -> bool:
    """Whether two values agree; a file may be older than some keys of the values in it."""
    if isinstance(then, Mapping) and isinstance(today, Mapping):
        if name == "settings" and set(then) != set(today):
            return False
        if name == "schedule":
            then = {"type": "Constant", **then}  # the only one before schedules had names
        return all(_same(value, today.get(key), key) for key, value in then.items())
    if isinstance(then, list) and isinstance(today, list):
        return len(then) == len(today) and all(map(_same, then, today))
    return then == today
