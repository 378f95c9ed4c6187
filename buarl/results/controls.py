"""Controls that are not in the paper: they tell where a rule weighs from how much it weighs.

Under the reading "voxel" a rule moves weight between voxels of one mean, under "region" it adds two
means. In both its total weight differs from the plain method's, and the plain method alone
cannot say whether a difference comes from the place or from that total. Every row here changes one
thing (rules: `buarl.controls`), but for those without copy-paste: two of the four terms of stage 2
are empty there, and on ACDC one of the two of stage 1, so loss and gradient are half as large,
which under SGD is half the learning rate.
"""

from __future__ import annotations

from dataclasses import replace

from buarl.controls import border_region, level, random_region
from buarl.methods import METHODS
from buarl.regions import Rule, crl, url, whole
from buarl.results.paper import Reading
from buarl.training.config import Experiment

DRAWS = (1, 2, 3)  # lotteries over who is labeled; the published list is the row without a draw
LABELED_Q, UNLABELED_Q, ALPHA = 95, 99, 0.5  # on ACDC
LA_Q = 95  # of the unlabeled term on LA


def unlabeled_q(source: str) -> int:
    """The percentile of CRL that the paper takes on a data set.

    >>> unlabeled_q("acdc"), unlabeled_q("la")
    (99, 95)
    """
    return LA_Q if source == "la" else UNLABELED_Q


def total_weight(percentile: float, uncertain: float, certain: float, reduction: str) -> float:
    """What a rule of two regions weighs in all, where the plain method weighs 1.

    Args:
        percentile: q in percent; the uncertain region is the part 1 - q / 100 of the voxels.
        uncertain: Weight of the uncertain region.
        certain: Weight of the certain region.
        reduction: Under "voxel" the mean weight of a voxel; under "region", which adds one mean per
            region, the sum of the weights.

    >>> total_weight(95, 1.0, 0.5, "voxel"), total_weight(95, 1.0, 0.5, "region")
    (0.525, 1.5)
    """
    if reduction == "region":
        return uncertain + certain
    return round((100 - percentile) / 100 * uncertain + percentile / 100 * certain, 12)


def control_rules(reading: Reading, q: int = UNLABELED_Q) -> dict[str, tuple[Rule, Rule]]:
    """The rules that take the place of URL and CRL, by what is left of the idea.

    Args:
        reading: What the labeled and the unlabeled term are a mean over.
        q: The percentile of the unlabeled term.

    >>> labeled, unlabeled = control_rules(Reading("voxel", "voxel"))["total weight, no place"]
    >>> labeled.weight, unlabeled.weight
    (0.525, 0.995)
    """
    weights = (
        total_weight(LABELED_Q, 1.0, ALPHA, reading.labeled),
        total_weight(q, ALPHA, 1.0, reading.unlabeled),
    )
    pairs = {
        "total weight, no place": (level(weights[0]), level(weights[1])),
        "random place": (
            random_region(LABELED_Q, 1.0, ALPHA),
            random_region(q, ALPHA, 1.0),
        ),
        "border place": (
            border_region(LABELED_Q, 1.0, ALPHA),
            border_region(q, ALPHA, 1.0),
        ),
    }
    if "region" in reading:  # per voxel, alpha = 1 is the plain method to the last bit
        pairs["alpha = 1"] = (url(LABELED_Q, 1.0), crl(q, 1.0))
    return pairs


def control_rows(reading: Reading, base: Experiment | None = None) -> dict[str, Experiment]:
    """The controls under a reading, with the two rows they are controls of.

    Args:
        reading: What the labeled and the unlabeled term are a mean over.
        base: What all rows share; by default BCP on ACDC with 7 labeled patients, preset "mini".

    >>> rows = control_rows(Reading("voxel", "voxel"))
    >>> rows["BCP without copy-paste"].options
    {'box_share': 0.0}
    """
    base = base or Experiment("bcp", source="acdc", labeled=7, preset="mini")
    plain = replace(base, method="bcp", labeled_rule=whole(), unlabeled_rule=whole())
    q = unlabeled_q(base.source)
    ours = replace(
        plain,
        labeled_rule=url(LABELED_Q, ALPHA),
        unlabeled_rule=crl(q, ALPHA),
        labeled_reduction=reading.labeled,
        unlabeled_reduction=reading.unlabeled,
    )
    rows = {"BCP": plain, "URL + CRL": ours}
    for name, (labeled, unlabeled) in control_rules(reading, q).items():
        rows[name] = replace(ours, labeled_rule=labeled, unlabeled_rule=unlabeled)
    pseudo = {"method": "mean_teacher", "options": {"unsupervised": "pseudo_label"}}
    rows |= {
        "BCP without copy-paste": replace(plain, options={"box_share": 0.0}),
        "URL + CRL without copy-paste": replace(ours, options={"box_share": 0.0}),
        "MT on pseudo-labels": replace(plain, **pseudo),
        "MT on pseudo-labels, URL + CRL": replace(ours, **pseudo),
    }
    for draw in DRAWS:
        drawn = {"set": {**base.set, "labeled_draw": draw}}
        rows[f"BCP, lottery {draw}"] = replace(plain, **drawn)
        rows[f"URL + CRL, lottery {draw}"] = replace(ours, **drawn)
    return rows


def method_rows(reading: Reading, base: Experiment) -> dict[str, Experiment]:
    """Every method of the package plain and with both rules: does the idea help them, too?

    Args:
        reading: What the labeled and the unlabeled term are a mean over.
        base: What all rows share.

    >>> list(method_rows(Reading("voxel", "voxel"), Experiment()))[:2]
    ['supervised', 'supervised + URL']
    """
    rows, q = {}, unlabeled_q(base.source)
    for name in METHODS:
        options = {"unsupervised": "pseudo_label"} if name == "mean_teacher" else {}
        plain = replace(base, method=name, labeled_rule=whole(), unlabeled_rule=whole())
        ours = replace(
            plain,
            labeled_rule=url(LABELED_Q, ALPHA),
            unlabeled_rule=whole() if name == "supervised" else crl(q, ALPHA),
            labeled_reduction=reading.labeled,
            unlabeled_reduction=reading.unlabeled,
            options=options,
        )
        rows[name] = plain
        if options:  # else two things would change at once
            rows[f"{name} on pseudo-labels"] = replace(plain, options=options)
        rows[f"{name} + URL" if name == "supervised" else f"{name} + URL + CRL"] = ours
    return rows
