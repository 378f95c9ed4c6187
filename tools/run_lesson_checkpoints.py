"""Score the supervised row of the lessons while it trains: the data of lesson 09's last section.

python tools/run_lesson_checkpoints.py       writes buarl/lessons/checkpoints.json, some minutes
"""

from __future__ import annotations

import sys

import torch

from buarl.evaluation.evaluate import evaluate
from buarl.evaluation.scores import summary
from buarl.lessons.rows import lesson_row, lesson_source
from buarl.lessons.study import CHECKPOINTS
from buarl.training.checkpoint import write_json
from buarl.training.config import build_method, config_for
from buarl.training.loop import fit

ROW, SEEDS, FIRST, EVERY, PATIENTS = "supervised", range(1337, 1342), 300, 75, 6


def dice_by_patient(source, config, network, patients) -> list[float]:
    cases = [case for case in source.cases("val") if source.patient(case) in patients]
    rows = evaluate(network, source, "val", config, cases=cases)
    return [
        round(summary([r for r in rows if source.patient(r["case"]) == p])["dice"], 4)
        for p in patients
    ]


def run(seed: int) -> dict:
    source = lesson_source()
    row = lesson_row(ROW, source, seed)
    config = config_for(row)
    patients = list(dict.fromkeys(map(source.patient, source.cases("val"))))[:PATIENTS]
    found: dict[str, list] = {"steps": [], "dice": []}

    def look(stage, step, method) -> None:
        done = step.index + 1
        if done >= FIRST and done % EVERY == 0:
            found["steps"].append(done)
            found["dice"].append(dice_by_patient(source, config, method.student, patients))
            method.train()  # scoring left the network in evaluation mode

    fit(build_method(row, source.num_classes), source, config, callback=look)
    print(f"seed {seed}: {found['dice'][-1]}", flush=True)
    return {"seed": seed, "patients": patients, **found}


def main() -> int:
    torch.set_num_threads(1)
    source = lesson_source()
    write_json(
        CHECKPOINTS,
        {
            "command": "python tools/run_lesson_checkpoints.py",
            "row": ROW,
            "source": source.name,
            "preset": lesson_row(ROW, source).preset,
            "score": "mean Dice of a patient's validation volumes and classes, student, in 3-D",
            "runs": [run(seed) for seed in SEEDS],
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
