"""Draw the moving pictures of lessons 07 and 08, both of synthetic hearts.

    python tools/make_lesson_loops.py

figures/mean_teacher.gif: the lessons' Mean Teacher is trained once more (some minutes of one core),
and both of its networks are asked every 20 steps, in evaluation mode. What was recorded is kept in
`runs/loops` and used when the tool runs again.

figures/bcp_training.gif: one unlabeled slice at the moments of BCP + URL + CRL that come with the
package.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs
from buarl.evaluation.predict import predict_probs
from buarl.figures.loops import training_frames, write_loop
from buarl.figures.pairs import student_and_teacher_frames
from buarl.figures.views import unlabeled_views
from buarl.lessons.demo import unlabeled_slice
from buarl.lessons.moments import lesson_film
from buarl.lessons.rows import LESSON_SOURCE, lesson_row
from buarl.training.config import build_method, config_for
from buarl.training.loop import fit

HOME = Path(__file__).resolve().parent.parent
RECORD = HOME / "runs" / "loops" / "teacher.npz"
EVERY, IMAGES = 20, 24  # steps between two looks; unlabeled slices on which errors are counted
FIRST, LAST = 60, 260  # steps that are shown; later on the lesson explains what happens
MARGIN = 14  # pixels around the heart


class Record(NamedTuple):
    """What both networks said of one unlabeled slice, and of how many they were wrong."""

    image: np.ndarray  # (H, W)
    label: np.ndarray  # (H, W)
    steps: np.ndarray  # (S,)
    guesses: np.ndarray  # (S, 2, H, W), the student's and the teacher's classes
    wrong: np.ndarray  # (S, 2), share of wrong pixels over all slices


def record(source: Source) -> Record:
    """Train, or read what an earlier call kept."""
    if not RECORD.is_file():
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(RECORD, **train(source)._asdict())
    with np.load(RECORD) as file:
        return Record(*(file[name] for name in Record._fields))


def train(source: Source) -> Record:
    row = lesson_row("Mean Teacher", source)
    config, method = config_for(row), build_method(row, source.num_classes)
    image, label = unlabeled_slice(source, config)
    images, labels = unlabeled_views(source, config, IMAGES)
    steps, guesses, wrong = [], [], []

    def look(stage, step, method):
        if (step.index + 1) % EVERY:
            return
        networks = method.student, method.teacher
        steps.append(step.index + 1)
        said = [predict_probs(network, images).argmax(1).numpy() for network in networks]
        wrong.append([(each != labels).mean() for each in said])
        guesses.append([predict_probs(n, image[None]).argmax(1)[0].numpy() for n in networks])

    fit(method, source, config, progress=True, callback=look)
    found = np.array(steps), np.array(guesses, np.uint8), np.array(wrong)
    return Record(image, label, *found)


def draw_teacher(source: Source, path: Path) -> None:
    """Student and teacher in the first steps, cut to the heart."""
    found = record(source)
    inside = np.argwhere(found.label)
    low, high = np.maximum(inside.min(0) - MARGIN, 0), inside.max(0) + 1 + MARGIN
    cut = (..., slice(low[0], high[0]), slice(low[1], high[1]))
    image, label = found.image[cut], found.label[cut]
    shown = (found.steps >= FIRST) & (found.steps <= LAST)
    frames = student_and_teacher_frames(
        image,
        label,
        found.steps[shown],
        found.guesses[cut][shown],
        found.wrong[shown],
        source.class_names,
    )
    write_loop(frames, path, 0.6, 2)


def draw_bcp(source: Source, path: Path) -> None:
    """What is asked for the pseudo-label of one slice: the student, then the teacher."""
    image, label, probs, titles = lesson_film("BCP + URL + CRL", source)
    entropies = entropy_of_probs(torch.from_numpy(probs)).numpy()
    frames = training_frames(image, label, entropies, probs.argmax(1), titles, source.class_names)
    write_loop(frames, path, 1.0, 2.5)


def main() -> None:
    source = open_source(LESSON_SOURCE)
    for name, draw in (("bcp_training", draw_bcp), ("mean_teacher", draw_teacher)):
        path = HOME / "figures" / f"{name}.gif"
        draw(source, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
