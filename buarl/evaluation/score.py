"""Score a finished run and write the table of its cases beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from buarl.arguments import counted
from buarl.capsule import run_tag
from buarl.data.source import Source
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.metrics import Unit, policy_name
from buarl.evaluation.predict import SendBack
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
    teacher: bool = False,
    send_back: SendBack = "labels",
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
        teacher: Score the method's teacher instead of its student.
        send_back: Labels or probabilities, see `predict_volume`.
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
        ValueError: no run there, an unfinished one, no such device, or no teacher.
        DataError, CaseError: As `evaluate` raises them.
    """
    empty = policy_name(empty)
    row, source, method = load_run(folder, root, code)
    config = config_for(row, code)
    if teacher and not hasattr(method, "teacher"):
        raise ValueError(f"{folder}: method {row.method} has no teacher to evaluate")
    engine = choose_engine(device, precision)
    with engine.autocast():
        rows = evaluate(
            (method.teacher if teacher else method.student).to(engine.device),
            source,
            split,
            config,
            empty=empty,
            unit=unit,
            keep_largest=keep_largest,
            send_back=send_back,
            cases=cases,
            workers=workers,
        )
    differs = {  # from the defaults: what is added to the name of the file, and to its note
        "teacher": "the teacher is evaluated" if teacher else "",
        send_back: "probabilities sent back to native size" if send_back != "labels" else "",
        unit: f"distances in {unit}, with the spacing of each case" if unit != "voxels" else "",
        "largest": "only the largest component per class is kept" if keep_largest else "",
        engine.precision: f"predicted in {engine.precision}" if engine.precision != "fp32" else "",
    }
    differs = {word: said for word, said in differs.items() if said}
    note = "; ".join([_first_note(row, split, rows, run_tag(read_run(folder))), *differs.values()])
    name = "_".join(["metrics", split, *differs, *([] if empty == "diagonal" else [empty])])
    path = Path(folder) / f"{name}.csv"
    write_metrics(path, rows, (note,), empty, unit)
    return Scored(rows, note, path, row, source, config)


def _first_note(row: Experiment, split: str, rows: Sequence[dict], tag: str) -> str:
    volumes = len({scores["case"] for scores in rows})
    note = (
        f"split {split}, {counted(volumes, 'volume')}; {SELECTION}; seed {row.seed}; "
        f"preset {row.preset}; labeled {row.labeled}; {tag}"
    )
    return f"{note}; set {row.changes}" if row.changes else note
