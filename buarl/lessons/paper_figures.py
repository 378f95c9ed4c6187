"""The paper's figures, drawn from the lessons' networks, each with a caption of its own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from buarl.data.source import Source
from buarl.entropy import entropy_of_probs
from buarl.evaluation.evaluate import predict_volume
from buarl.evaluation.predict import predict_probs
from buarl.figures import captions, plots, pseudo_labels, surfaces, undecided
from buarl.figures.views import planes, unlabeled_views
from buarl.lessons.demo import unlabeled_slice
from buarl.lessons.trained import after_stage, lesson_row, trained
from buarl.methods import Method
from buarl.training.checkpoint import write_atomic
from buarl.training.config import Config, config_for

COMPARED = {  # Fig. 3 and 4: title -> row of the lessons
    "Mean Teacher": "Mean Teacher",
    "Ours (MT)": "Mean Teacher + URL + CRL",
    "BCP": "BCP",
    "Ours (BCP)": "BCP + URL + CRL",
}
TEACHERS = {  # Fig. 6: title -> row
    "without URL": "BCP",
    "URL, q = 99": "BCP, URL at 99",
    "URL, q = 95": "BCP + URL + CRL",
}
SLICES = 120  # unlabeled ones, for searches and shares


class Drawn(NamedTuple):
    """A figure and what it shows in words."""

    figure: Figure
    caption: str


def paper_figures(source: Source, *, progress: bool = False) -> dict[str, Drawn]:
    """Draw the paper's figures for a data set: Fig. 4 of volumes, Fig. 1, 3, 5 and 6 of slices.

    Args:
        source: The data set. Networks that the cache does not have are trained first.
        progress: Show a bar while training.
    Returns:
        Per name of a file, without its ending, the figure and its caption. A slice of training is
        an unlabeled one, a volume the first of validation; nothing is drawn from a test case.
    """
    methods = {
        title: trained(lesson_row(name, source), source, progress=progress)
        for title, name in COMPARED.items()
    }
    row = lesson_row("BCP", source)
    config = config_for(row)
    if source.rank == 3:
        found = {"fig4_volume": _fig4(methods, source, config)}
    else:
        found = {
            **_fig1_and_5(methods["BCP"], source, config),
            "fig1_bars": _fig1_bars(methods["Mean Teacher"], source, config),
            "fig3_predictions": _fig3(methods, source, config),
            "fig6_pseudo_labels": _fig6(source, config),
        }
    both = [config, config_for(lesson_row("Mean Teacher", source))]
    drawn_from = {"fig1_bars": both[1:], "fig3_predictions": both, "fig4_volume": both}
    return {
        name: Drawn(figure, f"{said} {captions.of_run(row, *drawn_from.get(name, both[:1]))}")
        for name, (figure, said) in found.items()
    }


def _fig1_and_5(method: Method, source: Source, config: Config) -> dict[str, Drawn]:
    """BCP's student on an unlabeled slice: its errors, its entropy, and three cuts of it."""
    image, label = unlabeled_slice(source, config)
    probs = predict_probs(method.student, image[None])  # (1, C, H, W)
    entropy = entropy_of_probs(probs)[0].numpy()
    guess = probs.argmax(1)[0].numpy()
    errors = plots.errors_beside_uncertainty(image, label, guess, entropy, source.class_names)
    shown = captions.of_errors(label, guess, entropy)
    cuts = captions.of_cuts(label, entropy)
    paper = "In the paper's colors: green is high entropy, red low. "
    return {
        "fig1_errors_and_uncertainty": Drawn(errors, f"Fig. 1 a, b, an unlabeled slice. {shown}"),
        "fig5_entropy_cuts": Drawn(plots.entropy_cuts(image, entropy), f"Fig. 5. {cuts}"),
        "fig5_paper_colors": Drawn(
            plots.entropy_cuts(image, entropy, colors="paper"), f"Fig. 5. {paper}{cuts}"
        ),
    }


def _fig1_bars(method: Method, source: Source, config: Config) -> Drawn:
    """A pixel Mean Teacher's student is sure of, and the one that hovers most between classes."""
    images, labels = unlabeled_views(source, config, SLICES)
    probs = predict_probs(method.student, images).numpy()
    places = {
        "(c) a reliable pixel": undecided.most_reliable(probs, labels),
        "(d) an unreliable one": undecided.most_undecided(probs),
    }
    names = source.class_names
    figure = undecided.pixels_and_places(images, probs.argmax(1), places, names)
    said = captions.of_places(places, names)
    how = f"Found among {SLICES} unlabeled slices; (d) has the largest third class of all pixels"
    limit = f"with a background below {undecided.BACKGROUND:g}"
    return Drawn(figure, f"Fig. 1 c, d. {how} {limit}. {said}")


def _fig3(methods: Mapping[str, Method], source: Source, config: Config) -> Drawn:
    case = source.cases("val")[0]
    volume = source.volume(case)
    depth = len(planes(volume.image, source.rank))
    chosen = [depth // 4, depth // 2, 3 * depth // 4]

    def cut(array: np.ndarray) -> list[np.ndarray]:
        return list(planes(array, source.rank)[chosen])

    columns = {
        title: cut(predict_volume(method.student, volume.image, source.rank, config)[0])
        for title, method in methods.items()
    }
    truth = cut(volume.label)
    shown = {"label": truth, **columns}
    figure = plots.predictions_side_by_side(cut(volume.image), shown, source.class_names, truth)
    said = captions.of_predictions(truth, columns)
    return Drawn(figure, f"Fig. 3, slices {chosen} of {case} (validation). {said}")


def _fig4(methods: Mapping[str, Method], source: Source, config: Config) -> Drawn:
    case = source.cases("val")[0]
    volume = source.volume(case)
    columns = {
        title: predict_volume(method.student, volume.image, source.rank, config)[0]
        for title, method in methods.items()
    }
    figure = surfaces.volume_predictions(
        volume.image, {"label": volume.label, **columns}, source.class_names, volume.label
    )
    said = captions.of_volume(volume.label, columns)
    far = f"In the errors' color, surfaces more than {surfaces.FAR:g} voxels from the true one."
    return Drawn(figure, f"Fig. 4, {case} (validation). {far} {said}")


def _fig6(source: Source, config: Config) -> Drawn:
    """Pseudo-labels at the start of stage 2, drawn of one slice and counted over many."""
    image, label = unlabeled_slice(source, config)
    images, labels = unlabeled_views(source, config, SLICES)
    columns, shares = {}, {}
    for title, name in TEACHERS.items():
        student = after_stage(lesson_row(name, source), source, "pretrain").student
        columns[title] = [predict_probs(student, image[None]).argmax(1)[0].numpy()]
        shares[title] = float((predict_probs(student, images).argmax(1).numpy() != labels).mean())
    figure = pseudo_labels.pseudo_label_errors([image], [label], columns, source.class_names)
    said = captions.of_pseudo_labels(shares, SLICES)
    return Drawn(figure, f"Fig. 6, the teachers with which stage 2 begins. {said}")


def write_captions(path: Path, drawn: Mapping[str, str], about: str) -> None:
    """Write the captions of a folder of figures as Markdown, whole or not at all.

    Args:
        path: The file.
        drawn: Per name of a file its caption, in order.
        about: A paragraph above them, for example a license.
    """
    parts = [f"# What these pictures show\n\n{about}\n"]
    parts += [f"## {name}\n\n{caption}\n" for name, caption in drawn.items()]
    write_atomic(path, lambda p: p.write_text("\n".join(parts), encoding="utf-8"))
