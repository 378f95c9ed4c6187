"""Figures of what a run has recorded of itself: the slices of its capsule, without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from buarl.figures import captions, plots
from buarl.figures.loops import training_frames

STAGES = {"train": "training", "pretrain": "pre-training", "selftrain": "self-training"}


class SlicesOfRun(Protocol):
    """What a run keeps of N unlabeled slices at S moments, as its capsule is read.

    Attributes:
        image: (N, H, W).
        label: Whole numbers (N, H, W), or None where nobody labeled them.
        stages: The stage of every moment.
        steps: Steps of that stage that were done at every moment.
        nats: float32 (S, N, H, W), the entropy in nats; kept in 255 levels, so that pixels tie and
            a mask may hold a little less than was asked for.
        pseudo_label: Whole numbers (S, N, H, W).
    """

    image: np.ndarray
    label: np.ndarray | None
    stages: Sequence[str]
    steps: Sequence[int]
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


def _label(slices: SlicesOfRun, number: int) -> np.ndarray:
    if not 0 <= number < len(slices.image):
        raise ValueError(f"slice must lie in 0 to {len(slices.image) - 1}, got {number}")
    if slices.label is None:
        raise ValueError("these slices have no label, so their errors are not known")
    return slices.label[number].astype(np.int64)
