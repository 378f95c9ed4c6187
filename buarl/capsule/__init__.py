"""What lies in a run folder, and how to read it: a capsule, complete without its checkpoints.

These four files need numpy only and import nothing of buarl, so they read runs where torch is not
installed, or while nobody wants to wait for it. There, take this folder by its path:

    import sys
    sys.path.append("buarl")  # the folder that holds the folder capsule
    import capsule
    good, faults = capsule.read_capsules(["runs/a", "runs/b"])

| file | what it holds |
| --- | --- |
| `run.json` | row, seed, numbers, classes, selection rule, environment, seconds of each stage |
| `ids.csv` | role (labeled, unlabeled, validation), patient, name: who was used for what |
| `history.csv` | stage, step, lr and losses, one row for every 10 steps |
| `validation.csv` | Dice of the student by stage and step, where a run was asked to validate |
| `validation_cases.csv` | the same of every volume, by `buarl plan` and `train --validate` |
| `premise.csv` | voxels and errors by percentile of the entropy, class, on the border or inside |
| `calibration.csv` | confidence and accuracy on validation images, before and after a temperature |
| `slices.npz` | four unlabeled slices: image, label, entropy and pseudo-label at several steps |
| `metrics_SPLIT.csv` | metric definition, and scores of every case and class, after `evaluate` |
| `*.pt` | checkpoints, which are no part of the capsule |

When a run ends, `run.json` lists the SHA-256 of the other files, and the notes of `metrics_*.csv`
name the run, so a file that was damaged, or that belongs to another run, is found.
"""

from .parts import (
    CALIBRATION,
    CASES,
    HISTORY,
    IDS,
    PREMISE,
    ROLES,
    RUN,
    SLICES,
    VALIDATION,
    VERSION,
    Capsule,
    CapsuleError,
    Rows,
    Slices,
    digests,
    fingerprint,
    run_tag,
)
from .read import find_capsules, read_capsule, read_capsules, read_role, read_slices, read_table

__all__ = [
    "CALIBRATION",
    "CASES",
    "HISTORY",
    "IDS",
    "PREMISE",
    "ROLES",
    "RUN",
    "SLICES",
    "VALIDATION",
    "VERSION",
    "Capsule",
    "CapsuleError",
    "Rows",
    "Slices",
    "digests",
    "find_capsules",
    "fingerprint",
    "read_capsule",
    "read_capsules",
    "read_role",
    "read_slices",
    "read_table",
    "run_tag",
]
