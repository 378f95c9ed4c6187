"""The row of an experiment that the options of `buarl train` describe."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from buarl.commands.rules import check_given, make_rule
from buarl.commands.words import pairs
from buarl.data.source import Source, rank_of
from buarl.outside import is_outside
from buarl.regions import Rule
from buarl.training.config import Experiment

if TYPE_CHECKING:
    from buarl.commands.train import Train

SHARED = (
    *("method", "preset", "set", "option", "network", "network_option", "alpha", "scope"),
    *("labeled_rule", "labeled_rule_option", "labeled_percentile", "labeled_reduction"),
    *("unlabeled_rule", "unlabeled_rule_option", "unlabeled_percentile", "unlabeled_reduction"),
)
"""Options that describe a row, of `train` and of `speedrun`."""
ROW = (*SHARED, "source", "labeled", "seed", "unsupervised", "entropy_from", "url_in_stage2")
"""All of `train` that describe a row."""
LABELED = {2: 3, 3: 4}  # patients by rank, where nobody says; BCP wants 4 volumes a step


def row_of(train: Train) -> Experiment:
    """The row that the options of a command describe.

    Args:
        train: The command.
    Raises:
        ValueError: an option that is no KEY=VALUE, or one that means nothing to what is asked for.
    """
    options = pairs(train.option, "--option")
    if train.unsupervised is not None:
        options["unsupervised"] = train.unsupervised
    if train.entropy_from is not None:
        options["entropy_from"] = train.entropy_from
    if train.url_in_stage2:
        options["url_in_stage2"] = True
    labeled = LABELED[rank_of(train.source)] if train.labeled is None else train.labeled
    labeled_rule, unlabeled_rule = _rule(train, "labeled"), _rule(train, "unlabeled")
    _check_given(train)
    return Experiment(
        method=train.method,
        labeled_rule=labeled_rule,
        unlabeled_rule=unlabeled_rule,
        labeled_reduction=train.labeled_reduction,
        unlabeled_reduction=train.unlabeled_reduction,
        options=options,
        source=train.source,
        labeled=labeled or None,
        preset=train.preset,
        seed=train.seed,
        set=pairs(train.set, "--set"),
        network=train.network,
        network_options=pairs(train.network_option, "--network-option"),
    )


def given_row(train: Train) -> list[str]:
    """Options that describe a row and are not left as they are, as they are typed.

    Args:
        train: The command.
    """
    names = [each for each in fields(train) if each.name in ROW]
    return [
        each.name.replace("_", "-")
        for each in names
        if getattr(train, each.name) != each.default and not is_outside(getattr(train, each.name))
    ]


def _rule(train: Train, term: str) -> Rule:
    from buarl.results.controls import LABELED_Q, unlabeled_q  # the paper's, where nobody says

    percentile = getattr(train, f"{term}_percentile")
    usual = LABELED_Q if term == "labeled" else unlabeled_q(train.source)
    shared = {
        "percentile": usual if percentile is None else percentile,
        "alpha": 0.5 if train.alpha is None else train.alpha,
        "scope": train.scope or "batch",
    }
    own = pairs(getattr(train, f"{term}_rule_option"), f"--{term}-rule-option")
    return make_rule(getattr(train, f"{term}_rule"), f"{term}_rule", shared, own)


def _check_given(train: Train) -> None:
    """Refuse arguments of rules that no rule takes: they would be typed for nothing."""
    rules = {term: getattr(train, term) for term in ("labeled_rule", "unlabeled_rule")}
    for term in rules:
        option = term.replace("rule", "percentile")
        check_given(option, getattr(train, option), "percentile", {term: rules[term]})
    check_given("alpha", train.alpha, "alpha", rules)
    check_given("scope", train.scope, "scope", rules)


def labeled_by_default(source: Source) -> int:
    """How many patients are labeled where nobody says: 3, or 4 for volumes; some stay unlabeled.

    Args:
        source: The data. Where it has few patients, half of them.
    """
    with_label = source.samples_with_label()
    patients = len({source.patient(name) for name in with_label})
    others = len(source.training_names()) > len(with_label)
    most = patients if others else patients // 2
    wanted = LABELED[source.rank]
    return wanted if wanted < patients else max(min(wanted, most), 1)
