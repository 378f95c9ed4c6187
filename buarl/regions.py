"""Which voxels weigh how much? URL and CRL (Eq. 5 and 6), their controls, and two soft rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import ClassVar, final

import torch
from torch import Tensor

from buarl.arguments import check_choice, check_number, plain_number, short
from buarl.controls import BorderRegion, Level, RandomRegion, border_region, level, random_region
from buarl.entropy import Scope, entropy_of_probs, uncertain_mask
from buarl.outside import Code, find_code, is_outside
from buarl.rule import Region, Rule, within

__all__ = [
    "RULES",
    "Confidence",
    "PercentileRule",
    "Region",
    "Rule",
    "SoftCertainty",
    "confidence",
    "crl",
    "drop",
    "rule_from_dict",
    "soft_certainty",
    "url",
    "whole",
    "within",
]


WEIGHTS = {"whole": (1.0, 1.0), "url": (1.0, 0.5), "crl": (0.5, 1.0), "drop": (0.0, 1.0)}
"""Of the uncertain and of the certain voxels, by the name of a rule, where nobody says."""
PERCENTILE_RULES = tuple(WEIGHTS)


@final
@dataclass(frozen=True)
class PercentileRule(Rule):
    """The paper's cut: uncertain voxels lie above a percentile of the entropy (uses Eq. 3 and 4).

    Args:
        name: "whole", "url", "crl" or "drop"; the functions of these names fill in the rest.
        percentile: q in percent, 0 to 100; None in "whole", which has one region.
        uncertain_weight: Weight of the voxels above the percentile, >= 0; None takes that of the
            function of this name. "whole" has no other than 1.
        certain_weight: Weight of the others, >= 0; as above.
        scope: "batch": one percentile over all voxels of a batch; "image": one per image.
    Raises:
        TypeError: an argument of another type.
        ValueError: an argument out of its range; the message names rule, argument and value.

    >>> PercentileRule("url", 95, certain_weight=0.5) == url(95, alpha=0.5)
    True
    """

    name: str
    percentile: float | None = None
    uncertain_weight: float | None = None
    certain_weight: float | None = None
    scope: Scope = "batch"

    def __post_init__(self) -> None:
        check_choice("name of a percentile rule", self.name, PERCENTILE_RULES)
        if self.name == "whole" and self.percentile is not None:
            raise ValueError(f"whole: takes no percentile, got {self.percentile!s:.80}")
        if self.name != "whole":
            percentile = plain_number(
                check_number(f"{self.name}: percentile", self.percentile, 0, 100)
            )
            object.__setattr__(self, "percentile", percentile)  # frozen; JSON wants a plain number
            if 0 < self.percentile < 1:
                raise ValueError(
                    f"{self.name}: percentile is in percent and marks nearly everything below 1; "
                    f"did you mean {100 * self.percentile:g}, got {self.percentile}"
                )
        check_choice(f"{self.name}: scope", self.scope, ("batch", "image"))
        names = ("uncertain_weight", "certain_weight")
        for field, usual in zip(names, WEIGHTS[self.name], strict=True):
            given = usual if (value := getattr(self, field)) is None else value
            weight = check_number(f"{self.name}: alpha and weights", given, 0)
            if self.name == "whole" and weight != 1:
                raise ValueError(f"whole: weighs every voxel 1, got {field} {weight}")
            object.__setattr__(self, field, weight)

    def cut(self, probs: Tensor) -> list[Region]:
        """One region with everything, or two: the uncertain one and the certain one."""
        if self.percentile is None:
            return [Region(_everywhere(probs), 1.0)]
        entropy = entropy_of_probs(probs)  # (B, *spatial)
        uncertain = uncertain_mask(entropy, self.percentile, self.scope)  # (B, *spatial)
        return [
            Region(uncertain, self.uncertain_weight),
            Region(~uncertain, self.certain_weight),
        ]


def whole() -> Rule:
    """One region with every voxel and weight 1: the plain method, the control of the others.

    >>> whole()(torch.tensor([[[0.6, 0.9], [0.4, 0.1]]]))
    [Region(mask=tensor([[True, True]]), weight=1.0)]
    """
    return PercentileRule("whole")


def url(percentile: float = 95, alpha: float = 0.5, scope: Scope = "batch") -> Rule:
    """Uncertainty-aware region learning, the paper's rule for labeled images (Eq. 5).

    Eq. 5  printed:  Y_c = Y * (1 - M),  Y_uc = Y * M
           read:     the uncertain region is M, with weight 1;
                     the certain region is 1 - M, with weight alpha (uses Eq. 7)

    Paper note: the product would turn every label outside the mask into background. M selects
    voxels here, and labels stay as they are.

    Args:
        percentile: q in percent, 0 to 100; the paper takes 95.
        alpha: Weight of the certain voxels, >= 0; the paper takes 0.5.
        scope: "batch" or "image", see `uncertain_mask`.
    Raises:
        ValueError: an argument out of its range.

    >>> probs = torch.tensor([[[0.6, 0.9], [0.4, 0.1]]])  # two voxels, the first less certain
    >>> [(region.mask.tolist(), region.weight) for region in url(50)(probs)]
    [([[True, False]], 1.0), ([[False, True]], 0.5)]
    """
    return PercentileRule(  # Eq. 5
        "url", percentile, uncertain_weight=1.0, certain_weight=alpha, scope=scope
    )


def crl(percentile: float = 99, alpha: float = 0.5, scope: Scope = "batch") -> Rule:
    """Certainty-aware region learning, the paper's rule for unlabeled images (Eq. 6).

    Eq. 6  printed:  Y_c = Y^l * (1 - M'),  Y_uc = Y^l * M'
           read:     the certain region is 1 - M', with weight 1;
                     the uncertain region is M', with weight alpha (uses Eq. 8)

    Paper note: the print has the label Y^l where the pseudo-label Y^u is meant; for the product see
    `url`.

    Args:
        percentile: q in percent, 0 to 100; the paper takes 99 on ACDC and 95 on LA.
        alpha: Weight of the uncertain voxels, >= 0; the paper takes 0.5.
        scope: "batch" or "image", see `uncertain_mask`.
    Raises:
        ValueError: an argument out of its range.

    >>> probs = torch.tensor([[[0.6, 0.9], [0.4, 0.1]]])  # two voxels, the first less certain
    >>> [(region.mask.tolist(), region.weight) for region in crl(50)(probs)]
    [([[True, False]], 0.5), ([[False, True]], 1.0)]
    """
    return PercentileRule(  # Eq. 6
        "crl", percentile, uncertain_weight=alpha, certain_weight=1.0, scope=scope
    )


def drop(percentile: float = 99, scope: Scope = "batch") -> Rule:
    """CRL with alpha = 0: uncertain voxels leave the loss (the paper's Table 6, "remove").

    Args:
        percentile: q in percent, 0 to 100.
        scope: "batch" or "image", see `uncertain_mask`.
    Raises:
        ValueError: an argument out of its range.

    >>> probs = torch.tensor([[[0.6, 0.9], [0.4, 0.1]]])
    >>> [region.weight for region in drop(50)(probs)]
    [0.0, 1.0]
    """
    return PercentileRule("drop", percentile, uncertain_weight=0.0, certain_weight=1.0, scope=scope)


@dataclass(frozen=True)
class SoftCertainty(Rule):
    """A soft cut: every voxel weighs exp(-H), from 1 where the network is sure down to 1/C.

    Not in the paper: the idea of CRL without a threshold. H is the entropy of Eq. 3, in nats. Made
    by `soft_certainty()`.

    >>> (region,) = soft_certainty()(torch.tensor([[[1.0, 0.9, 0.5], [0.0, 0.1, 0.5]]]))
    >>> region.weight
    tensor([[1.0000, 0.7225, 0.5000]])
    """

    name: ClassVar[str] = "soft_certainty"

    def cut(self, probs: Tensor) -> list[Region]:
        """One region with every voxel, and a map of weights."""
        return [Region(_everywhere(probs), torch.exp(-entropy_of_probs(probs)))]


@dataclass(frozen=True)
class Confidence(Rule):
    """An absolute cut: voxels whose largest probability reaches a threshold weigh 1, others 0.

    Not in the paper: how FixMatch (Sohn et al., NeurIPS 2020, arXiv:2001.07685) and UniMatch (Yang
    et al., CVPR 2023, arXiv:2208.09910) select pseudo-labels. With the reduction "voxel" the
    cross-entropy is theirs: unsure voxels add nothing and still count in the mean. Made by
    `confidence(threshold)`.

    Args:
        threshold: Smallest probability that counts, 0 to 1; both papers take 0.95.
    Raises:
        ValueError: a threshold outside 0-1.

    >>> probs = torch.tensor([[[0.99, 0.6], [0.01, 0.4]]])
    >>> [(region.mask.tolist(), region.weight) for region in confidence(0.95)(probs)]
    [([[False, True]], 0.0), ([[True, False]], 1.0)]
    """

    threshold: float = 0.95
    name: ClassVar[str] = "confidence"

    def __post_init__(self) -> None:
        threshold = check_number("confidence: threshold", self.threshold, 0, 1)
        object.__setattr__(self, "threshold", threshold)  # frozen; JSON wants a plain number

    def cut(self, probs: Tensor) -> list[Region]:
        """Two regions: the unsure voxels, and the sure ones."""
        sure = probs.max(1).values >= self.threshold  # (B, *spatial)
        return [Region(~sure, 0.0), Region(sure, 1.0)]


soft_certainty, confidence = SoftCertainty, Confidence  # to be called like url() and crl()

RULES: dict[str, Callable[..., Rule]] = {
    "whole": whole,
    "url": url,
    "crl": crl,
    "drop": drop,
    "soft_certainty": soft_certainty,
    "confidence": confidence,
    "level": level,
    "random_region": random_region,
    "border_region": border_region,
}
"""What makes a rule, by the name that stands in rows and on the command line."""


def rule_from_dict(data: Mapping, code: Code = ()) -> Rule:
    """The rule back from what `as_dict` wrote: `rule_from_dict(rule.as_dict()) == rule`.

    A rule from outside the package carries the place of its class, "my_rules.py:Doubtful" or
    "package.module:Doubtful". Such a place is never imported from here: data must not run code.

    Args:
        data: Name and arguments, as read from JSON.
        code: Classes from outside that the caller vouches for (or functions that make a rule), or
            where they lie, see `buarl.outside`.
    Raises:
        ValueError: an unknown name, a class that is not in `code`, or arguments that the rule does
            not have, lacks or refuses; the message says what to name or to mend.

    >>> rule_from_dict({"name": "confidence", "threshold": 0.9})
    Confidence(threshold=0.9)
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a rule is read from a mapping of its arguments, got {short(data)}")
    if not isinstance(said := data.get("name"), str):
        raise ValueError(f"rule must be one of {sorted(RULES)}, got {short(said)}")
    arguments, name = dict(data), data.get("name")
    kind = _kind_of(name, code)
    known = list(signature(kind).parameters)
    if "name" not in known:
        del arguments["name"]
    if unknown := sorted(map(str, set(arguments) - set(known))):
        raise ValueError(f"rule {name!r} has no argument {unknown!s:.200}; it has {known}")
    try:
        return kind(**arguments)
    except TypeError as error:  # an argument that is missing or of another type
        raise ValueError(f"rule {name!r}: {error}") from None


def _kind_of(name: object, code: Code) -> Callable[..., Rule]:
    """What makes a rule, by its name in JSON."""
    if is_outside(name):
        return find_code(name, code, "rule")
    if isinstance(name, str) and name in PERCENTILE_RULES:
        return PercentileRule
    for kind in (SoftCertainty, Confidence, Level, RandomRegion, BorderRegion):
        if isinstance(name, str) and name == kind.name:
            return kind
    raise ValueError(f'rule must be one of {sorted(RULES)} or "file.py:Class", got {name!r}')


def _everywhere(probs: Tensor) -> Tensor:
    """True for every voxel, bool (B, *spatial)."""
    return torch.ones_like(probs[:, 0], dtype=torch.bool)
