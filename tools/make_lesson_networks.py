"""Train the networks that come with the package, and write them with their figures of merit.

    make lesson-networks

What the cache has under the same fingerprint is not trained again, so the command may be stopped
and started again. On one quiet thread all of it takes about ten minutes.
"""

from __future__ import annotations

import argparse
from hashlib import sha256
from typing import Any

import torch

from buarl.data.cache import cache_root
from buarl.data.source import Source, open_source
from buarl.lessons.merit import dice_by_class, errors_on_unlabeled, networks_of
from buarl.lessons.moments import Recorder, recorded, to_bytes
from buarl.lessons.rows import LESSON_ROWS, LESSON_SOURCE, lesson_row
from buarl.lessons.shipped import FOLDER, INDEX, checked, fill, index, numbers, packed
from buarl.lessons.trained import after_stage_here, fingerprint, trained_here
from buarl.methods import Method
from buarl.training.checkpoint import write_atomic, write_json
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.run import environment, read_run

COMMAND = "make lesson-networks"
SNAPSHOTS = "BCP + URL + CRL"


def main() -> None:
    """Write every network, the snapshots of one training, and the index after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=LESSON_ROWS, default=list(LESSON_ROWS))
    torch.set_num_threads(1)
    source = open_source(LESSON_SOURCE)
    FOLDER.mkdir(exist_ok=True)
    known = index() if (FOLDER / INDEX).is_file() else {"networks": {}, "snapshots": None}
    networks, snapshots = known["networks"], known["snapshots"]
    for name in parser.parse_args().rows:
        if name == SNAPSHOTS:
            snapshots = recording(source)
        networks[name] = made(name, source)
        head = {
            "command": COMMAND,
            "source": source.name,
            "licence": "MIT, as the package; trained on synthetic hearts only",
            "environment": environment(),
        }
        ordered = {key: networks[key] for key in LESSON_ROWS if key in networks}
        write_json(FOLDER / INDEX, {**head, "networks": ordered, "snapshots": snapshots})
        dice = networks[name]["student"]["dice"]["mean"]
        print(f"{name}: Dice of the student {dice:.3f}", flush=True)
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{size / 1e6:.1f} MB in {FOLDER.name}/")


def recording(source: Source) -> dict[str, Any]:
    """Record the snapshots while their row is trained, or in a second training if it has been."""
    row = lesson_row(SNAPSHOTS, source)
    recorder = Recorder(row, source)
    trained_here(row, source, callback=recorder)
    moments = recorder.moments() if recorder.found["titles"] else recorded(row, source)
    written = kept("snapshots.npz", to_bytes(moments, small=True))
    return {"row": SNAPSHOTS, "numbers": numbers(row, source), **written}


def made(name: str, source: Source) -> dict[str, Any]:
    """Train a row, write its files, and say what is in them."""
    row = lesson_row(name, source)
    method, made_by = trained_here(row, source), fingerprint(row, source)
    run = read_run(cache_root() / "trained" / made_by)
    entry: dict[str, Any] = {
        "seed": row.seed,
        "steps": list(config_for(row).steps),
        "seconds": round(sum(run["seconds"].values())),
        "fingerprint": made_by,
        "numbers": numbers(row, source),
    }
    slug = name.lower().replace(" + ", "_").replace(", ", "_").replace(" ", "_").replace("-", "_")
    entry |= kept(f"{slug}.safetensors", packed(method))
    entry |= merit(read_back(entry, row, source, whole=True), row, source)
    entry["stages"] = {}
    for stage in method.stages()[:-1]:
        early = after_stage_here(row, source, stage.name)
        found = kept(f"{slug}_{stage.name}.safetensors", packed(early, only_student=True))
        student = read_back(found, row, source, whole=False).student
        found["student"] = {"errors": errors_on_unlabeled(student, source, config_for(row))}
        entry["stages"][stage.name] = found
    return entry


def kept(name: str, content: bytes) -> dict[str, str]:
    """Write a file, and say which it is."""
    write_atomic(FOLDER / name, lambda path: path.write_bytes(content))
    return {"file": name, "sha256": sha256(content).hexdigest()}


def read_back(entry: dict, row: Experiment, source: Source, *, whole: bool) -> Method:
    """The method as a reader will get it: through float16."""
    method = build_method(row, source.num_classes)
    fill(method, checked(entry), FOLDER / entry["file"], whole=whole)
    return method


def merit(method: Method, row: Experiment, source: Source) -> dict[str, Any]:
    """Figures of merit of every network of a method."""
    config = config_for(row)
    return {
        title: {
            "dice": dice_by_class(network, source, config),
            "errors": errors_on_unlabeled(network, source, config),
        }
        for title, network in networks_of(method).items()
    }


if __name__ == "__main__":
    main()
