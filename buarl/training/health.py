"""Trainings that teach nothing are noticed: what was seen, at which step, and what to try."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from buarl.data.h5 import Sample
from buarl.entropy import most_likely

IDLE_ROWS = 5  # rows of the history, 10 steps each


class TeachesNothing(UserWarning):
    """A training that runs and learns nothing from what it is given."""


def warn(seen: str, advice: str) -> None:
    """Warn once for each text, where the caller of `fit` sees it."""
    warnings.warn(f"{seen}; {advice}", TeachesNothing, stacklevel=3)


def check_samples(labeled: Sequence[Sample], unlabeled: Sequence[Sample]) -> None:
    """Warn of labels with a single class and of constant images, before the first step.

    Args:
        labeled: Training samples with a label. unlabeled: Those without.
    """
    classes = {int(c) for sample in labeled for c in np.unique(sample.label)}
    if len(classes) == 1:
        warn(
            f"all {len(labeled)} labels hold class {classes.pop()} only",
            "a network learns to predict it everywhere: check the label files, or label other "
            "patients",
        )
    for name, samples in (("labeled", labeled), ("unlabeled", unlabeled)):
        flat = [s.case for s in samples if s.image.size and s.image.min() == s.image.max()]
        if flat and len(flat) == len(samples):
            warn(
                f"all {len(flat)} {name} images are constant, first {flat[0]}",
                "nothing can be learned from them: check the image files and their conversion",
            )


def check_history(stage: str, history: Sequence[Mapping]) -> None:
    """Warn where a loss has been exactly 0 for the last 50 steps of a stage.

    Args:
        stage: Its name. history: All rows so far; see `fit`.
    """
    rows = [row for row in history if row["stage"] == stage]
    if len(rows) % IDLE_ROWS or len(rows) < IDLE_ROWS:
        return
    recent = rows[-IDLE_ROWS:]
    for name, value in recent[-1].items():
        if (name == "labeled" or name.endswith("_loss")) and value == 0:  # noqa: SIM102
            if all(row.get(name) == 0 for row in recent):
                warn(
                    f"stage {stage!r}, step {recent[-1]['step']}: {name} has been exactly 0 for "
                    f"{IDLE_ROWS} rows of the history",
                    "the regions of the rule may be empty or weigh 0 (a percentile of 100 with "
                    "alpha 0 does that): choose another rule or weight",
                )


@torch.no_grad()
def check_prediction(
    stage: str, step: int, networks: Iterable[tuple[str, nn.Module]], image: Tensor
) -> None:
    """Warn where a network predicts one class for every voxel of a batch.

    Networks come back in the mode they had, and no random number is drawn.

    Args:
        stage: Its name. step: Steps done. networks: Names and networks, (B, 1, *spatial) -> logits.
        image: Training images, (B, 1, *spatial).
    """
    for name, network in networks:
        modes = [(module, module.training) for module in network.modules()]
        found = most_likely(network.eval()(image))  # (B, *spatial)
        for module, mode in modes:
            module.training = mode
        low, high = found.aminmax()
        if int(low) == int(high):
            warn(
                f"stage {stage!r}, step {step}: the {name} predicts class {int(low)} for every "
                f"voxel of {len(image)} training images",
                "its pseudo-labels teach nothing: more steps on labels first, another learning "
                "rate, or more labeled patients may help",
            )
