"""Two ways to say what a run is worth: its last checkpoint, or the one that did best on validation.

`honest` evaluates the student after the last step, and nothing is selected. `paper` evaluates the
student with the best validation Dice, as the public code that the paper builds on does for ACDC
(docs/protocol.md 5 and 6). That the paper itself does so is an inference: its text does not say
how a checkpoint was chosen. Both come from one training: stage 2 of BCP begins with the last
weights of stage 1 in both, where the public code takes the best ones.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from buarl.arguments import counted
from buarl.capsule import CASES, run_tag
from buarl.data.source import Source
from buarl.data.text import read_text
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.score import Scored, require_same_data
from buarl.evaluation.scores import write_metrics
from buarl.evaluation.validation import DiceCurve
from buarl.methods.base import Method, Step
from buarl.outside import Code
from buarl.training.checkpoint import load_state, save_state, write_text
from buarl.training.config import Config, config_for
from buarl.training.engine import choose_engine
from buarl.training.run import load_run, read_run

Protocol = Literal["honest", "paper"]
PROTOCOLS: tuple[Protocol, ...] = ("honest", "paper")
VALIDATIONS = 10  # in the last stage, where nobody says how often
BEST = "best_val.pt"
COLUMNS = ("stage", "step", "network", "case", "class", "dice")
NOTE = (
    "# Dice 0-1 in 3-D of every volume of split {split}; the student at every validation, and the "
    "teacher after the last step\n"
)


class Validated(NamedTuple):
    """One score of one validation: a line of `validation_cases.csv`.

    stage, step: When: steps done of a stage.
    network: "student" or "teacher".
    case, class_name: What was scored.
    dice: 0-1, NaN for a class that is neither predicted nor there.

    >>> Validated("train", 100, "student", "patient01_frame01", "LV", 0.9).dice
    0.9
    """

    stage: str
    step: int
    network: str
    case: str
    class_name: str
    dice: float


class NotToTheEnd(ValueError):
    """A run whose last step was not validated."""


class Selection(DiceCurve):
    """A callback for `fit` that keeps what both protocols and the leak meter need.

    Beside the curve it writes `validation_cases.csv`, the Dice of every volume at every
    validation, and `best_val.pt`, the student with the best mean Dice of the last stage (the first
    of equals). Training does not notice: the weights are the same bits with it and without.

    Args:
        source: The data set.
        config: Numbers of the run.
        folder: The run folder.
        every: Steps between validations; None makes ten of them in the last stage.
        split: What selects, "val".
    Raises:
        ValueError: `every` below 1.
    """

    def __init__(
        self,
        source: Source,
        config: Config,
        folder: Path,
        *,
        every: int | None = None,
        split: str = "val",
    ) -> None:
        every = max(config.steps[-1] // VALIDATIONS, 1) if every is None else every
        super().__init__(source, config, Path(folder) / "validation.csv", every=every, split=split)
        self.folder = Path(folder)
        self.cases = source.cases(split)
        self.split, self.last_stage = split, ""
        lines = read_validated(self.folder) if (self.folder / CASES).is_file() else []
        self.lines: dict[tuple[str, int, str], list[Validated]] = {}
        for line in lines:
            self.lines.setdefault((line.stage, line.step, line.network), []).append(line)
        self._details: list[tuple[tuple[str, int, str], Future]] = []
        self._weights: tuple[tuple[str, int], dict[str, Any]] | None = None
        self._best: dict[str, Any] | None = None  # until the next checkpoint

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after each step."""
        done = step.index + 1
        if done % self.every and done != step.steps:
            return
        self.last_stage = self.last_stage or method.stages()[-1].name
        labels = self._predict(method.student)
        self.collect()
        dice = self._submit((stage, done, "student"), labels)
        self._waiting = (stage, done), self._pool.submit(lambda: self.means_of(dice.result()))
        if stage == self.last_stage:
            state = method.student.state_dict()
            self._weights = (stage, done), {k: v.cpu().clone() for k, v in state.items()}
            if done == step.steps and hasattr(method, "teacher"):
                self._submit((stage, done, "teacher"), self._predict(method.teacher))

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step: forget what a resumed training will do again."""
        super().begin(done)
        self.lines = {key: v for key, v in self.lines.items() if key[1] <= done.get(key[0], 0)}

    def collect(self) -> None:
        """Wait for the last scores; write them, and hold the weights if none was better."""
        before = [s["dice"] for (stage, _), s in self.rows.items() if stage == self.last_stage]
        super().collect()
        for key, scores in self._details:
            self.lines[key] = [
                Validated(*key, case, name, float(dice))
                for case, row in zip(self.cases, scores.result(), strict=True)
                for name, dice in zip(self.source.class_names[1:], row, strict=True)
            ]
        if self._details:
            _write(self.folder / CASES, self.split, self.lines.values())
        self._details = []
        if self._weights is not None:
            (stage, step), weights = self._weights
            dice = self.rows[stage, step]["dice"]
            if all(_shown(dice) > _shown(other) or np.isnan(other) for other in before):
                self._best = {"stage": stage, "step": step, "dice": dice, "student": weights}
            self._weights = None

    def flush(self) -> None:
        """Called by `fit` before every checkpoint: the best student is one of those it covers."""
        super().flush()
        self._keep()

    def finish(self) -> dict[tuple[str, int], dict[str, float]]:
        """Wait for the last scores, see `DiceCurve`, and keep the best student."""
        rows = super().finish()
        self._keep()
        return rows

    def _keep(self) -> None:
        if self._best is not None:
            save_state(self.folder / BEST, self._best)
            self._best = None

    def _submit(self, key: tuple[str, int, str], labels: list[np.ndarray]) -> Future:
        dice = self._pool.submit(self.dice_of_cases, labels)
        self._details.append((key, dice))
        return dice


def _shown(dice: float) -> float:
    """As the file has it, which is all that a resumed run knows of what came before."""
    return float(f"{dice:.6g}")


def interval_of(folder: Path) -> int | None:
    """Steps between the validations of a run so far; None where there was none.

    Args:
        folder: A run folder.
    """
    lines = read_validated(folder) if (Path(folder) / CASES).is_file() else []
    return min((line.step for line in lines), default=None)


def check_validated_to_end(
    folder: Path, run: Mapping[str, Any], validated: Sequence[Validated]
) -> None:
    """Refuse a choice among checkpoints, or the word "last", where the end was not validated.

    Args:
        folder: The run folder. run: Its `run.json`. validated: From `read_validated`.
    Raises:
        NotToTheEnd: the last validation came before the last step; so it is where a run went on
            without validations.
    """
    last, stages = validated[-1], list(run.get("seconds") or ())
    steps = run["config"]["stages"][-1]["steps"]
    if not stages or (last.stage, last.step) != (stages[-1], steps):
        raise NotToTheEnd(
            f"{folder}: its last validation was after step {last.step} of stage {last.stage}, not "
            f"after its last step, so what is best or last cannot be said"
        )


def read_validated(folder: Path) -> list[Validated]:
    """All scores of all validations of a run.

    Args:
        folder: A run that was trained with `Selection`.
    Raises:
        ValueError: no such file, or one that holds something else; the message names it.
    """
    path = Path(folder) / CASES
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; `buarl plan` and `buarl train --validate STEPS` train runs "
            "that keep the Dice of every volume at every validation"
        )
    lines = [line for line in read_text(path).splitlines() if not line.startswith("#")]
    try:
        rows = list(csv.DictReader(lines, strict=True))
        found = [
            Validated(r["stage"], int(r["step"]), r["network"], r["case"], r["class"], _dice(r))
            for r in rows
        ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: not the validations of a run ({error!s:.200})") from error
    if not found:
        raise ValueError(f"{path}: damaged, it holds no score")
    return found


def _dice(row: Mapping[str, str]) -> float:
    dice = float(row["dice"])
    if not (np.isnan(dice) or 0 <= dice <= 1):
        raise ValueError(f"dice must lie in 0-1, got {row['dice']}")
    return dice


def _write(path: Path, split: str, parts: Iterable[list[Validated]]) -> None:
    text = io.StringIO(NOTE.format(split=split))
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*line[:-1], f"{line.dice:.6g}") for part in parts for line in part)
    write_text(path, text.getvalue())


def score_selected(
    folder: Path,
    root: Path | None = None,
    *,
    split: str = "val",
    device: str = "auto",
    code: Code = (),
) -> Scored:
    """Evaluate a run under the protocol `paper`, and write `metrics_<split>_paper.csv` into it.

    Args:
        folder: A finished run that was trained with `Selection`.
        root: Where the data lie, if they have moved.
        split: "val" or "test".
        device: Where to predict.
        code: What the run may use from outside the package, see `load_run`.
    Returns:
        The scores, and where they were written.
    Raises:
        ValueError: no finished run, one without `best_val.pt`, or one that went on without
            validations.
    """
    row, source, method = load_run(folder, root, code)
    require_same_data(folder, source)
    path = Path(folder) / BEST
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; protocol paper needs a run with validations (train --validate)"
        )
    run = read_run(folder)
    check_validated_to_end(folder, run, read_validated(folder))
    best, config = load_state(path), config_for(row, code)
    try:
        method.student.load_state_dict(best["student"])
        stage, step, dice = best["stage"], int(best["step"]), float(best["dice"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{path}: not the best student of this run ({said:.200})") from error
    engine = choose_engine(device, "fp32")
    rows = evaluate(method.student.to(engine.device), source, split, config)
    same = "; the same volumes selected it, so this flatters" if split == "val" else ""
    volumes = counted(len({r["case"] for r in rows}), "volume")
    note = (
        f"split {split}, {volumes}; protocol paper: student with "
        f"the best validation Dice ({dice:.4f}), after step {step} of stage {stage}{same}; "
        f"seed {row.seed}; preset {row.preset}; labeled {row.labeled}; {run_tag(run)}"
    )
    note += f"; set {row.changes}" if row.changes else ""
    path = Path(folder) / f"metrics_{split}_paper.csv"
    write_metrics(path, rows, (note,), "diagonal", "voxels")
    return Scored(rows, note, path, row, source, config)
