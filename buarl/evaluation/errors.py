"""How far does entropy find errors? The paper's premise as numbers (Fig. 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from buarl.entropy import Scope, entropy_of_probs, most_likely, uncertain_mask
from buarl.evaluation.predict import predict_probs


class Capture(NamedTuple):
    """What a mask catches, each 0-1; recall is NaN without errors, precision without marks.

    recall: marked errors of all errors. precision: errors of all marked voxels. share: marked
    voxels of all voxels.
    """

    recall: float
    precision: float
    share: float


def error_capture(
    error: Tensor, entropy: Tensor, percentile: float, scope: Scope = "batch"
) -> Capture:
    """What the uncertain mask at a percentile catches of the errors.

    Args:
        error: bool (B, *spatial), True where prediction and label differ.
        entropy: (B, *spatial), nats. percentile, scope: See `uncertain_mask`.
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
    """`error_capture` averaged over batches of labeled images at training size.

    Args:
        network: Evaluated in eval mode.
        samples: Pairs of image float32 (*spatial) and label (*spatial), all of one size.
        percentiles: Cuts. batch: Images that share a threshold, as in training; a last incomplete
            batch is left out.
    Returns:
        Per percentile recall and precision over all errors and marks together.
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
        both / errors if errors else nan, both / marked if marked else nan, marked / voxels
    )
