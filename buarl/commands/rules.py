"""A rule by its name on the command line, with the arguments that stand there."""

from __future__ import annotations

from inspect import signature
from typing import Any

from buarl.outside import code_name, is_outside, load_code
from buarl.regions import RULES, Rule


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
