"""Whose volume a case is: volumes of one patient are alike and must stay together."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from buarl.capsule import read_role
from buarl.data.source import SOURCES, Source, open_source
from buarl.training.run import read_run


def patient_of(source: str, case: str) -> str:
    """The patient of a case by its name alone; where the data set tells that by its files, or is
    not registered here, the part before the first "_".

    >>> patient_of("acdc", "patient089_frame01"), patient_of("la", "A_B"), patient_of("own", "p_1")
    ('patient089', 'A_B', 'p')
    """
    return (SOURCES[source] if names_tell(source) else Source).patient(case)


def patients_of_run(folder: Path, cases: Sequence[str]) -> dict[str, str]:
    """The patients of cases of a run: as `ids.csv` says, else its data if they are here, else by
    name.

    Args:
        folder: The run folder.
        cases: Names of volumes.
    """
    run = read_run(folder)
    source = run["experiment"]["source"]
    found = {case: patient_of(source, case) for case in cases}
    if names_tell(source):
        return found
    known = {row["name"]: row["patient"] for row in read_role(folder, "validation")}
    with suppress(ValueError, KeyError):  # moved, or no such case: names must do
        if not known.keys() >= found.keys():
            data = open_source(source, run["data"].get("root"))
            known = {case: data.patient(case) for case in cases} | known
    return found | {case: str(known[case]) for case in cases if case in known}


def names_tell(source: str) -> bool:
    """Whether the names of cases say their patients; of data of your own a file does."""
    kind = SOURCES.get(source)
    return kind is not None and isinstance(inspect.getattr_static(kind, "patient"), staticmethod)
