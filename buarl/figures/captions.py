"""What a figure shows, in sentences whose numbers are computed from the arrays it was drawn from.

Where a picture does not show what the paper says of its own, the sentence says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from buarl.entropy import uncertain_mask
from buarl.evaluation.errors import error_capture
from buarl.evaluation.metrics import case_metrics
from buarl.figures.loops import ceiling
from buarl.figures.undecided import Place
from buarl.training.config import Config
from buarl.training.experiment import Experiment

AWAY = 3  # pixels from any organ, from where on the background is far


def of_run(row: Experiment, *configs: Config, weights: str = "last weights") -> str:
    """Where the networks of a figure come from.

    Args:
        row: A row of the figure; its method and rules are not named.
        configs: Its numbers, and those of rows whose methods have other stages.
        weights: Which weights were drawn, if not the last.

    >>> from buarl.training.config import config_for
    >>> print(of_run(Experiment(), config_for(Experiment())))
    Data: phantom, 3 labeled patients; preset toy (200 + 200 steps, 64x64), seed 1337,
    last weights.
    """
    steps = " or ".join(" + ".join(f"{n:,}" for n in config.steps) for config in configs)
    size = "x".join(map(str, configs[0].image_size))
    labeled = "all patients" if row.labeled is None else f"{row.labeled} labeled patients"
    return (
        f"Data: {row.source}, {labeled}; preset {row.preset} ({steps} steps, {size}), "
        f"seed {row.seed}, {weights}."
    )


def of_rules(rows: Mapping[str, Experiment]) -> str:
    """The rules of networks that a figure puts side by side, with their normalizer.

    Args:
        rows: Per title what was trained.
    Returns:
        A sentence for every title whose row has rules, together where they have the same; "" where
        none has.

    >>> from buarl.regions import Confidence
    >>> row = Experiment(unlabeled_rule=Confidence(0.95))
    >>> print(of_rules({"BCP": Experiment(), "Ours (MT)": row, "Ours (BCP)": row}))
    Ours (MT) and Ours (BCP): unlabeled confidence(threshold=0.95) per voxel.
    """
    titles: dict[str, list[str]] = {}
    for title, row in rows.items():
        if row.rules:
            titles.setdefault(row.rules, []).append(title)
    return " ".join(f"{' and '.join(names)}: {rules}." for rules, names in titles.items())


def of_errors(
    label: np.ndarray, pseudo_label: np.ndarray, entropy: np.ndarray, percentile: float = 99
) -> str:
    """What the uncertain mask of one slice holds: share, precision, recall and its ceiling.

    Args:
        label: Whole numbers (H, W), the truth.
        pseudo_label: Whole numbers (H, W).
        entropy: float (H, W), nats.
        percentile: Cut in percent, over this slice.

    >>> label, guess = np.zeros((10, 10), int), np.eye(10, dtype=int)
    >>> print(of_errors(label, guess, np.eye(10) + np.arange(100).reshape(10, 10) / 1000, 90))
    At q = 90 the uncertain are 10.0 % of the pixels. Of them 100 % are wrong, of all pixels
    10.0 %; they hold 100 % of the errors, of at most 100 %.
    """
    error = label != pseudo_label
    batch = torch.from_numpy(np.ascontiguousarray(entropy))[None]
    found, wrong = error_capture(torch.from_numpy(error)[None], batch, percentile), error.mean()
    if not found.share:
        return (
            f"At q = {percentile:g} no pixel is uncertain, as too many share the highest entropy. "
            f"Of all pixels {100 * wrong:.1f} % are wrong."
        )
    return (
        f"At q = {percentile:g} the uncertain are {100 * found.share:.1f} % of the pixels. Of them "
        f"{percent(found.precision)} are wrong, of all pixels {100 * wrong:.1f} %; they hold "
        f"{percent(found.recall)} of the errors, of at most {percent(ceiling(found.share, wrong))}."
    )


def of_cuts(
    label: np.ndarray, entropy: np.ndarray, percentiles: Sequence[float] = (95, 97, 99)
) -> str:
    """Whether uncertain pixels lie in the background, which is the paper's reason for q = 99.

    Args:
        label: Whole numbers (H, W), the truth, 0 for background.
        entropy: float (H, W), nats.
        percentiles: Cuts in percent, over this slice, rising.
    """
    shares = far_shares(label, entropy, percentiles)
    told = ", ".join(f"{percent(s)} at q = {q:g}" for q, s in zip(percentiles, shares, strict=True))
    known = [share for share in shares if not np.isnan(share)]
    if len(known) < 2 or max(known) == 0:
        verdict = "So this slice cannot show the paper's reason for a high percentile."
    elif known[0] > known[-1]:
        verdict = "With a rising percentile this share falls, as the paper says of its Fig. 5."
    else:
        verdict = "Unlike in the paper's Fig. 5, this share does not fall with a rising percentile."
    return (
        f"Share of the uncertain pixels that lie in the background, more than {AWAY} pixels from "
        f"any structure: {told}. {verdict}"
    )


def far_shares(label: np.ndarray, entropy: np.ndarray, percentiles: Sequence[float]) -> list[float]:
    """What part of the uncertain pixels lies far from every organ, 0 to 1, at each percentile.

    Args:
        label: Whole numbers (H, W), the truth, 0 for background.
        entropy: float (H, W), nats.
        percentiles: Cuts in percent, over this slice.

    >>> label = np.zeros((1, 10), int); label[0, 0] = 1
    >>> far_shares(label, np.arange(10.0)[None], [50])  # marks columns 5 to 9
    [1.0]
    """
    far = distance_transform_edt(label == 0) > AWAY if label.any() else np.ones(label.shape, bool)
    batch = torch.from_numpy(np.ascontiguousarray(entropy))[None]
    masks = [uncertain_mask(batch, percentile)[0].numpy() for percentile in percentiles]
    return [float(far[mask].mean()) if mask.any() else float("nan") for mask in masks]


def of_places(places: Mapping[str, Place], class_names: Sequence[str]) -> str:
    """Which pixels a figure shows, and what the network says there.

    Args:
        places: Per name of a panel its pixel.
        class_names: Background first.
    """
    said = []
    for name, place in places.items():
        pairs = zip(class_names, place.probs, strict=True)
        probs = ", ".join(f"{of} {value:.2f}" for of, value in pairs)
        said.append(
            f"{name}: slice {place.image}, row {place.row}, column {place.column}: {probs}; "
            f"entropy {place.entropy:.2f} nats."
        )
    return " ".join(said)


def of_predictions(truth: Sequence[np.ndarray], columns: Mapping[str, Sequence[np.ndarray]]) -> str:
    """How much of the slices drawn each method has wrong.

    Args:
        truth: The true label (H, W) of every slice.
        columns: Per name of a method its label maps.

    >>> of_predictions([np.zeros((2, 2))], {"A": [np.eye(2)], "B": [np.zeros((2, 2))]})
    'Wrong pixels in the slices drawn: A 50.0 %, B 0.0 %.'
    """
    total = sum(label.size for label in truth)
    shares = {
        name: sum(int((guess != label).sum()) for guess, label in zip(maps, truth, strict=True))
        for name, maps in columns.items()
    }
    told = ", ".join(f"{name} {100 * wrong / total:.1f} %" for name, wrong in shares.items())
    return f"Wrong pixels in the slices drawn: {told}."


def of_volume(truth: np.ndarray, columns: Mapping[str, np.ndarray]) -> str:
    """Dice of the foreground of a volume, for every method.

    Args:
        truth: The true label, whole numbers (X, Y, Z).
        columns: Per name of a method its label map.

    >>> cube = np.ones((4, 4, 4), int)
    >>> of_volume(cube, {"A": cube})
    'Dice of this volume: A 1.000.'
    """
    told = ", ".join(
        f"{name} {case_metrics(labels > 0, truth > 0)['dice']:.3f}"
        for name, labels in columns.items()
    )
    return f"Dice of this volume: {told}."


def of_pseudo_labels(drawn: Mapping[str, float], shares: Mapping[str, float], slices: int) -> str:
    """Whether wider URL gives better first pseudo-labels, which the paper shows in its Fig. 6.

    Args:
        drawn: Per name of a teacher its share of wrong pixels in the slice drawn, 0 to 1: plain,
            URL at 99, at 95.
        shares: The same over many slices.
        slices: Over how many.

    >>> teachers = "plain", "q = 99", "q = 95"
    >>> drawn, shares = (0.046, 0.035, 0.029), (0.03, 0.04, 0.02)
    >>> print(of_pseudo_labels(*(dict(zip(teachers, s)) for s in (drawn, shares)), 120))
    Wrong pixels in the slice drawn: plain 4.6 %, q = 99 3.5 %, q = 95 2.9 %; over 120 unlabeled
    slices: plain 3.00 %, q = 99 4.00 %, q = 95 2.00 %. The paper's order (most errors without URL,
    fewest at q = 95) shows in the slice drawn, but not over the 120.
    """
    here, over = (
        ", ".join(f"{name} {100 * share:.{digits}f} %" for name, share in found.items())
        for found, digits in ((drawn, 1), (shares, 2))
    )
    verdict = {
        (True, True): f"shows in the slice drawn and over the {slices}, with one seed",
        (True, False): f"shows in the slice drawn, but not over the {slices}",
        (False, True): f"shows over the {slices}, with one seed, but not in the slice drawn",
        (False, False): f"shows neither in the slice drawn nor over the {slices}",
    }
    falls = tuple(
        all(before > after for before, after in pairwise(found.values()))
        for found in (drawn, shares)
    )
    return (
        f"Wrong pixels in the slice drawn: {here}; over {slices} unlabeled slices: {over}. The "
        f"paper's order (most errors without URL, fewest at q = 95) {verdict[falls]}."
    )


def percent(value: float) -> str:
    """A share in 0 to 1 as whole percent; "none" where there is nothing to share."""
    return "none" if np.isnan(value) else f"{100 * value:.0f} %"
