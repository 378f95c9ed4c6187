"""The main job in a few minutes: four short trainings on the phantom, a table, three pictures."""

from __future__ import annotations

import csv
import io
import pickle
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs
from buarl.evaluation.evaluate import ceiling, evaluate, predict_volume
from buarl.evaluation.predict import predict_probs
from buarl.evaluation.scores import summary
from buarl.figures import plots
from buarl.figures.views import planes, view_with_all_classes
from buarl.lessons.trained import lesson_row
from buarl.methods import Method
from buarl.results.table import text_table
from buarl.training.bar import bar
from buarl.training.checkpoint import require_writable, write_atomic, write_text
from buarl.training.config import Config, build_method, config_for
from buarl.training.loop import fit
from buarl.training.run import SELECTION

ROWS = ("supervised", "Mean Teacher", "BCP", "BCP + URL + CRL")


def run_demo(figures: Path, *, progress: bool = False) -> str:
    """Train the four rows on the phantom, score them, draw three figures, and write the table.

    As many rows are trained at once as torch has threads, each on one thread: networks this small
    gain a tenth from a second one, and scores do not depend on how many there are.

    Args:
        figures: Folder for the figures, and for the table as Markdown and CSV; made if absent.
        progress: Show a bar.
    Returns:
        The report: a table, what it means, and every file that was written.
    """
    require_writable(figures)
    source = open_source("phantom")
    config = config_for(lesson_row("BCP", source))
    started = time.perf_counter()
    workers = min(len(ROWS), torch.get_num_threads())
    rows, title = train_rows(source, workers), f"training, {workers} at once"
    trained = bar(rows, title, len(ROWS), unit="row", shown=progress)
    methods, scores = {}, {}
    for name, method, scored, seconds in trained:
        methods[name], scores[name] = method, {**summary(scored), "seconds": f"{seconds:.0f}"}
    scores["ceiling: label to 64x64 and back"] = summary(ceiling(source, "val", config))
    files = []
    for name, figure in draw_figures(methods, source, config).items():
        files.append(figures / f"{name}.png")
        save_figure(figure, files[-1])
    notes = (
        f"phantom, {config.labeled} labeled patients of {_patients(source)}, seed {config.seed}, "
        f"{scores['BCP']['cases']} validation volumes; {SELECTION}.\n"
        "URL at the 95th, CRL at the 99th percentile, both normalized per voxel, alpha 0.5.\n"
        "One seed on synthetic hearts shows that the code runs, not that one method is better.\n"
        "Dice, Jaccard 0-1; 95HD, ASD in voxels, a missed structure counts as the image diagonal."
    )
    table = text_table(scores, ("seconds",))
    files += save_table(figures, scores, table, notes)
    written = "\n".join(f"  {path}" for path in files)
    minutes = (time.perf_counter() - started) / 60
    return f"\n{table}\n\n{notes}\n\n{minutes:.1f} min; written:\n{written}"


def save_table(
    folder: Path, scores: Mapping[str, Mapping[str, Any]], table: str, notes: str
) -> list[Path]:
    """Write a table of scores twice, with its notes: for people and for programs.

    Args:
        folder: Existing folder.
        scores: Per row a summary, the first with all columns.
        table: The same as Markdown.
        notes: What the numbers mean, some lines.
    Returns:
        The files, table.md and table.csv; the notes of the second begin with #.
    """
    text = io.StringIO()
    for line in notes.splitlines():
        text.write(f"# {line}\n")
    columns = ["row", *next(iter(scores.values()))]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for title, values in scores.items():
        rounded = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}
        writer.writerow({"row": title, **rounded})
    contents = {"table.md": f"{table}\n\n{notes}\n", "table.csv": text.getvalue()}
    for name, content in contents.items():
        write_text(folder / name, content)
    return [folder / name for name in contents]


def train_rows(source: Source, workers: int) -> Iterator[tuple[str, Method, list[dict], float]]:
    """Train and score every row of the demo.

    Args:
        source: The data set.
        workers: Rows at once; more than one are trained in processes of their own.
    Yields:
        For each row, in order, its name, the trained method, its validation scores, and the
        seconds its training took.
    """
    tasks = {}
    for name in ROWS:
        row = lesson_row(name, source)
        task = name, build_method(row, source.num_classes), source, config_for(row)
        tasks[name] = pickle.dumps(task)  # bytes: no tensor stays shared with a process that ends
    if workers == 1:
        yield from (pickle.loads(_train(task)) for task in tasks.values())
        return
    with TemporaryDirectory() as folder:  # through a pipe, tasks this large could block its end
        paths = [Path(folder) / str(number) for number in range(len(tasks))]
        for path, task in zip(paths, tasks.values(), strict=True):
            path.write_bytes(task)
        yield from map(pickle.loads, _in_processes(paths, workers))


def _in_processes(paths: list[Path], workers: int) -> Iterator[bytes]:
    """Train the tasks of files in processes that end when this one is interrupted, without words.

    Ctrl-C reaches every process of a terminal. It is blocked while processes start, which they
    inherit, so that only this one hears of it.
    """
    others = set(active_children())
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        try:
            with _without_interruption():
                results = pool.map(_train_file, paths)
            yield from results
        except BaseException:  # nobody waits for trainings that nobody wants
            for process in set(active_children()) - others:
                process.terminate()
            raise


@contextmanager
def _without_interruption() -> Iterator[None]:
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:  # on Windows
        yield
        return
    before = mask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


def _train_file(path: Path) -> bytes:
    return _train(path.read_bytes())


def _train(task: bytes) -> bytes:
    torch.set_num_threads(1)
    name, method, source, config = pickle.loads(task)
    result = fit(method, source, config)
    rows = evaluate(method.student, source, "val", config)
    return pickle.dumps((name, method, rows, sum(result.seconds.values())))


def draw_figures(methods: dict[str, Method], source: Source, config: Config) -> dict[str, Figure]:
    """Draw Fig. 5 and 1 from BCP's student on an unlabeled slice, and Fig. 3 on a volume.

    Args:
        methods: The trained rows of the demo by name.
        source: The data set.
        config: Numbers of a row, for the training size.
    Returns:
        Per name of a file the figure.
    """
    student = methods["BCP"].student
    image, label = unlabeled_slice(source, config)
    probs = predict_probs(student, image[None])  # (1, C, H, W)
    entropy = entropy_of_probs(probs)[0].numpy()
    pseudo_label = probs.argmax(1)[0].numpy()
    names = source.class_names
    return {
        "fig5_entropy_cuts": plots.entropy_cuts(image, entropy),
        "fig1_errors_and_uncertainty": plots.errors_beside_uncertainty(
            image, label, pseudo_label, entropy, names
        ),
        "fig3_predictions": predictions_of_volume(methods, source, config, source.cases("val")[0]),
    }


def predictions_of_volume(
    methods: Mapping[str, Method], source: Source, config: Config, case: str
) -> Figure:
    """Draw Fig. 3 or 4: three slices of a volume, its label, and what each method predicts.

    Args:
        methods: Trained methods by the title of their column.
        source: The data set.
        config: Numbers of a row, for the training size.
        case: The volume.
    """
    volume = source.volume(case)
    depth = len(planes(volume.image, source.rank))
    slices = [depth // 4, depth // 2, 3 * depth // 4]

    def cut(array: np.ndarray) -> list[np.ndarray]:
        return list(planes(array, source.rank)[slices])

    columns = {"label": cut(volume.label)}
    for name, method in methods.items():
        prediction, _ = predict_volume(method.student, volume.image, source.rank, config)
        columns[name] = cut(prediction)
    return plots.predictions_side_by_side(
        cut(volume.image), columns, source.class_names, truth=cut(volume.label)
    )


def unlabeled_slice(source: Source, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Find an unlabeled training image whose picture holds all classes.

    Args:
        source: The data set.
        config: Numbers of a row: which patients are labeled, and the training size.
    Returns:
        Image and label at training size, see `buarl.figures.views.view_with_all_classes`.
    """
    return view_with_all_classes(source, config, source.split_labeled(config.labeled)[1])


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Date and version of the program are left out, so that equal figures make equal files.

    Args:
        figure: What to write.
        path: The file, replaced if it exists.
    """
    write_atomic(
        path,
        lambda p: figure.savefig(
            p, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None}
        ),
    )


def _patients(source: Source) -> int:
    return len({source.patient(name) for name in source.training_names()})
