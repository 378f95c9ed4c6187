"""The benchmark's result as a table, a small plot and a JSON file."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buarl.training.checkpoint import write_json

HEADINGS = (
    *("part", "plain ms", "ours ms", "ratio", "spread", "goal", "peak MiB", "difference"),
    "what limits it",
)


def report(result: Mapping[str, Any]) -> str:
    """Everything needed to judge a run, as text.

    Args:
        result: What `run_bench` returned.
    """
    facts, plan = result["environment"], result["plan"]
    on = facts["gpu"] if facts["device"] != "cpu" else f"{facts['threads']} threads"
    lines = [
        f"buarl {facts['commit']}, torch {facts['torch']}, Python {facts['python']}",
        f"{facts['machine']}; {facts['device']} ({on}), {facts['precision']}, matrix product in "
        f"{facts['precision'].split('_')[0]} {result['product_gflops']:.0f} GFLOP/s",
        f"slices of {plan['source']}, {plan['size']}x{plan['size']}, batch {plan['batch']} + "
        f"{plan['batch']}, width {plan['width']}; medians of {plan['repeats']} pairs, spread is "
        "the middle half of the ratios",
        "goal: of the issue, ms measured on another machine (Zen 4 with bf16); peak MiB: plain, "
        "then ours, on top of what is held",
        "",
        table(result),
        "",
        budget(result),
        "",
        *(
            f"{row['schedule']}, at the speed of: {row['measured_on']}\n"
            f"  training {row['training_minutes']:.1f} min; one validation "
            f"{row['validation_seconds']:.1f} s; with one every 200 steps "
            f"{row['with_validation_minutes']:.1f} min (goal on one H200-class GPU: "
            f"{4 if 'ACDC' in row['schedule'] else 8} min)"
            for row in result["schedules"]
        ),
    ]
    return "\n".join(lines)


def budget(result: Mapping[str, Any]) -> str:
    """Where a step on slices goes: its parts, each measured alone, beside the whole."""
    names = [line["name"] for line in result["lines"]]
    parts = result["lines"][: names.index("optimizer and EMA") + 1]
    whole = next(line for line in result["lines"] if line["name"].startswith("whole"))
    spent = {line["name"]: statistics.median(line["ours"]) for line in parts}
    total = sum(spent.values())
    shares = [f"{name} {_ms(took)} ms ({took / total:.0%})" for name, took in spent.items()]
    return (
        f"A step on slices, part by part, each alone: {'; '.join(shares)}; sum {_ms(total)} ms, "
        f"the whole step {_ms(statistics.median(whole['ours']))} ms"
    )


def table(result: Mapping[str, Any]) -> str:
    """One line per part."""
    rows = [HEADINGS, *(_row(line, result["product_gflops"]) for line in result["lines"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def _row(line: Mapping[str, Any], product_gflops: float) -> tuple[str, ...]:
    ours = statistics.median(line["ours"])
    limit = line["limit"]
    if line["gflop"] is not None:
        rate = line["gflop"] / ours
        limit = f"{limit}: {line['gflop']:.3g} GFLOP at {rate:.0f} GFLOP/s"
        limit += f", {rate / product_gflops:.0%} of a matrix product"
    memory = [line["plain_mib"], line["ours_mib"]]
    same = "-" if line["difference"] is None else f"{line['difference']:.1g} ({line['compared']})"
    name = f"{line['name']} (plain: {line['plain_name']})"
    if not line["plain"]:
        return (name, "-", _ms(ours), "-", "-", line["goal"], _mib(memory), same, limit)
    ratios = ratios_of(line)
    low, high = ratios[0], ratios[0]
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return (
        *(name, _ms(statistics.median(line["plain"])), _ms(ours)),
        *(f"{statistics.median(ratios):.2f}", f"{low:.2f}-{high:.2f}", line["goal"]),
        *(_mib(memory), same, limit),
    )


def ratios_of(line: Mapping[str, Any]) -> list[float]:
    """Plain over ours, pair by pair."""
    return [b / a for a, b in zip(line["ours"], line["plain"], strict=True)]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:.0f}"


def _mib(memory: Sequence[float | None]) -> str:
    return ", ".join("-" if value is None else f"{value:.0f}" for value in memory)


def save_json(result: Mapping[str, Any], path: Path) -> None:
    """All raw times, versions and the machine."""
    write_json(Path(path), dict(result))


def save_plot(result: Mapping[str, Any], path: Path) -> None:
    """Our parts against image size, batch and classes, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    titles = {"size": "image size, pixels", "batch": "batch, slices", "classes": "classes"}
    panels = figure.subplots(1, 3, sharey=True)
    for panel, (axis, title) in zip(panels, titles.items(), strict=True):
        points = [point for point in result["growth"] if point["axis"] == axis]
        values = [point[axis] for point in points]
        for part in points[0]["ms"]:
            panel.loglog(values, [point["ms"][part] for point in points], "o-", ms=3, label=part)
        fixed = ", ".join(f"{key} {points[0][key]}" for key in titles if key != axis)
        panel.set(xlabel=title, title=fixed)
        panel.set_xticks(values, [str(value) for value in values], minor=False)
        panel.minorticks_off()
    panels[0].set_ylabel("ms")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=150)
