"""How our parts grow with the image, the batch and the classes, and what whole schedules take."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import parts as bench_parts
from benchmarks.machine import seconds
from benchmarks.plan import Line, Plan
from benchmarks.scene import new_bcp, new_scene
from buarl.data.batches import SemiBatch
from buarl.data.source import Source
from buarl.evaluation.validation import DiceCurve
from buarl.methods.base import Step
from buarl.training.config import Config
from buarl.training.engine import Engine

WINDOWS = 1128  # of the 20 LA test volumes (docs/protocol.md 1.4)
VOLUMES = 20  # ACDC's validation split


def growth(plan: Plan, engine: Engine) -> Iterator[dict[str, Any]]:
    """Milliseconds of our parts as size, batch or number of classes grows, the others fixed."""
    middle = {"size": min(plan.size, 128), "batch": plan.batch, "classes": 4}
    curves = {
        "size": plan.growth_size,
        "batch": plan.growth_batch,
        "classes": plan.growth_classes,
    }
    for axis, values in curves.items():
        for value in values:
            at = {**middle, axis: value}
            scene = new_scene(engine, made_slices(**at), at["classes"], plan.width)
            times = {}
            for title, part in {
                "teacher forward": bench_parts.teacher_forward(scene),
                "components": bench_parts.components(scene.batch.label, at["classes"]),
                "masks": bench_parts.masks(scene),
                "student": bench_parts.student_step(scene),
            }.items():
                part.ours()
                runs = [seconds(part.ours, engine.device) for _ in range(min(plan.repeats, 3))]
                times[title] = 1000 * statistics.median(runs)
            yield {"axis": axis, **at, "ms": times}


def made_slices(size: int, batch: int, classes: int) -> SemiBatch:
    """Blocks of classes under noise."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(classes, (2 * batch, 4, 4), generator=generator)
    label = label.repeat_interleave(size // 4, 1).repeat_interleave(size // 4, 2)
    image = (label + 0.5 * torch.randn(label.shape, generator=generator))[:, None]
    return SemiBatch(image, label[:batch])


def case_seconds(source: Source, image_size: tuple[int, ...], width: int, engine: Engine) -> float:
    """Seconds for which a training waits per validation volume: `DiceCurve` predicts its slices."""
    method = new_bcp(2, source.num_classes, width)
    engine.place(method)
    config, cases = Config("bench", image_size, (), None), source.cases("val")[:4]
    small = copy(source)
    small.cases = lambda split: cases
    with TemporaryDirectory() as folder:
        curve = DiceCurve(small, config, Path(folder) / "curve.csv", every=1)
        curve("bench", Step(0, 2), method)
        curve.collect()
        waited = seconds(lambda: curve("bench", Step(1, 2), method), engine.device)
        curve.finish()
    return waited / len(cases)


def schedules(lines: Sequence[Line], seconds_per_case: float) -> list[dict[str, Any]]:
    """Minutes of the paper's BCP schedules at the measured speed.

    A validation is one pass over 20 volumes of ACDC or over the windows of 20 LA scans, its scores
    beside the training. Public code makes one every 200 steps, as `train --validate 200` does.
    """
    window = next(line for line in lines if line.units > 1)
    validation = (
        VOLUMES * seconds_per_case,
        WINDOWS * statistics.median(window.ours) / window.units,
    )
    steps = [line for line in lines if line.first_stage]  # slices, as written or also recorded,
    plans = (("ACDC", 10_000, 30_000), ("LA", 2_000, 15_000))  # then volumes
    each = len(steps) // len(plans)
    rows = []
    for number, line in enumerate(steps):
        (name, first, second), once = plans[number // each], validation[number // each]
        training = first * statistics.median(line.first_stage)
        training += second * statistics.median(line.ours)
        rows.append(
            {
                "schedule": f"BCP on {name}, {first} + {second} steps",
                "measured_on": line.name,
                "training_minutes": training / 60,
                "validation_seconds": once,
                "with_validation_minutes": (training + (first + second) // 200 * once) / 60,
            }
        )
    return rows
