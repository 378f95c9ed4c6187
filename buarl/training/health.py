"""Trainings that teach nothing are noticed: what was seen, at which step, and what to try."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from buarl.arguments import counted
from buarl.data.h5 import Sample
from buarl.entropy import most_likely
from buarl.methods.recipe import StagePlan

IDLE_ROWS = 5  # rows of the history, 10 steps each
YOUNG = 100  # steps within which a network may say anything


class TeachesNothing(UserWarning):
    """A training that runs and learns nothing from what it is given."""


class FewSamples(UserWarning):
    """A batch is larger than what there is to draw from."""


def warn(seen: str, advice: str, kind: type[UserWarning] = TeachesNothing) -> None:
    """Warn once for each text, where the caller of `fit` sees it."""
    warnings.warn(f"{seen}; {advice}", kind, stacklevel=4)


def check_batches(stages: Sequence[StagePlan], labeled: int, unlabeled: int) -> None:
    """Warn of batches larger than what there is to draw from; once for each kind of sample.

    Args:
        stages: Numbers of every stage. labeled, unlabeled: Training samples of either kind.
    """
    for name, count in (("labeled", labeled), ("unlabeled", unlabeled)):
        most = max(getattr(plan, f"{name}_batch") for plan in stages)
        if most > count:
            warn(
                f"a step draws {most} {name} images, and there are {count}",
                "some are drawn more than once in a step, each time augmented anew",
                FewSamples,
            )


def check_samples(labeled: Sequence[Sample], unlabeled: Sequence[Sample]) -> None:
    """Warn of labels with a single class and of constant images, before the first step.

    Args:
        labeled: Training samples with a label. unlabeled: Those without.
    """
    classes: set[int] = set()
    for sample in labeled:
        classes |= {int(sample.label.min()), int(sample.label.max())}
        if len(classes) > 1:
            break
    if len(classes) == 1:
        warn(
            f"all {counted(len(labeled), 'label')} hold class {classes.pop()} only",
            "a network learns to predict it everywhere: check the label files, or label other "
            "patients",
        )
    for name, samples in (("labeled", labeled), ("unlabeled", unlabeled)):
        if samples and all(s.image.min() == s.image.max() for s in samples):  # the first tells
            warn(
                f"all {len(samples)} {name} images are constant, first {samples[0].case}",
                "nothing can be learned from them: check the image files and their conversion",
            )


def check_history(stage: str, history: Sequence[Mapping]) -> None:
    """Warn where a loss has been exactly 0 for 50 steps of a stage: once, when it has.

    Args:
        stage: Its name. history: All rows so far; see `fit`.
    """
    last = [row for row in history[-IDLE_ROWS - 1 :] if row["stage"] == stage]
    recent, earlier = last[-IDLE_ROWS:], last[:-IDLE_ROWS]
    if len(recent) < IDLE_ROWS:
        return
    for name, value in recent[-1].items():
        if (name == "labeled" or name.endswith("_loss")) and value == 0:
            said_before = any(row.get(name) == 0 for row in earlier)
            if all(row.get(name) == 0 for row in recent) and not said_before:
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
        found = most_likely(network.eval().forward(image))  # (B, *spatial), never compiled anew
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
