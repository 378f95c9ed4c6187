"""The paper's figures, of the lessons' networks or of runs, each with a caption of its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch.nn import Module

from buarl.data.source import Source
from buarl.data.text import read_text
from buarl.entropy import entropy_of_probs
from buarl.evaluation.evaluate import predict_volume
from buarl.evaluation.predict import predict_probs
from buarl.figures import captions, plots, pseudo_labels, surfaces, undecided
from buarl.figures.views import around, planes, unlabeled_views
from buarl.lessons.demo import save_figure, unlabeled_slice
from buarl.lessons.trained import after_stage, lesson_row, trained
from buarl.regions import whole
from buarl.training.checkpoint import write_atomic
from buarl.training.config import Config, Experiment, config_for

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


class Trained(NamedTuple):
    """A network to draw from: what was trained, its numbers, and its student."""

    row: Experiment
    config: Config
    student: Module


def paper_figures(source: Source, *, progress: bool = False) -> dict[str, Drawn]:
    """Draw the paper's figures for a data set from the lessons' networks.

    Args:
        source: The data set. Networks that the cache does not have are trained first.
        progress: Show a bar while training.
    Returns:
        As `draw_figures` does.
    """

    def of(name: str) -> Trained:
        row = lesson_row(name, source)
        return Trained(row, config_for(row), trained(row, source, progress=progress).student)

    compared, teachers = {title: of(name) for title, name in COMPARED.items()}, {}
    if source.rank == 2:
        for title, name in TEACHERS.items():
            row = lesson_row(name, source)
            student = after_stage(row, source, "pretrain").student
            teachers[title] = Trained(row, config_for(row), student)
    return draw_figures(source, compared, teachers, main="BCP", bars="Mean Teacher")


def draw_figures(
    source: Source,
    compared: Mapping[str, Trained],
    teachers: Mapping[str, Trained],
    *,
    main: str,
    bars: str,
) -> dict[str, Drawn]:
    """Draw the paper's figures: Fig. 4 of volumes, Fig. 1, 3, 5 and 6 of slices.

    Args:
        source: The data set.
        compared: What Fig. 3 and 4 put side by side.
        teachers: What Fig. 6 does; without them it is left out.
        main: Of which network of `compared` Fig. 1 a, b and Fig. 5 are.
        bars: Of which Fig. 1 c, d are.
    Returns:
        Per name of a file, without its ending, the figure and its caption. A slice of training is
        an unlabeled one, a volume the first of validation; nothing is drawn from a test case.
        Fig. 1 c, d are missing where no pixel lies between three classes.
    """
    if source.rank == 3:
        figure, said = _fig4(compared, source)
        return {"fig4_volume": Drawn(figure, f"{said} {_from(compared)}")}
    found = {
        name: (drawn, {main: compared[main]})
        for name, drawn in _fig1_and_5(compared[main], source).items()
    }
    if (drawn := _fig1_bars(compared[bars], source)) is not None:
        found["fig1_bars"] = drawn, {bars: compared[bars]}
    found["fig3_predictions"] = _fig3(compared, source), compared
    if teachers:
        labeled_alone = {  # stage 1 sees no unlabeled image
            title: each._replace(row=replace(each.row, unlabeled_rule=whole()))
            for title, each in teachers.items()
        }
        found["fig6_pseudo_labels"] = _fig6(teachers, source), labeled_alone
    return {
        name: Drawn(figure, f"{said} {_from(networks)}")
        for name, ((figure, said), networks) in found.items()
    }


def _from(networks: Mapping[str, Trained]) -> str:
    """Where the networks of a figure come from, and which rules they have."""
    configs = {each.config.steps: each.config for each in networks.values()}
    most_stages_first = sorted(configs.values(), key=lambda config: -len(config.steps))
    rows = {title: each.row for title, each in networks.items()}
    said = captions.of_run(next(iter(rows.values())), *most_stages_first)
    return f"{said} {captions.of_rules(rows)}".rstrip()


def _fig1_and_5(one: Trained, source: Source) -> dict[str, Drawn]:
    """A student on an unlabeled slice: its errors, its entropy, and three cuts of it."""
    image, label = unlabeled_slice(source, one.config)
    probs = predict_probs(one.student, image[None])  # (1, C, H, W)
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


def _fig1_bars(one: Trained, source: Source) -> Drawn | None:
    """A pixel that a student is sure of, and the one that hovers most between classes.

    None where there are no such pixels: with two classes, or of a network that gets none right.
    """
    images, labels = unlabeled_views(source, one.config, SLICES)
    probs = predict_probs(one.student, images).numpy()
    try:
        places = {
            "(c) a reliable pixel": undecided.most_reliable(probs, labels),
            "(d) an unreliable one": undecided.most_undecided(probs),
        }
    except ValueError:
        return None
    names = source.class_names
    figure = undecided.pixels_and_places(images, probs.argmax(1), places, names)
    said = captions.of_places(places, names)
    how = f"Found among {SLICES} unlabeled slices; (d) has the largest third class of all pixels"
    limit = f"with a background below {undecided.BACKGROUND:g}"
    return Drawn(figure, f"Fig. 1 c, d. {how} {limit}. {said}")


def _fig3(compared: Mapping[str, Trained], source: Source) -> Drawn:
    case = source.cases("val")[0]
    volume = source.volume(case)
    depth = len(planes(volume.image, source.rank))
    chosen = [depth // 4, depth // 2, 3 * depth // 4]

    def cut(array: np.ndarray) -> list[np.ndarray]:
        return list(planes(array, source.rank)[chosen])

    columns = {
        title: cut(predict_volume(each.student, volume.image, source.rank, each.config)[0])
        for title, each in compared.items()
    }
    truth = cut(volume.label)
    view = around(truth + [each for column in columns.values() for each in column])
    shown = {
        title: [each[view] for each in column]
        for title, column in {"label": truth, **columns}.items()
    }
    images = [each[view] for each in cut(volume.image)]
    names = source.class_names
    figure = plots.predictions_side_by_side(images, shown, names, [each[view] for each in truth])
    said = captions.of_predictions(truth, columns)
    return Drawn(figure, f"Fig. 3, slices {chosen} of {case} (validation). {said}")


def _fig4(compared: Mapping[str, Trained], source: Source) -> Drawn:
    case = source.cases("val")[0]
    volume = source.volume(case)
    columns = {
        title: predict_volume(each.student, volume.image, source.rank, each.config)[0]
        for title, each in compared.items()
    }
    figure = surfaces.volume_predictions(
        volume.image, {"label": volume.label, **columns}, source.class_names, volume.label
    )
    said = captions.of_volume(volume.label, columns)
    far = f"In the errors' color, surfaces more than {surfaces.FAR:g} voxels from the true one."
    return Drawn(figure, f"Fig. 4, {case} (validation). {far} {said}")


def _fig6(teachers: Mapping[str, Trained], source: Source) -> Drawn:
    """Pseudo-labels at the start of stage 2, drawn of one slice and counted over many."""
    config = next(iter(teachers.values())).config
    image, label = unlabeled_slice(source, config)
    images, labels = unlabeled_views(source, config, SLICES)
    columns, drawn, shares = {}, {}, {}
    for title, each in teachers.items():
        columns[title] = [predict_probs(each.student, image[None]).argmax(1)[0].numpy()]
        drawn[title] = float((columns[title][0] != label).mean())
        guess = predict_probs(each.student, images).argmax(1).numpy()
        shares[title] = float((guess != labels).mean())
    figure = pseudo_labels.pseudo_label_errors([image], [label], columns, source.class_names)
    said = captions.of_pseudo_labels(drawn, shares, SLICES)
    return Drawn(figure, f"Fig. 6, the teachers with which stage 2 begins. {said}")


def save_drawn(
    drawn: Mapping[str, tuple[Figure, str]], folder: Path, licence: str = ""
) -> dict[str, str]:
    """Write figures as PNG, with the license of the images on each.

    Args:
        drawn: Per name a figure and its caption.
        folder: Made if it is not there.
        licence: What stands above each figure; "" leaves that out.
    Returns:
        The captions by the names of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (figure, _) in drawn.items():
        if licence:
            figure.text(0.5, 1.03, licence, ha="center", va="bottom", fontsize=7)
        save_figure(figure, folder / f"{name}.png")
    return {f"{name}.png": caption for name, (_, caption) in drawn.items()}


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


def read_captions(path: Path) -> tuple[str, dict[str, str]]:
    """What `write_captions` wrote: the paragraph above, and the captions.

    Args:
        path: The file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "captions.md"
    >>> write_captions(path, {"a.png": "A heart.", "b.gif": "Another."}, "Two pictures.")
    >>> read_captions(path)
    ('Two pictures.', {'a.png': 'A heart.', 'b.gif': 'Another.'})
    """
    head, *parts = read_text(path).split("\n## ")
    captions = dict(part.strip().split("\n\n", 1) for part in parts)
    return head.split("\n\n", 1)[1].strip(), captions
