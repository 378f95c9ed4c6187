"""Text and JSON files that are not of a run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

from buarl.data.h5 import read_list
from buarl.data.source import open_source
from buarl.evaluation.scores import SCORES, read_metrics
from buarl.files.convert_acdc import find_frames
from buarl.results.ledger import read_ledger

from .judge import Input
from .mutate import spoil_json, spoil_text

CASES = [f"p{k}_frame01" for k in range(1, 6)]
DATASET = {
    "rank": 2,
    "class_names": ["background", "RV", "MYO", "LV"],
    "normalisation": "minmax",
    "seed": 1,
    "label_values": [0, 1, 2, 3],
    "cases": {c: {"patient": c[:2], "labeled": c != "p3_frame01", "slices": 3} for c in CASES},
}
LISTS = {"train": CASES[:3], "val": CASES[3:4], "test": CASES[4:]}


def lists(folder: Path, rng: Random) -> Input:
    """`read_list`: a name is a name, so another one cannot be known as such."""
    path = folder / "train.list"
    spoiled, what = spoil_text("\n".join(CASES) + "\n", rng)
    path.write_bytes(spoiled)

    def rule(found: dict[str, Any]) -> str | None:
        bad = [n for n in found["names"] if not n or ".." in n or set(n) & set("/\\:\0\n\r")]
        return f"names {bad}" if bad or len(set(found["names"])) < len(found["names"]) else None

    return Input(
        what, lambda: {"names": read_list(path)}, {"names": CASES}, [str(path)], None, rule, folder
    )


def dataset(folder: Path, rng: Random) -> Input:
    """A folder of one's own data: dataset.json or one of its lists is spoiled."""
    folder.joinpath("dataset.json").write_text(json.dumps(DATASET))
    for split, names in LISTS.items():
        folder.joinpath(f"{split}.list").write_text("\n".join(names) + "\n")
    split = rng.choice((None, None, None, *LISTS))
    if split is None:
        spoiled, what = spoil_json(DATASET, rng)
        folder.joinpath("dataset.json").write_bytes(spoiled)
    else:
        spoiled, what = spoil_text("\n".join(LISTS[split]) + "\n", rng)
        folder.joinpath(f"{split}.list").write_bytes(spoiled)

    def read() -> dict[str, Any]:
        source = open_source("own", folder)
        labeled, unlabeled = source.split_labeled(None)
        return {
            **{"rank": source.rank, "classes": source.class_names},
            **{"normalisation": source.normalisation, "labeled": labeled, "unlabeled": unlabeled},
            **{split: source.listed(split) for split in LISTS},
            "patients": [source.patient(name) for name in source.training_names()],
        }

    slices = [f"{c}_slice_{k}" for c in CASES[:3] for k in (1, 2, 3)]
    right = {
        "rank": 2,
        "classes": tuple(DATASET["class_names"]),
        "normalisation": "minmax",
        "labeled": slices[:6],
        "unlabeled": slices[6:],
        **LISTS,
        "patients": [s[:2] for s in slices],
    }

    def rule(found: dict[str, Any]) -> str | None:
        if found["rank"] not in (2, 3) or len(found["classes"]) < 2:
            return f"rank {found['rank']}, classes {found['classes']}"
        if not all(isinstance(p, str) for p in found["patients"]):
            return f"patients {found['patients']}"
        return "a sample stands twice" if set(found["labeled"]) & set(found["unlabeled"]) else None

    return Input(
        f"{split or 'dataset.json'}: {what}", read, right, [str(folder)], None, rule, folder
    )


def info(folder: Path, rng: Random) -> Input:
    """Info.cfg of a patient of ACDC."""
    patient = folder / "patient001"
    patient.mkdir(exist_ok=True)
    for number in (1, 12):
        for end in ("", "_gt"):
            (patient / f"patient001_frame{number:02d}{end}.nii.gz").touch()
    spoiled, what = spoil_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\n", rng)
    (patient / "Info.cfg").write_bytes(spoiled)
    names = [f"patient001_frame{n:02d}" for n in (1, 12)]
    right = {f"patient001_frame0{k + 1}": n for k, n in enumerate(names)}

    def read() -> dict[str, Any]:
        frames = find_frames(folder)
        return {case: pair[0].name.split(".")[0] for case, pair in frames.items()}

    return Input(what, read, right, [str(folder)], frozenset(), folder=folder)


def metrics(folder: Path, rng: Random) -> Input:
    """A table of scores; a digit of it can become another one."""
    head = "# MedPy 0.5.2 definitions\n# split val\n"
    head += "case,class,dice,jaccard,hd95,asd,missed\n"
    scores = {1: "0.4,0.25,1.25,1e-01,0", 2: "0,0,9.5,1e-02,1"}  # found, and missed
    rows = [f"{case},{k},{text}" for case in CASES[:2] for k, text in scores.items()]
    path = folder / "metrics_val.csv"
    path.write_text(head + "\n".join(rows) + "\n")
    right = {"rows": read_metrics(path)}
    spoiled, what = spoil_text(head + "\n".join(rows) + "\n", rng)
    path.write_bytes(spoiled)

    def rule(found: dict[str, Any]) -> str | None:
        for row in found["rows"]:
            if None in row or None in row.values():
                return f"a row of another length: {row}"
            for score in SCORES:
                top = 1 if score in ("dice", "jaccard") else math.inf
                if not (math.isnan(row[score]) or 0 <= row[score] <= top) or row[score] == math.inf:
                    return f"{score} = {row[score]}"
            if not isinstance(row["missed"], bool):
                return f"missed {row['missed']}"
        return None if found["rows"] else "no row, no error"

    return Input(what, lambda: {"rows": read_metrics(path)}, right, [str(path)], None, rule, folder)


def ledger(folder: Path, rng: Random) -> Input:
    """An entry of results/."""
    source = Path(__file__).parents[2] / "results"
    entry = json.loads(sorted(source.glob("*.json"))[0].read_text(encoding="utf-8"))
    entry["cases"] = entry["cases"][:2]
    spoiled, what = spoil_json(entry, rng)
    (folder / "a.json").write_bytes(spoiled)

    def rule(found: dict[str, Any]) -> str | None:
        return None if all(key in found for key in ("experiment", "summary")) else "keys are gone"

    return Input(
        what,
        lambda: read_ledger(folder)[0],
        {"name": "a", **entry},
        [str(folder)],
        None,
        rule,
        folder,
    )
