"""The rows of the paper's ablation tables as data (Tables 3-6: BCP on ACDC, 7 labeled patients).

The paper does not say how a region is normalized, so every table exists under every reading: a pair
of reductions, one for the labeled and one for the unlabeled term.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from buarl.losses import Reduction
from buarl.regions import Rule, crl, drop, url, whole
from buarl.training.config import Experiment


class Reading(NamedTuple):
    """The normalizer of the labeled and of the unlabeled term.

    >>> Reading("region", "voxel").labeled
    'region'
    """

    labeled: Reduction
    unlabeled: Reduction


READINGS = (
    Reading("region", "region"),
    Reading("voxel", "voxel"),
    Reading("voxel", "region"),
    Reading("region", "voxel"),
)

_PAIRS: dict[int, dict[str, tuple[Rule, Rule]]] = {
    3: {  # parts: URL and CRL, each with and without
        "BCP": (whole(), whole()),
        "URL": (url(95), whole()),
        "CRL": (whole(), crl(99)),
        "URL + CRL": (url(95), crl(99)),
    },
    4: {  # crossed: weights swapped, the percentile stays with the image (docs/protocol.md 7.18)
        "URL + CRL": (url(95), crl(99)),
        "URL on both": (url(95), url(99)),
        "CRL on both": (crl(95), crl(99)),
        "CRL + URL": (crl(95), url(99)),
    },
    5: {  # percentiles of URL and CRL (docs/protocol.md 7.19)
        "95, 95": (url(95), crl(95)),
        "95, 99": (url(95), crl(99)),
        "99, 99": (url(99), crl(99)),
    },
    6: {  # weigh uncertain voxels down, or remove them (docs/protocol.md 7.20)
        "weigh down": (url(95), crl(99)),
        "remove": (url(95), drop(99)),
    },
}


def table_rows(
    number: int, reading: Reading = READINGS[1], base: Experiment | None = None
) -> dict[str, Experiment]:
    """The rows of Table 3, 4, 5 or 6 under a reading.

    Args:
        number: Number of the table, 3 to 6.
        reading: What the labeled and the unlabeled term are a mean over.
        base: What all rows share; by default the paper's schedule, BCP on ACDC with 7 labeled
            patients.
    Raises:
        ValueError: a table without rows here.

    >>> [row.unlabeled_rule.percentile for row in table_rows(5).values()]
    [95, 99, 99]
    """
    if number not in _PAIRS:
        raise ValueError(f"table must be one of {sorted(_PAIRS)}, got {number}")
    base = base or Experiment(method="bcp", source="acdc", labeled=7, preset="paper")
    return {
        name: replace(
            base,
            labeled_rule=labeled,
            unlabeled_rule=unlabeled,
            labeled_reduction=reading.labeled,
            unlabeled_reduction=reading.unlabeled,
        )
        for name, (labeled, unlabeled) in _PAIRS[number].items()
    }
