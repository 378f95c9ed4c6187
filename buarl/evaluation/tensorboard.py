"""The curves of a run for TensorBoard, beside the CSV files, which are always written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from buarl.capsule import HISTORY, VALIDATION, Rows, read_table
from buarl.methods.base import Method, Step

FOLDER = "tensorboard"  # inside the run folder


class TensorBoard:
    """A callback for `fit` that copies `history.csv` and `validation.csv` into TensorBoard's files.

    It copies what is new at every checkpoint. A resumed training writes its files anew from the
    CSV files, so no row is lost or stands there twice. Steps count on from stage to stage.

    Args:
        folder: The run folder; the files go into its folder `tensorboard`.
    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "--log tensorboard needs TensorBoard: pip install 'buarl[log]' (the curves are "
                "written as CSV with it and without it)"
            ) from error
        self._make, self._writer = SummaryWriter, None
        self.folder = Path(folder)
        self._written: set[tuple[str, int]] = set()

    def begin(self, done: Mapping[str, int]) -> None:
        """Called by `fit` before its first step: what an interrupted training wrote goes.

        Args:
            done: Steps already done of every stage that has begun.
        """
        for path in (self.folder / FOLDER).glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = self._make(str(self.folder / FOLDER))

    def __call__(self, stage: str, step: Step, method: Method) -> None:
        """Called by `fit` after every step."""

    def flush(self) -> None:
        """Called by `fit` before every checkpoint: copy the rows that are new."""
        if self._writer is None:
            return
        history = read_table(self.folder / HISTORY, ("stage", "step"))
        validation = read_table(self.folder / VALIDATION, ("stage", "step"))
        for prefix, rows in (("train", history), ("validation", validation)):
            for step, row in _running_steps(rows, history):
                for key, value in row.items():
                    tag = f"{prefix}/{key}"
                    if key not in ("stage", "step") and (tag, step) not in self._written:
                        self._writer.add_scalar(tag, value, step)
                        self._written.add((tag, step))
        self._writer.flush()

    def finish(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self.flush()
            self._writer.close()


def _running_steps(rows: Rows, history: Rows) -> Iterator[tuple[int, Mapping]]:
    """Each row with the number of steps since the run began."""
    length: dict[str, int] = {}
    for row in history:
        length[row["stage"]] = row["step"]
    before = {stage: sum([*length.values()][:k]) for k, stage in enumerate(length)}
    for row in rows:
        if row["stage"] in before:
            yield before[row["stage"]] + row["step"], row
