"""Draw the paper's figures, schematics and moving pictures, and write down what they show.

    python tools/make_figures.py                      the phantom's, all of it published
    BUARL_ACDC=FOLDER python tools/make_figures.py    ACDC's too, into figures/acdc, see its README
    ... BUARL_RUNS=FOLDER                             ACDC's alone, with Fig. 3 and 6, see RUNS
    BUARL_LA=FOLDER python tools/make_figures.py      LA's too, into runs/figures_la: not published

The networks of hearts are those that come with the lessons; those of atria are trained here
(48x48x32, 200 steps a stage, a few minutes). The figures show what the method looks at, not how
good it can get. captions.md beside them says what each shows, in numbers, and where that is not
what the paper says.

A page to play with, figures/threshold_scrubber.html, is made of the phantom only. One of ACDC would
carry its voxels: make it where you may, `buarl.widgets.lesson_scrubber(...).to_html(...)`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import make_loops
import torch

from buarl.data.source import Source, open_source
from buarl.entropy import entropy_of_probs
from buarl.figures import schematics
from buarl.figures.captions import of_errors, of_rules, of_run
from buarl.figures.loops import training_frames, write_loop
from buarl.lessons.paper_figures import (
    Drawn,
    paper_figures,
    read_captions,
    save_drawn,
    write_captions,
)
from buarl.lessons.rows import LESSON_SOURCE, lesson_row
from buarl.lessons.run_figures import figures_of_runs
from buarl.training.config import config_for
from buarl.widgets.scrub import write_page
from buarl.widgets.scrub_pack import Side, pack
from buarl.widgets.snapshots import sides_of_lesson

HOME = Path(__file__).resolve().parent.parent
FIGURES = HOME / "figures"
LESSON, SLICE = "BCP + URL + CRL", 1  # of the moving picture
SCHEMATICS = {
    "architecture": "Fig. 2: the method, with the number of every equation.",
    "percentile_cut": "Eq. 4: the pixels above the 95th percentile of the entropy.",
    "weight_maps": "What URL and CRL make a pixel weigh, per voxel and per region; below each map "
    "uncertain to certain. Per region CRL looks hardest at what is uncertain.",
    "mean_teacher": "Mean Teacher: who sees what, and what moves which weights.",
    "bcp_stages": "The two stages of BCP, with slices that the library has mixed.",
}
RUNS = {  # title -> run folder in BUARL_RUNS; what is not there has no column
    "Mean Teacher": "mean_teacher",
    "Ours (MT)": "mean_teacher_url_crl",
    "BCP": "bcp",
    "Ours (BCP)": "bcp_url_crl",
}
WEIGHTS = {"BCP": "acdc7_bcp_quick", "Ours (BCP)": "acdc7_bcp_url_crl_quick"}
FIRST_STAGES = {"without URL": "bcp", "URL, q = 99": "bcp_url99", "URL, q = 95": "bcp_url_crl"}
IMAGINED = "Slices are the phantom's; predictions are those of an imagined network."


def save_all(drawn: Mapping[str, Drawn], folder: Path, licence: str = "") -> dict[str, str]:
    """Write figures, say which, and return their captions by file."""
    said = save_drawn(drawn, folder, licence)
    print(*(f"{folder.name}/{name}" for name in said), sep="\n")
    return said


def draw_schematics(folder: Path) -> dict[str, str]:
    drawn = {
        name: Drawn(getattr(schematics, name)(), f"{said} {IMAGINED}")
        for name, said in SCHEMATICS.items()
    }
    return {f"{folder.name}/{name}": said for name, said in save_all(drawn, folder).items()}


def draw_training(side: Side, source: Source, path: Path) -> str:
    """One unlabeled slice at every moment of a lesson that the scrubber has recorded."""
    probs = side.probs[:, SLICE]  # (S, C, H, W)
    entropy = entropy_of_probs(torch.from_numpy(probs)).numpy()
    guess, label = probs.argmax(1), side.labels[SLICE]
    frames = training_frames(
        side.images[SLICE], label, entropy, guess, side.steps, side.class_names
    )
    write_loop(frames, path, 1.0)
    print(f"{path.parent.name}/{path.name}: {path.stat().st_size / 1000:.0f} kB")
    row = lesson_row(LESSON, source)
    return (
        f"{side.names[SLICE]}, an unlabeled slice, while {LESSON} is trained in the lessons. "
        f"The end of it: {of_errors(label, guess[-1], entropy[-1])} "
        f"{of_run(row, config_for(row))} {of_rules({LESSON: row})}"
    )


def write_scrubber(sides: list[Side], path: Path) -> None:
    """The threshold scrubber of a toy run as one self-contained page."""
    note = (
        "Synthetic hearts (the phantom of buarl); BCP + URL + CRL trained for 600 + 600 steps on "
        "3 labeled patients, 128x128, one seed. Labeled images: the student's entropy; unlabeled "
        "ones: the teacher's, once it is taught. Threshold, masks and errors are the library's; "
        "the batch is the slices shown. It shows what the method looks at, not how good it can be."
    )
    write_page(path, pack(sides), "Which voxels are uncertain? Move the percentile", note)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def draw_phantom() -> None:
    hearts, atria = open_source(LESSON_SOURCE), open_source("phantom_la")
    said = draw_schematics(FIGURES / "schematics")
    said |= save_all(paper_figures(hearts, progress=True), FIGURES)
    said |= save_all(paper_figures(atria, progress=True), FIGURES)
    sides = sides_of_lesson(LESSON, hearts, progress=True)
    said["training.gif"] = draw_training(sides[1], hearts, FIGURES / "training.gif")
    write_scrubber(sides, FIGURES / "threshold_scrubber.html")
    about = (
        "Written by `make figures`. Hearts and atria are synthetic, the phantoms of buarl; real "
        "hearts stand in [acdc](acdc/README.md). Every number is computed from what is drawn."
    )
    write_captions(FIGURES / "captions.md", said, about)


def draw_acdc(root: str, runs: Path | None) -> None:
    """What is drawn of ACDC: of the package's weights, and of finished runs where there are some.

    Pictures of what is not there stay, with their captions.
    """
    source, folder = open_source("acdc", root), FIGURES / "acdc"
    trained, teachers = (
        {title: runs / name for title, name in names.items() if (runs / name).is_dir()}
        for names in ((RUNS, FIRST_STAGES) if runs else ({}, {}))
    )
    there = WEIGHTS | trained
    compared = {title: there[title] for title in RUNS if title in there}
    drawn = figures_of_runs(compared, teachers, Path(root), main="BCP")
    if not runs:
        del drawn["fig3_predictions"]  # it would lose the columns of the runs
    found, temperature = make_loops.of_weights(source)
    drawn["reliability"] = make_loops.doubt(found, temperature)
    about, said = read_captions(folder / "captions.md")
    said |= save_all(drawn, folder, f"Made from {source.licence}.")
    said |= make_loops.draw_sweep(found, source, folder)
    write_captions(folder / "captions.md", said, about)


def draw_la(root: str) -> None:
    source, folder = open_source("la", root), HOME / "runs" / "figures_la"
    said = save_all(paper_figures(source, progress=True), folder, f"Made from {source.licence}.")
    write_captions(folder / "captions.md", said, f"Not to be published. {source.licence}.")


def main() -> None:
    acdc, runs = os.environ.get("BUARL_ACDC"), os.environ.get("BUARL_RUNS")
    if runs and not acdc:
        raise SystemExit("BUARL_RUNS needs BUARL_ACDC, the folder of the data")
    if acdc:
        draw_acdc(acdc, Path(runs) if runs else None)
    if runs:
        return
    draw_phantom()
    if root := os.environ.get("BUARL_LA"):
        draw_la(root)


if __name__ == "__main__":
    main()
