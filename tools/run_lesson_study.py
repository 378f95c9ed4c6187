"""Train every row of the lessons' study with several seeds, and keep what came out as data.

    make lesson-study

A run that is finished is never trained again: its network is kept in the cache under a fingerprint
of everything that decided it, and its scores stand in the files, which are written after every run.
So the command may be stopped and started again at any time. One run takes one to three minutes on
one thread.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch

from buarl.data.cache import cache_root
from buarl.data.source import Source, open_source
from buarl.figures.views import unlabeled_views
from buarl.lessons import study
from buarl.lessons.merit import IMAGES, dice_of_cases, networks_of, wrong_share
from buarl.lessons.rows import LESSON_SOURCE, STUDY_ROWS, lesson_row
from buarl.lessons.trained import after_stage_here, fingerprint, trained_here
from buarl.methods import Method
from buarl.training.checkpoint import write_atomic
from buarl.training.config import Experiment, config_for
from buarl.training.run import environment, read_run

FIRST_SEED = 1337
COMMAND = "make lesson-study"


def main() -> None:
    """Run what is missing, seed by seed, so that complete seeds come first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many, 1337 first")
    parser.add_argument("--rows", nargs="+", choices=STUDY_ROWS, default=list(STUDY_ROWS))
    chosen = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + chosen.seeds)
    torch.set_num_threads(1)
    source = open_source(LESSON_SOURCE)
    kept = json.loads(study.FILE.read_text("utf-8")) if study.FILE.is_file() else {"runs": []}
    for seed in seeds:
        for name in chosen.rows:
            row = lesson_row(name, source, seed)
            made_by = fingerprint(row, source)
            known = [run for run in kept["runs"] if (run["row"], run["seed"]) == (name, seed)]
            if known and known[0]["fingerprint"] == made_by:
                continue
            method = trained_here(row, source)
            seconds = sum(read_run(cache_root() / "trained" / made_by)["seconds"].values())
            found = {"row": name, "seed": seed, "fingerprint": made_by, "seconds": round(seconds)}
            found |= scored(method, row, source)
            kept["runs"] = [run for run in kept["runs"] if run not in known] + [found]
            write(kept, source)
            dice = np.nanmean([v for v in found["dice"]["student"].values() if v is not None])
            print(f"{seed} {name}: Dice {dice:.3f}, {seconds:.0f} s", flush=True)


def scored(method: Method, row: Experiment, source: Source) -> dict[str, Any]:
    """Dice of every validation volume and class, and the wrong pixels at the end of each stage."""
    config, views = config_for(row), unlabeled_views(source, config_for(row), IMAGES)
    dice = {
        title: dice_of_cases(network, source, config)
        for title, network in networks_of(method).items()
    }
    stages = [stage.name for stage in method.stages()]
    students = {"end": method.student}
    students |= {name: after_stage_here(row, source, name).student for name in stages[:-1]}
    wrong = {name: wrong_share(student, *views) for name, student in students.items()}
    return {"dice": dice, "wrong": wrong}


def write(kept: dict, source: Source) -> None:
    """All runs so far; rows in the order of the study."""
    order = list(STUDY_ROWS)
    runs = sorted(kept["runs"], key=lambda run: (order.index(run["row"]), run["seed"]))
    row = lesson_row("supervised", source)
    config = config_for(row)
    head = {
        "command": COMMAND,
        "source": source.name,
        "labeled": row.labeled,
        "preset": row.preset,
        "image_size": list(config.image_size),
        "width": config.width,
        "steps": sum(config.steps),
        "checkpoint": "last",
        "split": "val",
        "images": IMAGES,
        "environment": environment(),
        "rows": {name: lesson_row(name, source).as_dict() for name in order},
    }
    text = json.dumps({**head, "runs": runs}, indent=1) + "\n"
    write_atomic(study.FILE, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
