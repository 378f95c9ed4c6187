"""An experiment is a row of a table: plain data that says everything about a training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, get_args

from buarl.arguments import check_choice, short
from buarl.losses import Reduction
from buarl.methods import METHODS
from buarl.outside import Code, code_name, is_outside, loaded, require_code
from buarl.regions import Rule, rule_from_dict, whole
from buarl.training.overrides import check_overrides

_ONLY_IF_GIVEN = ("set", "network", "network_options")  # rows without them are as they always were


@dataclass(frozen=True)
class Experiment:
    """One row of a table: what is trained on what. Plain data, written into every run folder.

    Args:
        method: A name from `METHODS`, or one of your own, "my_method.py:MyMethod"; a class is
            stored under its name.
        labeled_rule: Regions of the labeled term.
        unlabeled_rule: Regions of the unlabeled term.
        labeled_reduction: Normalizer of the labeled term, see `region_loss`.
        unlabeled_reduction: Normalizer of the unlabeled term.
        options: More arguments of the method.
        source: Name of the data set.
        labeled: Labeled patients, the first of the list; None for all.
        preset: "toy", "lesson", "mini", "quick" or "paper": how far the published schedule is
            shortened.
        seed: Decides weights, batches, dropout, noise and boxes.
        set: Numbers that this row sets for itself, such as {"steps": 2000, "lr": 0.03}; every key
            and what its value must be stands in `buarl.training.overrides.KEYS`.
        network: Another network than the paper's, "package.module:Class" or "my_network.py:Net"; a
            class is stored under its name.
        network_options: More arguments of that network.
    Raises:
        ValueError: an unknown key or a value out of range in `set`, or what is no plain JSON.

    >>> Experiment("bcp", set={"steps": 500, "image_size": (96, 96)}).changes
    'steps=500 image_size=96,96'
    """

    method: str = "bcp"
    labeled_rule: Rule = whole()
    unlabeled_rule: Rule = whole()
    labeled_reduction: Reduction = "voxel"
    unlabeled_reduction: Reduction = "voxel"
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = "phantom"
    labeled: int | None = 3
    preset: str = "toy"
    seed: int = 1337
    set: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None
    network_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("options", "set", "network_options"):
            if not isinstance(value := getattr(self, name), Mapping):
                raise TypeError(f"{name} of a row must be a mapping, got {short(value)}")
        for name in ("seed", "labeled"):
            value = getattr(self, name)
            if value is not None or name == "seed":
                if not isinstance(value, Integral) or isinstance(value, bool):
                    raise ValueError(f"{name} must be a whole number, got {short(value)}")
                object.__setattr__(self, name, int(value))  # NumPy's own are no JSON
        for name in ("labeled_reduction", "unlabeled_reduction"):
            check_choice(name, getattr(self, name), get_args(Reduction))
        for name in ("options", "network_options"):
            if (given := dict(getattr(self, name))) != _through_json(given):
                raise ValueError(f"{name} of a row must be plain JSON, got {short(given)}")
        if self.network_options and self.network is None:
            raise ValueError(f"network_options need a network, got {dict(self.network_options)}")
        object.__setattr__(self, "set", check_overrides(self.set))
        for name in ("method", "network"):  # a frozen dataclass lets itself be written no other way
            value = getattr(self, name)
            if not isinstance(value, str | None) and not hasattr(value, "__qualname__"):
                raise TypeError(f"{name} of a row must be a name or a class, got {short(value)}")
            object.__setattr__(self, name, _stored(value))

    @property
    def changes(self) -> str:
        """What the row sets for itself, in one line that stands beside it in tables; may be ""."""
        network = {} if self.network is None else {"network": self.network}
        changed = {**self.set, **network, **self.network_options}
        return " ".join(f"{key}={_short(value)}" for key, value in changed.items())

    @property
    def rules(self) -> str:
        """Its rules with all arguments and normalizer, as these decide much; "" of a plain row.

        >>> from buarl.regions import crl
        >>> print(Experiment(unlabeled_rule=crl(99)).rules)
        unlabeled crl(percentile=99, uncertain_weight=0.5, certain_weight=1.0, scope=batch) per
        voxel
        """
        found = []
        for term in ("labeled", "unlabeled"):
            said = getattr(self, f"{term}_rule").as_dict()
            if (name := said.pop("name")) != "whole":
                given = ", ".join(f"{key}={value}" for key, value in said.items())
                found.append(f"{term} {name}({given}) per {getattr(self, f'{term}_reduction')}")
        return ", ".join(found)

    def as_dict(self) -> dict[str, Any]:
        """Plain types for JSON. What a row does not set has no key."""
        row = {column.name: getattr(self, column.name) for column in fields(self)}
        for key in ("labeled_rule", "unlabeled_rule"):
            row[key] = row[key].as_dict()
        for key in ("options", "set", "network_options"):
            row[key] = dict(row[key])
        return {key: value for key, value in row.items() if value or key not in _ONLY_IF_GIVEN}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any], code: Code = ()) -> Experiment:
        """The row back from JSON.

        Args:
            row: As `as_dict` returns it.
            code: Rules from outside the package that may be used, see `buarl.outside`.
        Raises:
            ValueError: a rule from outside that `code` does not name, or a key no row has.
        """
        known = [column.name for column in fields(cls)]
        if unknown := sorted(set(row) - set(known)):
            raise ValueError(f"a row has the keys {known}, got {unknown}")
        allowed = loaded(code)
        given = [key for key in ("labeled_rule", "unlabeled_rule") if key in row]
        require_code({key: rule_name(row[key]) for key in given}, allowed)
        rules = {key: rule_from_dict(row[key], allowed) for key in given}
        return cls(**{**row, **rules})


def rule_name(data: object) -> object:
    """The name of a rule in JSON, if that is what it is."""
    return data.get("name") if isinstance(data, Mapping) else None


def _stored(name: str | Callable[..., Any] | None) -> str | None:
    """The name under which a row keeps code; names of the package stay as they are."""
    if name is None or (isinstance(name, str) and not is_outside(name)):
        return name
    ours = [known for known, kind in METHODS.items() if kind is name]
    return ours[0] if ours else code_name(name)


def _through_json(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError, RecursionError):  # keys that are no text, a nest without end
        return None


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
