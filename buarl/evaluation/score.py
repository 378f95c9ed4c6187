"""Score a finished run and write the table of its cases beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from buarl.arguments import counted, short
from buarl.capsule import read_role, run_tag
from buarl.data.contents import check_contents, validation_contents
from buarl.data.errors import DataError
from buarl.data.source import Source
from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.metrics import Unit, policy_name
from buarl.evaluation.predict import SendBack
from buarl.evaluation.scores import write_metrics
from buarl.outside import Code
from buarl.training.checkpoint import require_writable
from buarl.training.config import Config, Experiment, config_for
from buarl.training.engine import choose_engine
from buarl.training.run import SELECTION, load_run, read_run

DIFFERENCES = {
    "teacher": "the teacher is evaluated",
    "probs": "probabilities sent back to native size",
    "mm": "distances in mm, with the spacing of each case",
    "largest": "only the largest component per class is kept",
    "bf16": "predicted in bf16",
    "part": "not all volumes of the split",
}
"""What the name of a file of scores says, and its note: how it differs from the defaults."""


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
        cases: Score these volumes only, into `metrics_<split>_part.csv`; None scores all.
        workers: Threads that score while the next volume is predicted, see `evaluate`.
        device: Where to predict; "auto" is the GPU if there is one.
        precision: Precision of the predictions: "bf16" is faster where the hardware computes it,
            and some labels differ. Under "fp32" a GPU's convolutions are torch's default there,
            TF32.
        code: What the run may use from outside the package, see `load_run`.
    Returns:
        The scores, and where they were written.
    Raises:
        ValueError: no run there, an unfinished one, cases of another split, other data than the
            run's, no such device, or no teacher.
        DataError, CaseError: As `evaluate` raises them.
    """
    empty = policy_name(empty)
    row, source, method = load_run(folder, root, code)
    require_same_data(folder, source)
    config = config_for(row, code)
    if teacher and not hasattr(method, "teacher"):
        raise ValueError(f"{folder}: method {row.method} has no teacher to evaluate")
    some = cases is not None and _is_part(list(cases), source.cases(split), split)
    engine = choose_engine(device, precision)
    require_writable(folder)
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
    words = _differing(teacher, send_back, unit, keep_largest, engine.precision, empty, some)
    said = [DIFFERENCES.get(word, f"empty masks {word!r}") for word in words]
    note = "; ".join([_first_note(row, split, rows, run_tag(read_run(folder))), *said])
    name = "_".join(["metrics", split, *words])
    path = Path(folder) / f"{name}.csv"
    write_metrics(path, rows, (note,), empty, unit)
    return Scored(rows, note, path, row, source, config)


def _is_part(cases: Sequence[str], known: Sequence[str], split: str) -> bool:
    """Whether volumes of a split are not all of it; they are at least one, each once."""
    others = [case for case in cases if case not in known]
    if not cases or others or len(set(cases)) < len(cases):
        raise ValueError(
            f"cases must be different volumes of split {split}, at least one, got "
            f"{short(others or list(cases))}"
        )
    return len(cases) < len(known)


def _differing(
    teacher: bool,
    send_back: SendBack,
    unit: Unit,
    keep_largest: bool,
    precision: str,
    empty: str,
    some: bool,
) -> list[str]:
    """How an evaluation differs from the defaults, in the words of the name of its file."""
    differs = {
        "teacher": teacher,
        send_back: send_back != "labels",
        unit: unit != "voxels",
        "largest": keep_largest,
        precision: precision != "fp32",
        empty: empty != "diagonal",
        "part": some,
    }
    return [word for word, differ in differs.items() if differ]


def require_same_data(folder: Path, source: Source) -> None:
    """Refuse data that are not those of a run, by its validation cases: names and contents.

    Args:
        folder: The run folder; one from before `ids.csv` was written is taken as it is.
        source: The data set at hand.
    Raises:
        ValueError: other validation cases than the run's, or others of the same names.
    """
    known = [row["name"] for row in read_role(folder, "validation")]
    if not known:
        return
    with suppress(DataError):  # data without a validation list, such as a test set alone
        found = source.listed("val")
        if sorted(found) != sorted(known):
            raise ValueError(
                f"{folder}: was trained on other data than those in {source.root}; validation "
                f"cases are {', '.join(found[:2])}, ... there and {', '.join(known[:2])}, ... in "
                "the run; `buarl predict` labels any image"
            )
    check_contents(folder, read_run(folder)["data"], validation_contents(source))


def _first_note(row: Experiment, split: str, rows: Sequence[dict], tag: str) -> str:
    volumes = len({scores["case"] for scores in rows})
    note = (
        f"split {split}, {counted(volumes, 'volume')}; {SELECTION}; seed {row.seed}; "
        f"preset {row.preset}; labeled {row.labeled}; {tag}"
    )
    return f"{note}; set {row.changes}" if row.changes else note
