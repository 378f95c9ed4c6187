"""Keep what a run on the road to 0.85 said: `python -m tools.road_entry RUN FILE.json`.

The run may have been stopped. Kept are its row, its numbers, where it ran, the curve on the
validation volumes, and the mean of every table of scores that `buarl evaluate` wrote.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from buarl.capsule import read_capsule
from buarl.evaluation.scores import summary
from buarl.training.checkpoint import write_json

KEPT = ("finished", "experiment", "config", "pretrained", "environment", "started", "selection")


def road_entry(folder: Path) -> dict[str, Any]:
    """Everything that is kept of a run."""
    run = read_capsule(folder, unfinished=True)
    kept = {key: run.run[key] for key in KEPT if key in run.run}
    scores = {f"metrics_{name}": summary(rows) for name, rows in run.metrics.items()}
    curve = [{key: row[key] for key in ("stage", "step", "dice")} for row in run.validation]
    return {**kept, "seconds": run.run.get("seconds"), "scores": scores, "curve": curve}


def main() -> None:
    run, out = map(Path, sys.argv[1:])
    write_json(out, road_entry(run))


if __name__ == "__main__":
    main()
