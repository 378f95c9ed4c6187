"""The record: how fast a row reaches a Dice, under rules that are written down beforehand.

The rules stand in words in results/speedrun.md. What a program can hold is held here: labeled
patients, validation volumes and seeds are the track's, all seeds are of one machine, and what is
scored is fixed before the first step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from buarl.data.source import Source
from buarl.evaluation.score import score_run
from buarl.evaluation.scores import summary
from buarl.fast.bf16 import has_native_bf16
from buarl.networks import UNet
from buarl.outside import Code, code_digests
from buarl.results.speedrun_line import (
    COLUMNS,
    MOST_P,
    Seed,
    check_one_machine,
    line_of,
    p_of_target,
)
from buarl.results.speedrun_rules import (
    FIRST_SEED,
    TRACKS,
    Entry,
    Track,
    said_before,
    say_beforehand,
    track_of,
)
from buarl.training.engine import choose_engine
from buarl.training.environment import (
    Environment,
    environment,
    environments_of,
    kind_of,
    machine_of,
)
from buarl.training.run import read_run, run_experiment
from buarl.training.seconds import seconds_of

MOST_SEEDS = max(track.needed("cuda") for track in TRACKS.values())

__all__ = [
    "COLUMNS",
    "FIRST_SEED",
    "MOST_P",
    "TRACKS",
    "Entry",
    "Track",
    "p_of_target",
    "run_speedrun",
    "yardstick",
]


def run_speedrun(
    track: str,
    entry: Entry,
    source: Source,
    out: Path,
    *,
    seeds: int | None = None,
    device: str = "auto",
    record: bool = False,
    progress: bool = False,
    code: Code = (),
    train: Callable[..., Any] = run_experiment,
) -> dict[str, str]:
    """Train and score an entry with every seed, or go on where that was left.

    Args:
        track: A name in `TRACKS`.
        entry: What is trained and scored.
        source: The data of the track.
        out: Folder of the runs, one `seed_N` each, and of `speedrun.json`, which holds the entry
            and the yardstick of the machine.
        seeds: Fewer seeds than the track needs, to try; such a line is no record.
        device: See `fit`.
        record: See `fit`; capturing the graph counts as training.
        progress: Show a bar.
        code: See `load_run`.
        train: Called for every seed as `run_experiment` is.
    Returns:
        A line of the table, by the names in `COLUMNS`.
    Raises:
        ValueError: a track that is unknown or of other data or lists, other labeled patients, too
            many seeds or none, a folder of another entry, of other code or of another machine, a
            seed that began from another run or had several devices, or a teacher that the method
            does not have. All before the first step.
    """
    out, chosen = Path(out), track_of(track, entry, source, code)
    source.split_labeled(entry.row.labeled)  # too many are told before anything is written
    where = choose_engine(device).device
    here = environment() | {"device": str(where)}
    folders = {seed: out / f"seed_{seed}" for seed in range(FIRST_SEED, FIRST_SEED + MOST_SEEDS)}
    begun = {seed: read_run(f) for seed, f in folders.items() if (f / "run.json").is_file()}
    kinds = [kind_of(run["environment"]) for run in begun.values()]
    _check_seeds(begun, folders)
    needed = chosen.needed((kinds or [kind_of(here)])[0])
    count = needed if seeds is None else seeds
    if not 1 <= count <= needed:
        raise ValueError(f"seeds must lie in 1 to {needed}, got {count}")
    wanted = dict(list(folders.items())[:count])
    said = {"track": track, **entry.as_dict(), **({"code": code_digests(code)} if code else {})}
    said_before(out, said)
    check_one_machine(out, _where_trained(wanted, begun, here))
    measured = say_beforehand(out, said, lambda: _measured(where, here))
    how = {"device": device, "record": record, "progress": progress, "code": code}
    how |= {"precision": entry.precision}
    found = []
    for seed, folder in wanted.items():
        row, resume = replace(entry.row, seed=seed), (folder / "run.json").is_file()
        train(row, source, folder, resume=resume, **how)
        found.append(_scored(entry, folder, source.root, device, code))
    return line_of(track, entry, found, measured)


def _check_seeds(begun: Mapping[int, Mapping[str, Any]], folders: Mapping[int, Path]) -> None:
    """Refuse what a seed may not be, which `buarl train` or `buarl plan` may have made it."""
    for seed, run in begun.items():
        if "pretrained" in run:
            raise ValueError(f"{folders[seed]}: its first stage is another run's; train it here")
        if (count := max(each.get("devices", 1) for each in environments_of(run))) > 1:
            raise ValueError(f"{folders[seed]}: was trained on {count} devices; a record is of one")


def _where_trained(
    wanted: Iterable[int], begun: Mapping[int, Mapping[str, Any]], here: Environment
) -> list[tuple[str, Environment]]:
    """Where seeds were trained, and that what is left of them would be trained here."""
    found: list[tuple[str, Environment]] = []
    for seed in wanted:
        run = begun.get(seed)
        if run is not None:
            found += [(f"seed_{seed} was trained", each) for each in environments_of(run)]
        if run is None or not run["finished"]:
            found.append((f"seed_{seed} would be trained", here))
    return found


def _scored(entry: Entry, folder: Path, root: Path, device: str, code: Code) -> Seed:
    """Score a seed that is trained, on the clock, and read where and how long that was."""
    said = {"teacher": entry.teacher, "send_back": entry.send_back, "device": device}
    begun = time.perf_counter()
    dice = summary(score_run(folder, root, **said, code=code).rows)["dice"]
    scoring = (time.perf_counter() - begun) / 60
    run = read_run(folder)
    return Seed(environments_of(run), dice, sum(seconds_of(run, folder).values()) / 60, scoring)


def _measured(where: torch.device, here: Environment) -> dict[str, Any]:
    """The yardstick of this machine, as `speedrun.json` keeps it."""
    about = {"machine": machine_of(here), "native_bf16": has_native_bf16(where)}
    return {"seconds": yardstick(where), **about, "threads": here["threads"]}


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
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
