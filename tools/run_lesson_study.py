"""Train every row of the lessons' study with several seeds, and keep what came out as data.

    make lesson-study

The file is written after every run, and what stands in it is not run again unless row or preset
have changed. So the command may be stopped and started again at any time. `--again` also repeats
runs that an earlier version of the code made. One run takes one to three minutes on one thread.
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
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment, config_for
from buarl.training.run import environment, read_run

FIRST_SEED = 1337
COMMAND = "make lesson-study"
DECISIVE = ("source", "labeled", "preset", "image_size", "width", "steps", "split", "images")


def main() -> None:
    """Run what is missing, seed by seed, so that complete seeds come first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many, 1337 first")
    parser.add_argument("--rows", nargs="+", choices=STUDY_ROWS, default=list(STUDY_ROWS))
    parser.add_argument("--again", action="store_true", help="repeat runs of earlier code")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    source = open_source(LESSON_SOURCE)
    runs = known_runs(head(source))
    for seed in range(FIRST_SEED, FIRST_SEED + chosen.seeds):
        for name in chosen.rows:
            made_by = fingerprint(lesson_row(name, source, seed), source)
            known = runs.get((name, seed))
            if known and not (chosen.again and known["fingerprint"] != made_by):
                continue
            runs[name, seed] = {"row": name, "seed": seed, **run(name, seed, source)}
            order = {row: place for place, row in enumerate(STUDY_ROWS)}
            ordered = sorted(runs.values(), key=lambda each: (order[each["row"]], each["seed"]))
            write_json(study.FILE, {**head(source), "runs": ordered})


def known_runs(now: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Runs of the file whose numbers are still those of row and preset."""
    if not study.FILE.is_file():
        return {}
    then = json.loads(study.FILE.read_text("utf-8"))
    if any(then[key] != now[key] for key in DECISIVE):
        return {}
    runs = [run for run in then["runs"] if then["rows"][run["row"]] == now["rows"][run["row"]]]
    return {(run["row"], run["seed"]): run for run in runs}


def run(name: str, seed: int, source: Source) -> dict[str, Any]:
    """Train one row with one seed, unless the cache has it, and score it."""
    row = lesson_row(name, source, seed)
    method, made_by = trained_here(row, source), fingerprint(row, source)
    seconds = sum(read_run(cache_root() / "trained" / made_by)["seconds"].values())
    found = {"fingerprint": made_by, "seconds": round(seconds), **scored(method, row, source)}
    dice = np.mean([value for value in found["dice"]["student"].values() if value is not None])
    print(f"{seed} {name}: Dice {dice:.3f}, {seconds:.0f} s", flush=True)
    return found


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


def head(source: Source) -> dict[str, Any]:
    """How the study is made."""
    row = lesson_row("supervised", source)
    config = config_for(row)
    return {
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
        "rows": {name: lesson_row(name, source).as_dict() for name in STUDY_ROWS},
    }


if __name__ == "__main__":
    main()
