"""The record: how fast a row reaches a Dice, under rules that are written down beforehand.

The rules stand in words in results/speedrun.md. What a program can hold is held here: labeled
patients, validation volumes and seeds are the track's, and what is scored is fixed before the first
step.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from buarl.data.source import Source
from buarl.data.text import read_text
from buarl.evaluation.predict import SendBack
from buarl.evaluation.score import score_run
from buarl.evaluation.scores import summary
from buarl.fast.bf16 import has_native_bf16
from buarl.networks import UNet
from buarl.outside import Code
from buarl.training.checkpoint import write_json
from buarl.training.config import Experiment, build_method
from buarl.training.engine import Precision, choose_engine
from buarl.training.run import environment, read_run, run_experiment

FIRST_SEED = 1337
MOST_P = 0.01
COLUMNS = (
    *("track", "row", "scored", "Dice", "seeds", "p", "reached", "minutes", "machine"),
    *("yardstick", "commit"),
)


@dataclass(frozen=True)
class Track:
    """What a record is about.

    source: Name of the data set; its validation list is scored.
    labeled: Labeled patients, the first of the list.
    target: Mean Dice over cases, then classes, that the mean over seeds must reach.
    seeds: How many on a CPU; a GPU needs twice as many.
    """

    source: str
    labeled: int
    target: float = 0.85
    seeds: int = 5

    def needed(self, device: torch.device) -> int:
        """Seeds of a record on a device."""
        return 2 * self.seeds if device.type == "cuda" else self.seeds


TRACKS = {
    "acdc7": Track("acdc", 7),
    "la8": Track("la", 8),
    "phantom": Track("phantom", 3),  # to try the command; a phantom has no record
}


@dataclass(frozen=True)
class Entry:
    """What is said beforehand: the row, and what of it is scored.

    row: The row; its seed does not matter.
    teacher: Score the teacher instead of the student.
    send_back: See `predict_volume`.
    precision: Of the training.
    """

    row: Experiment
    teacher: bool = False
    send_back: SendBack = "labels"
    precision: Precision | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        row = replace(self.row, seed=FIRST_SEED).as_dict()
        said = {"teacher": self.teacher, "send_back": self.send_back}
        return json.loads(json.dumps({"row": row, **said, "precision": self.precision}))


def run_speedrun(
    track: str,
    entry: Entry,
    source: Source,
    out: Path,
    *,
    seeds: int | None = None,
    device: str = "auto",
    progress: bool = False,
    code: Code = (),
) -> dict[str, str]:
    """Train and score an entry with every seed, or go on where that was left.

    Args:
        track: A name in `TRACKS`.
        entry: What is trained and scored.
        source: The data of the track.
        out: Folder of the runs, one `seed_N` each, and of `speedrun.json`, which holds the entry.
        seeds: Fewer seeds than the track needs, to try; such a line is no record.
        device: See `fit`.
        progress: Show a bar.
        code: See `load_run`.
    Returns:
        A line of the table, by the names in `COLUMNS`.
    Raises:
        ValueError: a track that is unknown or of other data, too many seeds or none, a folder of
            another entry, or a teacher that the method does not have. All before the first step.
    """
    chosen = _checked(track, entry, source, code)
    where = choose_engine(device).device
    needed = chosen.needed(where)
    count = needed if seeds is None else seeds
    if not 1 <= count <= needed:
        raise ValueError(f"seeds must lie in 1 to {needed}, got {count}")
    _say_beforehand(Path(out), {"track": track, **entry.as_dict()})
    measured = yardstick(where)
    dice, minutes = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        folder = Path(out) / f"seed_{seed}"
        how = {"device": device, "precision": entry.precision, "progress": progress, "code": code}
        row, resume = replace(entry.row, seed=seed), (folder / "run.json").is_file()
        run_experiment(row, source, folder, resume=resume, **how)
        said = {"teacher": entry.teacher, "send_back": entry.send_back, "device": device}
        scored = score_run(folder, source.root, **said, code=code)
        dice.append(summary(scored.rows)["dice"])
        minutes.append(sum(read_run(folder)["seconds"].values()) / 60)
    return _line(track, entry, dice, minutes, f"{measured:.2f} s", needed, folder, where)


def p_of_target(dice: Sequence[float], target: float) -> float:
    """Probability of such a mean or a higher one if the true mean were the target, one-sided.

    Args:
        dice: One score for each seed.
        target: What the mean is to reach.
    Returns:
        From Student's t; 1 where there are fewer than two scores.

    >>> round(p_of_target([0.86, 0.87, 0.88], 0.85), 3)
    0.037
    """
    if len(dice) < 2:
        return 1.0
    if statistics.stdev(dice) == 0:
        return float(statistics.mean(dice) < target)
    return float(stats.ttest_1samp(dice, target, alternative="greater").pvalue)


def yardstick(device: torch.device, size: int = 128, repeats: int = 5) -> float:
    """Median time of a plain step, so that machines can be compared.

    Args:
        device: Where to compute.
        size: Rows and columns of the images.
        repeats: How often, after one that is not counted.
    Returns:
        Seconds of one forward and backward pass of the paper's U-Net in fp32, 12 images.
    """
    network, image = UNet(4).to(device), torch.zeros(12, 1, size, size, device=device)
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        network(image).square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _checked(track: str, entry: Entry, source: Source, code: Code) -> Track:
    if track not in TRACKS:
        raise ValueError(f"track must be one of {sorted(TRACKS)}, got {track!r}")
    chosen = TRACKS[track]
    rule = {"source": chosen.source, "labeled": chosen.labeled}
    found = {"source": entry.row.source, "labeled": entry.row.labeled}
    if found != rule or source.name != chosen.source:
        raise ValueError(f"a row on track {track} must have {rule}, got {found}")
    if source.rank == 3 and entry.send_back != "labels":
        raise ValueError(f"send_back of volumes must be labels, got {entry.send_back!r}")
    method = build_method(entry.row, source.num_classes, code)  # what a row lacks is said now
    if entry.teacher and not hasattr(method, "teacher"):
        raise ValueError(f"method {entry.row.method} has no teacher to score")
    return chosen


def _say_beforehand(out: Path, entry: dict[str, Any]) -> None:
    """Write the entry before the first step, or compare it with what was written then."""
    path = out / "speedrun.json"
    if path.is_file():
        then = json.loads(read_text(path))
        for key, value in entry.items():
            if then.get(key) != value:
                raise ValueError(f"{path}: {key} was {then.get(key)}, now it is {value}")
        return
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out}: must be a new folder, or that of an earlier speedrun")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, entry)


def _line(
    track: str,
    entry: Entry,
    dice: Sequence[float],
    minutes: Sequence[float],
    measured: str,
    needed: int,
    folder: Path,
    device: torch.device,
) -> dict[str, str]:
    p, here, row = (
        p_of_target(dice, TRACKS[track].target),
        read_run(folder)["environment"],
        entry.row,
    )
    enough = len(dice) == needed and p < MOST_P
    spread = f" ± {statistics.stdev(dice):.3f}" if len(dice) > 1 else ""
    rules = [rule.name for rule in (row.labeled_rule, row.unlabeled_rule) if rule.name != "whole"]
    options = " ".join(f"{key}={value}" for key, value in row.options.items())
    words = [row.method, *rules, row.preset, row.changes, options, here["precision"]]
    bf16 = ", native bf16" if has_native_bf16(device) else ""
    machine = here["gpu"] or f"{here['machine']}{bf16}, {environment()['threads']} threads"
    return {
        "track": track,
        "row": " ".join(word for word in words if word),
        "scored": f"{'teacher' if entry.teacher else 'student'}, {entry.send_back}",
        "Dice": f"{statistics.mean(dice):.3f}{spread}",
        "seeds": f"{len(dice)} of {needed}",
        "p": f"{p:.3g}",
        "reached": f"{'yes' if enough else 'no'}, {TRACKS[track].target}",
        "minutes": f"{statistics.mean(minutes):.1f} ({min(minutes):.1f} - {max(minutes):.1f})",
        "machine": machine,
        "yardstick": measured,
        "commit": here["commit"],
    }
