"""Options of `buarl train` whose help lists what there is: methods, rules, data, presets, keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import tyro

from buarl.commands.words import Pairs
from buarl.data.source import source_names
from buarl.methods import METHODS
from buarl.regions import RULES
from buarl.training.config import PRESETS
from buarl.training.overrides import KEYS

ReductionName = Literal["region", "voxel"]
_OWN = "or your own, FOLDER/FILE.py:NAME"


def _named(names: list[str], what: str, own: str = _OWN) -> Any:
    """Help of an option that takes a name from a table."""
    return tyro.conf.arg(metavar="NAME", help=f"{what}: {', '.join(names)}; {own}")


Method = Annotated[str, _named(list(METHODS), "Training method")]
LabeledRule = Annotated[str, _named(list(RULES), "Regions of the labeled term")]
UnlabeledRule = Annotated[str, _named(list(RULES), "Regions of the unlabeled term")]
SourceName = Annotated[str, _named(source_names(), "Data set", "or one that --code registers")]
PresetName = Annotated[
    str,
    _named(
        list(PRESETS),
        "How far the published schedule is shortened",
        "toy takes a minute or two, mini 128x128 or half-resolution volumes, paper all of it",
    ),
]
Record = Annotated[
    bool,
    tyro.conf.arg(
        help="GPU only: repeat steps as a CUDA graph; all methods but "
        + " and ".join(name for name, kind in METHODS.items() if not kind.recordable)
    ),
]
Set = Annotated[
    Pairs, tyro.conf.arg(help=f"Numbers that this row sets for itself, of {', '.join(KEYS)}")
]
