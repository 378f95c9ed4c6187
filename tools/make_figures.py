"""Draw the paper's figures from the phantom, and from ACDC where BUARL_ACDC names its folder.

The phantom's also come as a page to play with, figures/threshold_scrubber.html. One of ACDC would
carry its voxels: make it where you may, `buarl.widgets.lesson_scrubber(...).to_html(...)`.

    python tools/make_figures.py
    BUARL_ACDC=FOLDER python tools/make_figures.py

The networks are those of the lessons (64x64, 200 steps a stage, 3 labeled patients, seed 1337, last
weights): the figures show what the method looks at, not how good it can get.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from matplotlib.figure import Figure

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs
from buarl.evaluation.predict import predict_probs
from buarl.figures import plots
from buarl.lessons.demo import ROWS, draw_figures, save_figure, unlabeled_slice
from buarl.lessons.trained import after_stage, lesson_row, trained
from buarl.training.config import config_for
from buarl.widgets.scrub import write_page
from buarl.widgets.scrub_pack import pack
from buarl.widgets.snapshots import sides_of_lesson

FIGURES = Path(__file__).resolve().parent.parent / "figures"
TEACHERS = {  # what Fig. 6 compares: title -> row
    "teacher without URL": "BCP",
    "URL, q = 99": "BCP, URL at 99",
    "URL, q = 95": "BCP + URL + CRL",
}


def fig1_bars(source: Source) -> Figure:
    """Fig. 1 c, d: the surest RV pixel, and the pixel most torn between foreground classes."""
    row = lesson_row("BCP", source)
    image, label = unlabeled_slice(source, config_for(row))
    probs = predict_probs(trained(row, source).student, image[None])[0]  # (C, H, W)
    entropy = entropy_of_probs(probs[None])[0]
    right = (probs.argmax(0) == 1) & torch.from_numpy(label == 1)
    sure = entropy.masked_fill(~right, 9).argmin()
    foreground = entropy_of_probs((probs[1:] / probs[1:].sum(0)).clamp_min(1e-9)[None])[0]
    torn = foreground.masked_fill(probs[0] > 0.1, -1).argmax()
    flat = probs.flatten(1)
    pixels = {"(c) a reliable pixel": flat[:, sure], "(d) an unreliable one": flat[:, torn]}
    return plots.class_probabilities(
        {title: pixel.numpy() for title, pixel in pixels.items()}, source.class_names
    )


def fig6(source: Source) -> Figure:
    """Fig. 6: pseudo-labels of an unlabeled slice at the start of stage 2."""
    config = config_for(lesson_row("BCP", source))
    image, label = unlabeled_slice(source, config)
    columns = {"label (hidden)": [label]}
    for title, name in TEACHERS.items():
        student = after_stage(lesson_row(name, source), source, "pretrain").student
        guess = predict_probs(student, image[None]).argmax(1)[0].numpy()
        columns[f"{title}\n{100 * (guess != label).mean():.1f} % wrong"] = [guess]
    return plots.predictions_side_by_side([image], columns, source.class_names)


def draw_all(source: Source, folder: Path, note: str) -> None:
    methods = {name: trained(lesson_row(name, source), source, progress=True) for name in ROWS}
    config = config_for(lesson_row("BCP", source))
    figures = draw_figures(methods, source, config)
    figures |= {"fig1_bars": fig1_bars(source), "fig6_pseudo_labels": fig6(source)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        if note:
            figure.text(0.5, 1.03, note, ha="center", va="bottom", fontsize=7)
        save_figure(figure, folder / f"{name}.png")
        print(f"{folder.name}/{name}.png")


def write_scrubber(source: Source, path: Path) -> None:
    """The threshold scrubber of a toy run as one self-contained page."""
    packed = pack(sides_of_lesson("BCP + URL + CRL", source, progress=True))
    note = (
        "Synthetic hearts (the phantom of buarl); BCP + URL + CRL trained for 200 + 200 steps on 3 "
        "labeled patients, 64x64, one seed. Labeled images: the student's entropy; unlabeled ones: "
        "the teacher's, once it is taught. Threshold, masks and errors are the library's; the "
        "batch is the slices shown. It shows what the method looks at, not how good it can get."
    )
    write_page(path, packed, "Which voxels are uncertain? Move the percentile", note)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    phantom = open_source("phantom")
    draw_all(phantom, FIGURES, "")
    write_scrubber(phantom, FIGURES / "threshold_scrubber.html")
    if root := os.environ.get("BUARL_ACDC"):
        source = open_source("acdc", root)
        draw_all(source, FIGURES / "acdc", f"Made from {source.licence}.")


if __name__ == "__main__":
    main()
