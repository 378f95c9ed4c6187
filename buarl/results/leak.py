"""The leak meter: how much does one run gain on paper if its checkpoint is chosen on the test set?

Every validation of a run scored every volume. Half of the patients stand in for a validation set,
the other half for a test set, and the same run is reported under four rules, always on the second
half: the student at its best there (chosen on the test set), the student at its best on the first
half (chosen on validation), the student after the last step, and the teacher after the last step.
All or many splits of the patients into halves are averaged. No test case takes part.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np

from buarl.capsule import VALIDATION, read_table
from buarl.evaluation.protocols import Validated, check_validated_to_end, read_validated
from buarl.results.patients import patients_of_run
from buarl.results.table import markdown_table
from buarl.training.run import read_run


class TooFew(ValueError):
    """There are no two patients to part into halves."""


RULES = ("best on test", "best on validation", "last", "last teacher")
MOST_SPLITS = 500


def leak(
    validated: Sequence[Validated], patients: dict[str, str] | None = None, seed: int = 0
) -> dict[str, float]:
    """The mean Dice of one run under four rules of selection, on volumes that stand in for a test.

    Args:
        validated: All validations of a run, see `read_validated`; those of the last stage count.
        patients: The patient of every case; both halves hold whole patients. None takes every case
            for a patient.
        seed: Draws 500 splits into halves where there are more.
    Returns:
        Dice 0-1 by the names of `RULES`, means over classes, cases and splits ("last teacher" only
        where the method has a teacher); "splits", how many; "validations", how many checkpoints
        there were to choose from.
    Raises:
        TooFew: fewer than two patients with a Dice at every validation; others are left out.
        ValueError: cases that not every validation scored.

    >>> scores = {50: (0.5, 0.9), 100: (0.7, 0.6)}  # two cases at two validations
    >>> rows = [
    ...     Validated("train", step, "student", case, "LV", dice)
    ...     for step, both in scores.items() for case, dice in zip("ab", both, strict=True)
    ... ]
    >>> found = leak(rows)  # b stands in for the test, then a
    >>> [round(found[rule], 3) for rule in RULES[:3]]
    [0.8, 0.55, 0.65]
    """
    last_stage = validated[-1].stage if validated else ""
    lines = [line for line in validated if line.stage == last_stage]
    cases = list(dict.fromkeys(line.case for line in lines))
    student = _by_step(lines, "student", cases)  # step -> Dice of every case
    teacher = _by_step(lines, "teacher", cases)
    scored = ~np.isnan([*student.values(), *teacher.values()]).any(0) if cases else []
    cases = [case for case, kept in zip(cases, scored, strict=True) if kept]
    patients = {case: case for case in cases} | dict(patients or {})
    names = list(dict.fromkeys(patients[case] for case in cases))
    if len(names) < 2:
        raise TooFew(f"the leak meter needs at least 2 patients to part, got {len(names)}")
    student, teacher = ({s: d[scored] for s, d in each.items()} for each in (student, teacher))
    curve = np.stack(list(student.values()))  # (validations, cases)
    found: dict[str, list[float]] = {rule: [] for rule in RULES}
    for chosen in halves(names, seed):
        ours = np.array([patients[case] in chosen for case in cases])
        validation, test = curve[:, ours].mean(1), curve[:, ~ours].mean(1)
        found["best on test"].append(float(test.max()))
        found["best on validation"].append(float(test[validation.argmax()]))
        found["last"].append(float(test[-1]))
        if teacher:
            found["last teacher"].append(float(list(teacher.values())[-1][~ours].mean()))
    means = {rule: float(np.mean(values)) for rule, values in found.items() if values}
    return {**means, "splits": len(found["last"]), "validations": len(curve)}


def halves(names: Sequence[str], seed: int = 0) -> list[frozenset[str]]:
    """Which patients choose: all splits into halves, or 500 drawn ones where there are more.

    An odd patient stands in the half that reports.

    >>> [sorted(half) for half in halves("abcd")][:3]
    [['a', 'b'], ['a', 'c'], ['a', 'd']]
    """
    half = len(names) // 2
    if comb(len(names), half) <= MOST_SPLITS:
        return [frozenset(chosen) for chosen in combinations(names, half)]
    rng = np.random.default_rng(seed)
    drawn = (rng.permutation(len(names))[:half] for _ in range(MOST_SPLITS))
    return [frozenset(names[i] for i in chosen) for chosen in drawn]


def leak_of_run(folder: Path) -> dict[str, float]:
    """The leak meter of a run folder.

    Args:
        folder: A run that was validated, which keeps the Dice of every volume at every validation.
    Raises:
        ValueError: no run there, none that kept them, or one that was not validated to its end.
    """
    run = read_run(folder)
    validated = read_validated(folder)
    kept = {(line.stage, line.step) for line in validated}
    for row in read_table(Path(folder) / VALIDATION, ("stage", "step")):
        if (row["stage"], row["step"]) not in kept:
            raise ValueError(
                f"{folder}: step {row['step']} was validated by a version that kept no Dice of "
                "single volumes, so a choice among all checkpoints cannot be repeated"
            )
    check_validated_to_end(folder, run, validated)
    return leak(validated, patients_of_run(folder, [line.case for line in validated]))


def _by_step(
    lines: Sequence[Validated], network: str, cases: Sequence[str]
) -> dict[int, np.ndarray]:
    """The Dice of every case, a mean over classes, by the step of its validation."""
    found: dict[int, dict[str, list[float]]] = {}
    for line in lines:
        if line.network == network:
            found.setdefault(line.step, {}).setdefault(line.case, []).append(line.dice)
    for step, scores in found.items():
        if missing := [case for case in cases if case not in scores]:
            raise ValueError(f"the validation after step {step} lacks {missing[:3]}")
    with np.errstate(invalid="ignore"):
        return {
            step: np.array([_mean(scores[case]) for case in cases])
            for step, scores in found.items()
        }


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def leak_text(found: dict[str, float]) -> str:
    """The four rules as a table, with what each adds to the last checkpoint, in points of Dice.

    Args:
        found: From `leak`.

    >>> numbers = {"best on test": 0.82, "best on validation": 0.80, "last": 0.79}
    >>> print(leak_text({**numbers, "splits": 10, "validations": 5}))
    | reported           | Dice  | over last |
    | ------------------ | ----- | --------- |
    | best on test       | 82.00 | +3.00     |
    | best on validation | 80.00 | +1.00     |
    | last               | 79.00 | +0.00     |
    5 checkpoints to choose from; mean over 10 splits of the patients into halves.
    """
    try:
        rows = [["reported", "Dice", "over last"]]
        for rule in RULES:
            if rule in found:
                value, gain = 100 * found[rule], 100 * (found[rule] - found["last"])
                rows.append([rule, f"{value:.2f}", f"{gain:+.2f}"])
        counts = f"{found['validations']} checkpoints to choose from; mean over {found['splits']}"
    except (KeyError, TypeError) as error:
        raise ValueError(f"the leak meter of a run must hold {list(RULES)} ({error})") from error
    return f"{markdown_table(rows)}\n{counts} splits of the patients into halves."
