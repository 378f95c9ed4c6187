"""Draw Mean Teacher at work for lesson 07: what student and teacher say while they learn.

    python tools/make_teacher_loop.py

trains the lessons' Mean Teacher once more (some minutes of one core), looks at both networks every
20 steps, and writes figures/mean_teacher.gif. The record is kept in `runs/loops` and used when the
tool runs again.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from buarl.data.source import Source, open_source
from buarl.evaluation.predict import predict_probs
from buarl.figures.loops import write_loop
from buarl.figures.pairs import student_and_teacher_frames
from buarl.figures.views import unlabeled_views
from buarl.lessons.demo import unlabeled_slice
from buarl.lessons.rows import LESSON_SOURCE, lesson_row
from buarl.training.config import build_method, config_for
from buarl.training.loop import fit

HOME = Path(__file__).resolve().parent.parent
RECORD = HOME / "runs" / "loops" / "teacher.npz"
EVERY, IMAGES = 20, 24  # steps between two looks; unlabeled slices on which errors are counted


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


def main() -> None:
    source = open_source(LESSON_SOURCE)
    found = record(source)
    path = HOME / "figures" / "mean_teacher.gif"
    write_loop(student_and_teacher_frames(*found, source.class_names), path, 0.4, 2.5)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
