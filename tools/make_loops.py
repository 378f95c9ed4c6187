"""Draw the moving pictures: a training on real hearts, and a percentile that sweeps over one.

    python tools/make_loops.py ACDC_FOLDER

trains one Mean Teacher on 7 labeled patients of ACDC (some minutes on a free core), records what
its teacher says of 40 unlabeled slices, and writes figures/acdc/*.gif. The record is kept in
`runs/loops`, and drawn from there when the tool runs again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs
from buarl.evaluation.errors import Capture, error_capture
from buarl.evaluation.predict import predict_probs
from buarl.figures.captions import of_errors, of_run
from buarl.figures.loops import sweep_frames, training_frames, write_loop
from buarl.figures.views import training_view
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

HOME = Path(__file__).resolve().parent.parent
FIGURES, RECORD = HOME / "figures", HOME / "runs" / "loops" / "slices.npz"
ROW = Experiment(
    "mean_teacher",
    source="acdc",
    labeled=7,
    preset="mini",
    set={"steps": 400, "optimizer": "adam", "lr": 0.003, "labeled_batch": 8, "unlabeled_batch": 8},
)
SHARES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
COUNT, LEAST = 40, 60  # slices that are recorded; pixels of every class in one that is shown
SWEEP = (90, 91, 92, 93, 94, 95, 96, 97, 98, 98.5, 99, 99.3, 99.6, 99.8, 99.9)
BRIGHT = 99.5  # percentile of an image that is drawn white


class Record(NamedTuple):
    """What the teacher said of N unlabeled slices at T steps, as in a run's capsule."""

    names: np.ndarray
    image: np.ndarray  # (N, H, W)
    label: np.ndarray  # (N, H, W)
    steps: np.ndarray  # (T,)
    entropy: np.ndarray  # (T, N, H, W)
    pseudo_label: np.ndarray  # (T, N, H, W)


def record(source: Source) -> Record:
    """Train, or read what an earlier call kept."""
    if not RECORD.is_file():
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(RECORD, **train(source)._asdict())
    with np.load(RECORD) as file:
        return Record(*(file[name] for name in Record._fields))


def train(source: Source) -> Record:
    config, method = config_for(ROW), build_method(ROW, source.num_classes)
    unlabeled = source.split_labeled(ROW.labeled)[1]
    names = [unlabeled[(2 * i + 1) * len(unlabeled) // (2 * COUNT)] for i in range(COUNT)]
    views = [training_view(source.training_sample(name), config) for name in names]
    image, label = (np.stack(part) for part in zip(*views, strict=True))
    moments = {max(1, round(share * config.stages[0].steps)) for share in SHARES}
    steps, entropies, guesses = [], [], []

    def look(stage, step, method):
        if step.index + 1 in moments:
            probs = predict_probs(method.teacher, image)
            steps.append(step.index + 1)
            entropies.append(entropy_of_probs(probs).numpy().astype(np.float16))
            guesses.append(probs.argmax(1).numpy().astype(np.uint8))

    fit(method, source, config, progress=True, callback=look)
    return Record(
        np.array(names), image, label, np.array(steps), np.stack(entropies), np.stack(guesses)
    )


def typical(found: Record) -> int:
    """The slice with all classes whose precision at 99 is nearest to that of all such slices."""
    whole = [
        number
        for number, label in enumerate(found.label)
        if np.bincount(label.ravel(), minlength=4).min() >= LEAST
    ]
    together = capture(found, whole).precision
    return min(whole, key=lambda number: abs(capture(found, [number]).precision - together))


def capture(found: Record, numbers: list[int]) -> Capture:
    """Of these slices at the last step, each cut on its own at the 99th percentile."""
    error = torch.from_numpy(found.pseudo_label[-1, numbers] != found.label[numbers])
    entropy = torch.from_numpy(found.entropy[-1, numbers].astype(np.float32))
    return error_capture(error, entropy, 99, "image")


def draw_acdc(root: str) -> None:
    source = open_source("acdc", root)
    found, names, folder = record(source), source.class_names, FIGURES / "acdc"
    number = typical(found)
    image = np.minimum(found.image[number], np.percentile(found.image[number], BRIGHT))
    label, guess = found.label[number], found.pseudo_label[:, number]
    entropy = found.entropy[:, number].astype(np.float32)
    moments = [f"step {step} of {found.steps[-1]}" for step in found.steps]
    frames = training_frames(image, label, entropy, guess, moments, names)
    write_loop(frames, folder / "training.gif", 0.6)
    frames = sweep_frames(image, label, guess[-1], entropy[-1], SWEEP, names)
    write_loop(frames + frames[-2:0:-1], folder / "percentile.gif", 0.35, 1.2)
    text = caption(found, number, entropy[-1])
    about = f"# percentile.gif, training.gif\n\n{text}\n\nMade from {source.licence}.\n"
    (folder / "loops.md").write_text(about, encoding="utf-8")
    for name in ("training", "percentile"):
        print(f"acdc/{name}.gif: {(folder / f'{name}.gif').stat().st_size / 1000:.0f} kB")


def caption(found: Record, number: int, entropy: np.ndarray) -> str:
    """What both pictures show, and how far the slice stands for the others."""
    count = len(found.names)
    together = capture(found, list(range(count)))
    return (
        f"{found.names[number]}, an unlabeled training slice. "
        f"{of_errors(found.label[number], found.pseudo_label[-1, number], entropy)} "
        f"Over all {count} slices recorded, evenly spaced among the unlabeled ones and each cut on "
        f"its own, {100 * together.precision:.0f} % of the uncertain are wrong, and they hold "
        f"{100 * together.recall:.0f} % of the errors; of the slices with all classes this one is "
        f"nearest to them in the first number. Mean Teacher's teacher. "
        f"{of_run(ROW, config_for(ROW))} Set for this row: {ROW.changes}."
    )


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit("name the folder of ACDC: python tools/make_loops.py ACDC_FOLDER")
    draw_acdc(sys.argv[1])


if __name__ == "__main__":
    main()
