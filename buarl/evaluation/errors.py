"""Does entropy find the errors? The premise of the paper as numbers (Fig. 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from buarl.entropy import Scope, entropy_of_probs, most_likely, uncertain_mask
from buarl.evaluation.predict import predict_probs


class Capture(NamedTuple):
    """What a mask of uncertain voxels catches of the errors, each number in 0-1.

    Attributes:
        recall: Marked errors as a share of all errors; NaN if there are no errors.
        precision: Errors as a share of all marked voxels; NaN if none is marked.
        share: Marked voxels as a share of all voxels.
    """

    recall: float
    precision: float
    share: float


def error_capture(
    error: Tensor, entropy: Tensor, percentile: float, scope: Scope = "batch"
) -> Capture:
    """Count what the uncertain mask at a percentile catches of the errors.

    Args:
        error: bool (B, *spatial), True where prediction and label differ.
        entropy: float (B, *spatial), nats.
        percentile: Cut in percent, see `buarl.entropy.uncertain_mask`.
        scope: "batch" cuts all images together, "image" each on its own.
    Returns:
        The counts as shares.

    >>> entropy = torch.arange(10.0).view(1, 10)
    >>> error = torch.tensor([[0, 0, 0, 0, 1, 0, 0, 0, 1, 1]]).bool()
    >>> error_capture(error, entropy, percentile=80)  # marks the last two voxels
    Capture(recall=0.6666666666666666, precision=1.0, share=0.2)
    """
    uncertain = uncertain_mask(entropy, percentile, scope)
    both, errors, marked = ((m).sum().item() for m in (uncertain & error, error, uncertain))
    return _capture(both, errors, marked, error.numel())


def capture_table(
    network: torch.nn.Module,
    samples: Iterable[tuple[np.ndarray, np.ndarray]],
    percentiles: Sequence[float] = (95, 97, 99),
    batch: int = 12,
) -> dict[float, Capture]:
    """Count what uncertain masks catch over many images at training size.

    Args:
        network: It is put into evaluation mode.
        samples: Pairs of image float32 (*spatial) and label, whole numbers (*spatial), all of one
            size.
        percentiles: Cuts in percent.
        batch: How many images share a threshold, as in training; a last incomplete batch is left
            out.
    Returns:
        Per percentile the shares over all batches together.

    >>> network = torch.nn.Conv2d(1, 2, 1)
    >>> samples = [(np.random.rand(8, 8).astype(np.float32), np.zeros((8, 8), np.uint8))] * 4
    >>> list(capture_table(network, samples, percentiles=(95, 99), batch=2))
    [95, 99]
    """
    totals = {q: np.zeros(4) for q in percentiles}
    pairs = list(samples)
    for first in range(0, len(pairs) - batch + 1, batch):
        images, labels = zip(*pairs[first : first + batch], strict=True)
        probs = predict_probs(network, np.stack(images))
        error = most_likely(probs) != torch.from_numpy(np.stack(labels).astype(np.int64))
        entropy = entropy_of_probs(probs)
        for q in percentiles:
            uncertain = uncertain_mask(entropy, q)
            counts = (uncertain & error, error, uncertain)
            totals[q] += [*(int(mask.sum()) for mask in counts), error.numel()]
    return {q: _capture(*map(float, counts)) for q, counts in totals.items()}


def _capture(both: float, errors: float, marked: float, voxels: float) -> Capture:
    nan = float("nan")
    return Capture(
        both / errors if errors else nan,
        both / marked if marked else nan,
        marked / voxels if voxels else nan,
    )
