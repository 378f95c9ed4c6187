"""Score a finished run and write the table of its cases beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from buarl.capsule import run_tag
from buarl.data.source import Source
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.metrics import Unit, policy_name
from buarl.evaluation.scores import write_metrics
from buarl.outside import Code
from buarl.training.config import Config, Experiment, config_for
from buarl.training.engine import choose_engine
from buarl.training.run import SELECTION, load_run, read_run


class Scored(NamedTuple):
    """An evaluated run.

    Attributes:
        rows: Scores as `evaluate` returns them.
        note: How they were obtained, one line.
        path: The file that holds both.
        experiment: The row that was trained.
        config: Its numbers.
        source: The data set.
    """

    rows: list[dict]
    note: str
    path: Path
    experiment: Experiment
    source: Source
    config: Config


def score_run(
    folder: Path,
    root: Path | None = None,
    *,
    split: str = "val",
    empty: str = "diagonal",
    unit: Unit = "voxels",
    keep_largest: bool = False,
    cases: Sequence[str] | None = None,
    workers: int | None = None,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    code: Code = (),
) -> Scored:
    """Evaluate the last checkpoint of a run on whole volumes and write its table of cases.

    Args:
        folder: A finished run; `metrics_<split>.csv` is written into it. What differs from the
            defaults is added to that name, as in `metrics_val_mm_largest_nan.csv`.
        root: Where the data lie, if they have moved since the training.
        split: "train", "val" or "test".
        empty: What an empty mask scores, see `case_metrics`.
        unit: Unit of the distances, see `evaluate`.
        keep_largest: Keep only the largest component of each class.
        cases: Score these volumes only; None scores all of the split.
        workers: Threads that score while the next volume is predicted, see `evaluate`.
        device: Where to predict; "auto" is the GPU if there is one.
        precision: Precision of the predictions: "bf16" is faster where the hardware computes it,
            and some labels differ. Under "fp32" a GPU's convolutions are torch's default there,
            TF32.
        code: What the run may use from outside the package, see `load_run`.
    Returns:
        The scores, and where they were written.
    Raises:
        ValueError: no run there, an unfinished one, or no such device.
        DataError, CaseError: As `evaluate` raises them.
    """
    empty = policy_name(empty)
    row, source, method = load_run(folder, root, code)
    config = config_for(row, code)
    engine = choose_engine(device, precision)
    with engine.autocast():
        rows = evaluate(
            method.student.to(engine.device),
            source,
            split,
            config,
            empty=empty,
            unit=unit,
            keep_largest=keep_largest,
            cases=cases,
            workers=workers,
        )
    volumes = len({scores["case"] for scores in rows})
    note = (
        f"split {split}, {volumes} volumes; {SELECTION}; seed {row.seed}; preset {row.preset}; "
        f"labeled {row.labeled}; {run_tag(read_run(folder))}"
    )
    if row.changes:
        note = f"{note}; set {row.changes}"
    name = f"metrics_{split}"
    if unit != "voxels":
        name, note = f"{name}_{unit}", f"{note}; distances in {unit}, with the spacing of each case"
    if keep_largest:
        name, note = f"{name}_largest", f"{note}; only the largest component per class is kept"
    if engine.precision != "fp32":
        name, note = f"{name}_{engine.precision}", f"{note}; predicted in {engine.precision}"
    if empty != "diagonal":
        name = f"{name}_{empty}"
    path = Path(folder) / f"{name}.csv"
    write_metrics(path, rows, (note,), empty, unit)
    return Scored(rows, note, path, row, source, config)
