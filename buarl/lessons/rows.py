"""The rows that the lessons train and compare, and the data set that they train on."""

from __future__ import annotations

import os

from buarl.data.source import Source, open_source
from buarl.regions import crl, drop, url
from buarl.training.config import PRESETS, Experiment

LESSON_SOURCE = "phantom_fine"
_PSEUDO_LABELS = {"method": "mean_teacher", "options": {"unsupervised": "pseudo_label"}}
_URL_CRL = {"labeled_rule": url(95), "unlabeled_rule": crl(99)}
LESSON_ROWS: dict[str, dict] = {
    "supervised": {"method": "supervised"},
    "supervised + URL": {"method": "supervised", "labeled_rule": url(95)},
    "Mean Teacher": {"method": "mean_teacher"},
    "Mean Teacher, pseudo-labels": _PSEUDO_LABELS,
    "Mean Teacher + URL + CRL": {**_PSEUDO_LABELS, **_URL_CRL},
    "BCP": {"method": "bcp"},
    "BCP + URL + CRL": {"method": "bcp", **_URL_CRL},
    "BCP, URL at 99": {"method": "bcp", "labeled_rule": url(99), "unlabeled_rule": crl(99)},
}
"""What is trained for the lessons, by the name that stands in their tables."""
_PER_REGION = {"labeled_reduction": "region", "unlabeled_reduction": "region"}
STUDY_ROWS: dict[str, dict] = {
    **LESSON_ROWS,
    "BCP + URL, uncertain removed": {
        "method": "bcp",
        "labeled_rule": url(95),
        "unlabeled_rule": drop(99),
    },
    "BCP + URL + CRL, per region": {"method": "bcp", **_URL_CRL, **_PER_REGION},
}
"""What the study compares: the rows of the lessons, and two readings that they argue about."""


def lesson_source() -> Source:
    """Open the data set of the lessons: synthetic hearts, or what BUARL_SOURCE and BUARL_ROOT name.

    Raises:
        DataError: a name or a folder that does not fit, see `buarl.open_source`.
    """
    name = os.environ.get("BUARL_SOURCE") or LESSON_SOURCE
    return open_source(name, os.environ.get("BUARL_ROOT") or None)


def lesson_row(name: str, source: Source, seed: int = 1337) -> Experiment:
    """Make a row of the lessons for a data set, both terms normalized per voxel unless it says so.

    Slices are trained on with preset "lesson", where every row takes as many steps as the others:
    BCP has half of them in its first stage (the paper a quarter of a run thirty times as long).
    The small phantom, on which a training should take a minute, and volumes keep preset "toy".

    Args:
        name: One of `STUDY_ROWS`, for example "BCP + URL + CRL".
        source: The data set. 3 of its patients are labeled, or 4 scans where volumes are trained
            on, as many as a batch of BCP holds there.
        seed: Of weights and batches.
    Raises:
        ValueError: no such row.
    """
    if name not in STUDY_ROWS:
        raise ValueError(f"a row of the lessons must be one of {list(STUDY_ROWS)}, got {name!r}")
    toy = source.rank == 3 or source.name == "phantom"
    row = {"preset": "toy" if toy else "lesson", **STUDY_ROWS[name]}
    if source.rank == 3 and row.get("unlabeled_rule") == crl(99):
        row["unlabeled_rule"] = crl(95)  # as the paper cuts LA (4.3)
    if row["method"] == "bcp" and not toy:
        steps = PRESETS["lesson"].steps
        row["set"] = {"steps": [max(1, steps // 2), max(1, steps - steps // 2)]}
    return Experiment(source=source.name, labeled=4 if source.rank == 3 else 3, seed=seed, **row)
