"""Figures of what runs have recorded of themselves: slices of capsules, without their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from buarl.figures import captions, plots
from buarl.figures.loops import training_frames
from buarl.figures.pseudo_labels import pseudo_label_errors

STAGES = {"train": "training", "pretrain": "pre-training", "selftrain": "self-training"}


class SlicesOfRun(Protocol):
    """What a run keeps of N unlabeled slices at S moments, as its capsule is read.

    Attributes:
        names: Of the slices.
        image: (N, H, W).
        label: Whole numbers (N, H, W), or None where nobody labeled them.
        stages: The stage of every moment.
        steps: Steps of that stage that were done at every moment.
        networks: Who is asked at every moment, "teacher" or "student".
        nats: float32 (S, N, H, W), the entropy in nats; of runs that kept it in 255 levels, pixels
            tie and a mask may hold less than was asked for.
        pseudo_label: Whole numbers (S, N, H, W).
    """

    names: Sequence[str]
    image: np.ndarray
    label: np.ndarray | None
    stages: Sequence[str]
    steps: Sequence[int]
    networks: Sequence[str]
    nats: np.ndarray
    pseudo_label: np.ndarray


def figures_of_run(
    slices: SlicesOfRun, number: int, class_names: Sequence[str], percentile: float = 99
) -> dict[str, tuple[Figure, str]]:
    """Fig. 1 a, b and Fig. 5 of one slice of a run, at its end, each with its caption.

    Args:
        slices: From the run's capsule.
        number: Which of its slices, from 0.
        class_names: Background first.
        percentile: Cut of Fig. 1 in percent, over this slice.
    Raises:
        ValueError: no such slice, or slices without labels, whose errors nobody knows.
    """
    label = _label(slices, number)
    image, guess = slices.image[number], slices.pseudo_label[-1, number].astype(np.int64)
    entropy = slices.nats[-1, number]
    errors = plots.errors_beside_uncertainty(image, label, guess, entropy, class_names, percentile)
    said = captions.of_errors(label, guess, entropy, percentile)
    cuts = plots.entropy_cuts(image, entropy)
    return {
        "fig1_errors_and_uncertainty": (errors, f"Fig. 1 a, b. {said}"),
        "fig5_entropy_cuts": (cuts, f"Fig. 5. {captions.of_cuts(label, entropy)}"),
    }


def training_of_run(
    slices: SlicesOfRun, number: int, class_names: Sequence[str], percentile: float = 99
) -> list[Figure]:
    """The frames of a moving picture: one slice of a run at every moment it has recorded.

    Args:
        slices: From the run's capsule.
        number: Which of its slices, from 0.
        class_names: Background first.
        percentile: Cut in percent, over this slice.
    Returns:
        Closed figures for `buarl.figures.loops.write_loop`.
    Raises:
        ValueError: as in `figures_of_run`.
    """
    label = _label(slices, number)
    moments = [
        f"{STAGES.get(stage, stage)}, step {step}"
        for stage, step in zip(slices.stages, slices.steps, strict=True)
    ]
    guesses = slices.pseudo_label[:, number].astype(np.int64)
    history = slices.nats[:, number], guesses, moments
    return training_frames(slices.image[number], label, *history, class_names, percentile)


def runs_side_by_side(
    runs: Mapping[str, SlicesOfRun], number: int, class_names: Sequence[str]
) -> dict[str, tuple[Figure, str]]:
    """Fig. 3 of all slices of several runs, and Fig. 6 of one, each with its caption.

    Fig. 3 has the pseudo-labels at the end of each run. Fig. 6 has those after the first stage, of
    the runs that have two: the pseudo-labels that the second one begins with.

    Args:
        runs: Per title the slices from a run's capsule, the same slices in each.
        number: Which slice Fig. 6 shows, from 0.
        class_names: Background first.
    Raises:
        ValueError: no run, runs that kept other slices, or as in `figures_of_run`.
    """
    if not runs:
        raise ValueError("runs side by side need at least one run, got none")
    first = next(iter(runs.values()))
    for title, slices in runs.items():
        if not np.array_equal(slices.image, first.image):
            raise ValueError(
                f"runs side by side must have kept the same slices, {title} has others"
            )
    labels = [_label(first, n) for n in range(len(first.image))]
    _label(first, number)
    ends = {title: slices.pseudo_label[-1].astype(np.int64) for title, slices in runs.items()}
    who = ", ".join(f"{title}: {slices.networks[-1]}" for title, slices in runs.items())
    figure = plots.predictions_side_by_side(
        list(first.image), {"label": labels, **ends}, class_names, labels
    )
    said = f"Fig. 3, at the end ({who}). {captions.of_predictions(labels, ends)}"
    found = {"fig3_predictions": (figure, said)}
    early = {
        title: [slices.pseudo_label[_end_of_first_stage(slices), number].astype(np.int64)]
        for title, slices in runs.items()
        if slices.stages[0] != slices.stages[-1]
    }
    if early:
        shown = [first.image[number]], [labels[number]]
        said = captions.of_predictions(shown[1], early)
        found["fig6_pseudo_labels"] = (
            pseudo_label_errors(*shown, early, class_names),
            f"Fig. 6, {first.names[number]} after the first stage. {said}",
        )
    return found


def _end_of_first_stage(slices: SlicesOfRun) -> int:
    return max(n for n, stage in enumerate(slices.stages) if stage == slices.stages[0])


def _label(slices: SlicesOfRun, number: int) -> np.ndarray:
    if not 0 <= number < len(slices.image):
        raise ValueError(f"slice must lie in 0 to {len(slices.image) - 1}, got {number}")
    if slices.label is None:
        raise ValueError("these slices have no label, so their errors are not known")
    return slices.label[number].astype(np.int64)
