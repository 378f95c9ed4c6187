"""How fast is every part, against its plain counterpart, and what limits it? `run_bench`.

Both are measured in one process in turn, A/B/A/B; medians, and ratios pair by pair with their
spread, so that another program on the machine slows both alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from typing import Any

from benchmarks import parts as bench_parts, volumes as bench_volumes
from benchmarks.growth import case_seconds, growth, schedules
from benchmarks.machine import (
    count_flops,
    memory_given_back,
    peak_memory,
    product_gflops,
    seconds,
)
from benchmarks.plan import Line, Plan
from benchmarks.scene import SEED, Part, few, new_scene
from benchmarks.step import MadeVolumes, WholeStep
from buarl.data.batches import Batches
from buarl.data.source import Source, open_source
from buarl.fast.memory import hold_memory
from buarl.training.engine import Engine, choose_engine
from buarl.training.run import environment

Say = Callable[[str], None]


def run_bench(plan: Plan, say: Say = lambda text: None) -> dict[str, Any]:
    """Measure everything.

    Args:
        plan: What to measure.
        say: Is called with a line about what is being measured.
    Returns:
        Plain data for JSON: plan, environment, peak, lines, growth, schedules.
    """
    engine = choose_engine(plan.device, plan.precision)
    on_gpu = engine.device.type == "cuda"
    record = on_gpu if plan.record is None else plan.record
    patch = plan.patch or ((112, 112, 80) if on_gpu else (64, 64, 48))
    slices: Source = open_source(plan.source, plan.root)
    scans: Source = MadeVolumes(tuple(n + 16 for n in patch), 4 * plan.batch_3d)
    if slices.rank == 3:
        slices, scans = open_source("phantom"), slices
    peak = product_gflops(engine)
    lines = [*_part_lines(plan, engine, slices, patch, say)]
    for source, size, batch in (
        (slices, (plan.size, plan.size), plan.batch),
        (scans, patch, plan.batch_3d),
    ):
        for at, recorded in step_forms(engine, record, plan.compiler):
            step = WholeStep(at, few(source, 3 * batch), size, plan.width, batch, recorded)
            say(step.name)
            lines.append(whole_line(step, plan.repeats, "1200 ms" if source.rank == 2 else ""))
    say("growth")
    machine = {**environment(), "cores": os.cpu_count(), "precision": engine.precision}
    result = {
        "plan": {
            **asdict(plan),
            "root": None,
            "patch": patch,
        },  # where data lie is nobody's business
        "environment": {**machine, "device": str(engine.device)},
        "product_gflops": peak,
        "lines": [asdict(line) for line in lines],
        "growth": list(growth(plan, engine)),
        "schedules": schedules(lines, case_seconds(slices, (plan.size,) * 2, plan.width, engine)),
    }
    return json.loads(json.dumps(result))


def measure(part: Part, repeats: int, engine: Engine) -> Line:
    """One part in turn with its plain counterpart; the comparison of values warms both up."""
    hold_memory()  # as `fit` does
    difference, plain = part.difference(), part.plain
    gflop = count_flops(plain or part.ours) if part.limit == "convolutions" else None
    memory = [peak_memory(f, engine.device) if f else None for f in (part.ours, plain)]
    line = Line(
        *(part.name, part.plain_name, [], [], difference),
        *(part.compared, part.goal, part.limit, gflop, *memory),
        units=part.units,
    )
    for _ in range(repeats):
        line.ours.append(seconds(part.ours, engine.device))
        if plain is not None:
            with memory_given_back():
                line.plain.append(seconds(plain, engine.device))
    return line


def whole_line(step: WholeStep, repeats: int, goal: str) -> Line:
    """The whole step as a line of the table."""
    difference = step.difference()
    gflop = count_flops(step.plain_once)
    memory = (
        peak_memory(lambda: step.fitted(3), step.engine.device),
        peak_memory(step.plain_once, step.engine.device),
    )
    step.measure(repeats)
    read = "files read" if step.from_files else "in memory"
    return Line(
        *(step.name, f"fp32 contiguous, {read}", step.ours, step.plain, difference),
        *("loss, relative", goal, "convolutions", gflop, *memory),
        first_stage=step.first_stage,
    )


def step_forms(engine: Engine, record: bool, compiler: str | None) -> list[tuple[Engine, bool]]:
    """Engines of the whole steps, and whether a step is recorded; the engine's own form first.

    fp32 is always among them: whether rounding pays is what a reader of the table wants to know.
    What is compiled is the form of the lowest precision.
    """
    engines = _in_each(engine, engine.precision, "fp32", _lowest(engine))
    forms = list(product(engines, (False, True) if record else (False,)))
    if compiler is not None:
        forms.append((replace(engine, precision=_lowest(engine), compiler=compiler), record))
    return forms


def _in_each(engine: Engine, *precisions: str) -> list[Engine]:
    return [replace(engine, precision=precision) for precision in dict.fromkeys(precisions)]


def _lowest(engine: Engine) -> str:
    return "fp32" if engine.precision == "fp32" else "bf16"


def _part_lines(
    plan: Plan, engine: Engine, slices: Source, patch: Sequence[int], say: Say
) -> Iterator[Line]:
    """Every part but the whole steps; a part is made when its turn comes."""
    engines = _in_each(engine, "fp32", _lowest(engine))  # what an evaluation can predict in
    size, batch, classes = (plan.size, plan.size), plan.batch, slices.num_classes
    small = few(slices, 3 * batch)
    batches = Batches(small, None, size)
    scene = new_scene(engine, batches.batch((SEED, 1), 0, batch, batch), classes, plan.width)
    for make in (
        lambda: bench_parts.loading(batches, small, engine, batch),
        lambda: bench_parts.teacher_forward(scene),
        lambda: bench_parts.components(scene.batch.label, classes),
        lambda: bench_parts.masks(scene),
        lambda: bench_parts.student_step(scene),
        lambda: bench_parts.optimizer(classes, plan.width, engine),
        lambda: bench_volumes.metrics(slices),
        *(partial(bench_volumes.windows, at, patch, plan.width) for at in engines),
    ):
        part = make()
        say(part.name)
        yield measure(part, plan.repeats, engine)
