"""Keep what a run on the road to 0.85 said: `python -m tools.road_entry RUN FILE.json`.

The run may have been stopped. Kept are its row, its numbers, where it ran, the curve on the
validation volumes, and the mean of every table of scores that `buarl evaluate` wrote.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from buarl.evaluation.scores import read_metrics, summary
from buarl.training.checkpoint import write_json
from buarl.training.run import read_run

KEPT = ("finished", "experiment", "config", "pretrained", "environment", "started", "selection")


def curve_of(run: Path) -> list[dict[str, Any]]:
    """Dice of the student on the validation volumes, by stage and step."""
    lines = (run / "validation.csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [
        {"stage": row["stage"], "step": int(row["step"]), "dice": float(row["dice"])}
        for row in rows
    ]


def road_entry(run: Path) -> dict[str, Any]:
    """Everything that is kept of a run."""
    said = read_run(run)
    scores = {
        path.stem: summary(read_metrics(path)) for path in sorted(run.glob("metrics_val*.csv"))
    }
    kept = {key: said[key] for key in KEPT if key in said}
    return {**kept, "seconds": said.get("seconds"), "scores": scores, "curve": curve_of(run)}


def main() -> None:
    run, out = map(Path, sys.argv[1:])
    write_json(out, road_entry(run))


if __name__ == "__main__":
    main()
