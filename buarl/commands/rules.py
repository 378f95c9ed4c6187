"""A rule by its name on the command line, with the arguments that stand there."""

from __future__ import annotations

from inspect import signature
from typing import Any

from buarl.outside import code_name, is_outside, load_code
from buarl.regions import RULES, Rule


def takes(name: str, argument: str) -> bool:
    """Whether a rule of the package takes an argument; a rule of your own takes none of ours.

    >>> takes("url", "percentile"), takes("whole", "percentile"), takes("my.py:Rule", "percentile")
    (True, False, False)
    """
    return name in RULES and argument in signature(RULES[name]).parameters


def check_given(option: str, value: Any, argument: str, rules: dict[str, str]) -> None:
    """Refuse an option for rules of which none would look at it.

    Args:
        option: Its name, "labeled_percentile".
        value: What was given; None is nothing.
        argument: The argument of a rule that it sets.
        rules: The rules it is meant for, by term.
    Raises:
        ValueError: no such rule takes it; the message names them and those that do.

    >>> check_given("alpha", 0.3, "alpha", {"labeled_rule": "url", "unlabeled_rule": "whole"})
    >>> check_given("alpha", 0.3, "alpha", {"labeled_rule": "drop"})
    Traceback (most recent call last):
    ...
    ValueError: alpha is an argument of the rules url, crl and means nothing to labeled_rule drop
    """
    if value is None or any(takes(name, argument) for name in rules.values()):
        return
    able = ", ".join(name for name in RULES if takes(name, argument))
    given = " and ".join(f"{term} {name}" for term, name in rules.items())
    own = next((term for term, name in rules.items() if is_outside(name)), None)
    advice = f"; write --{own.replace('_', '-')}-option {argument}={value}" if own else ""
    raise ValueError(
        f"{option} is an argument of the rules {able} and means nothing to {given}{advice}"
    )


def make_rule(name: str, what: str, shared: dict[str, Any], own: dict[str, Any]) -> Rule:
    """A rule by its name on the command line.

    Args:
        name: One of `RULES`, or FOLDER/FILE.py:NAME.
        what: "labeled_rule", for the message.
        shared: Arguments for those rules of the package that take them.
        own: Arguments for this rule, whichever it is.
    Raises:
        ValueError: an unknown name, or arguments that the rule does not take.
    """
    if not is_outside(name) and name not in RULES:
        raise ValueError(f"{what} must be one of {list(RULES)} or FILE.py:NAME, got {name!r}")
    make = load_code(name) if is_outside(name) else RULES[name]
    known = signature(make).parameters
    if unknown := sorted(set(own) - set(known)):
        raise ValueError(f"{what} {name} takes {list(known)}, got {unknown}")
    if not is_outside(name):
        own = {**{key: value for key, value in shared.items() if key in known}, **own}
    try:
        rule = make(**own)
    except TypeError as error:
        raise ValueError(f"{what} {name}: {error}") from error
    if not (callable(rule) and callable(getattr(rule, "as_dict", None))):
        raise ValueError(f"{what} {name} must make a rule, see buarl.regions, got {rule!r}")
    if is_outside(name) and (stored := rule.as_dict().get("name")) != code_name(name):
        raise ValueError(f"{what} must be named as its rows store it, {stored!r}, got {name!r}")
    return rule
