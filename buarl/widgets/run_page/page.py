"""Write one HTML page about runs that loads nothing: all that it shows is inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from buarl.capsule import Capsule, CapsuleError, read_capsules
from buarl.capsule.parts import LEVELS
from buarl.figures.draw import ERROR, PALETTE
from buarl.figures.inline import entropy_picture, inline_svg, png_uri, slice_picture
from buarl.figures.premise import (
    by_class,
    by_moment,
    by_place,
    error_by_percentile,
    last_moment,
    recall_beside_ceiling,
    reliability_diagram,
    run_curves,
)
from buarl.outside import Code
from buarl.training.checkpoint import write_text
from buarl.widgets.run_page.tables import (
    class_table,
    fault_of,
    repeated,
    run_title,
    runs_table,
    spread_table,
)
from buarl.widgets.run_page.worst import worst_cases
from buarl.widgets.scrub import SCRIPT, STYLE
from buarl.widgets.scrub_pack import pack
from buarl.widgets.snapshots import sides_of_run
from buarl.widgets.static import read

PAGE = "show.html"  # inside the run folder
PICTURED = 3  # runs with slices, worst cases and a scrubber; a page should open quickly
CURVES = {"student_loss": "loss of the student", "lr": "learning rate"}
PLACES = {"stage", "step"}
REFUSALS = (ValueError, KeyError, OSError, RuntimeError)  # no data, no checkpoint, outside code


def write_run_page(
    folders: Sequence[str | Path],
    path: str | Path | None = None,
    *,
    root: Path | None = None,
    code: Code = (),
) -> tuple[Path, list[str]]:
    """Write the page of one run or several.

    Args:
        folders: Run folders, finished or in training.
        path: The page, whose folder is made; None is `show.html` in the folder of the first run.
        root: Where the data lie, if they have moved.
        code: What the runs may use from outside the package, see `load_run`.
    Returns:
        The page, and one sentence for every folder that was left out.
    Raises:
        CapsuleError: none of the folders can be read; the message says why.
    """
    runs, faults = readable_runs(folders, unfinished=True)
    if not runs:
        raise CapsuleError("; ".join(faults) or "show needs a run folder, got none")
    path = runs[0].folder / PAGE if path is None else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, run_page(runs, faults, root=root, code=code))
    return path, faults


def readable_runs(
    folders: Sequence[str | Path], *, unfinished: bool = False
) -> tuple[list[Capsule], list[str]]:
    """The runs that can be shown, and a sentence for every folder that is left out.

    Args:
        folders, unfinished: As for `read_capsules`, which does not look at all of `run.json`.
    """
    runs, faults = read_capsules(folders, unfinished=unfinished)
    wrong = [fault_of(run) for run in runs]
    good = [run for run, fault in zip(runs, wrong, strict=True) if fault is None]
    return good, faults + [fault for fault in wrong if fault is not None]


def run_page(
    runs: Sequence[Capsule],
    faults: Sequence[str] = (),
    *,
    root: Path | None = None,
    code: Code = (),
) -> str:
    """The page of runs as text.

    Args:
        runs: Capsules, at least one.
        faults: What to say of runs that were left out.
        root: Where the data lie, if they have moved.
        code: What the runs may use from outside the package.
    """
    make = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pictured = [_pictured(run, root, code) for run in runs[:PICTURED]]
    return make.from_string(read("run_page.html.j2")).render(
        runs=runs,
        title="Run " + runs[0].name if len(runs) == 1 else f"{len(runs)} runs",
        titles={run.name: run_title(run) for run in runs},
        remarks=[f"Left out: {fault}" for fault in faults] + repeated(runs),
        tables={"runs": runs_table(runs), "spread": spread_table(runs), "class": class_table(runs)},
        curves=_curves(runs),
        premise=_premise(runs),
        pictured=pictured,
        left_out=[run.name for run in runs[PICTURED:]],
        licences=list(dict.fromkeys(str(run.run["data"].get("licence")) for run in runs)),
        secret=any(run.row["source"] == "la" for run in runs),
        style=Markup(STYLE + read("run_page.css")),
        script=Markup(SCRIPT),
        notes={run.name: run.notes for run in runs if run.notes},
        colors=PALETTE,
        error=ERROR,
        rows={run.name: json.dumps(run.row, indent=1) for run in runs},
    )


def _curves(runs: Sequence[Capsule]) -> list[Markup]:
    """Losses, learning rate and Dice of all runs; the terms of the loss for a single run."""
    found = []
    for key, label in CURVES.items():
        histories = {run.name: run.history for run in runs if any(key in r for r in run.history)}
        if histories:
            found.append(_svg(run_curves(histories, key, "", label), label))
    if validation := {run.name: run.validation for run in runs if run.validation}:
        label = "Dice of the student on validation volumes"
        found.append(_svg(run_curves(validation, "dice", "Dice", label), label))
    if len(runs) == 1:
        history = runs[0].history
        keys = dict.fromkeys(key for row in history for key in row if key not in PLACES)
        for key in [key for key in keys if key not in CURVES][:6]:
            found.append(_svg(run_curves({key: history}, key, "", f"logged: {key}"), key))
    return found


def _premise(runs: Sequence[Capsule]) -> list[dict[str, Any]]:
    """Per run the charts of its premise, and what the last moment says in words."""
    found = []
    for run in runs:
        if not run.premise:
            continue
        names, charts = run.class_names, []
        sides = {side: last_moment(run.premise, side) for side in ("labeled", "unlabeled")}
        sides = {side: rows for side, rows in sides.items() if rows}
        side = "unlabeled" if "unlabeled" in sides else "labeled"
        ours = sides[side]
        all_moments = [row for row in run.premise if row["images"] == side]
        for what, rows in (
            ("all voxels, at the end", sides),
            (f"{side} images, all voxels, while it trained", by_moment(all_moments)),
            (f"{side} images, by class of the label", by_class(ours, names)),
            (f"{side} images, on borders and inside", by_place(ours)),
        ):
            charts.append(_svg(error_by_percentile(rows, names, what), f"{run.name}, {what}"))
        what = f"{side} images: recall at 95 and 99"
        charts.append(_svg(recall_beside_ceiling(all_moments, names, what), f"{run.name}, {what}"))
        if run.calibration:
            what = "student on validation images"
            charts.append(_svg(reliability_diagram(run.calibration, what), f"{run.name}, {what}"))
        found.append({"name": run.name, "charts": charts})
    return found


def _pictured(run: Capsule, root: Path | None, code: Code) -> dict[str, Any]:
    """Slices, worst cases and scrubber of a run, or why they are not there."""
    found: dict[str, Any] = {"name": run.name, "slices": _slices(run), "worst": [], "why": []}
    found["classes"] = run.class_names
    found["scrubber"] = None
    if not run.finished:
        found["why"].append("worst cases and scrubber come when the run is finished")
        return found
    try:
        found["worst"] = [
            case._replace(label=png_uri(case.label), prediction=png_uri(case.prediction))
            for case in worst_cases(run, root, code)
        ]
    except REFUSALS as error:
        found["why"].append(f"no worst cases: {error}")
    if not run.metrics:
        found["why"].append("no scores and no worst cases yet: evaluate the run first")
    try:
        packed = pack(sides_of_run(run.folder, root, code))
        header = Markup(packed.header.replace("<", "\\u003c"))
        found["scrubber"] = header, base64.b64encode(packed.payload).decode()
    except REFUSALS as error:
        found["why"].append(f"no scrubber: {error}")
    return found


def _slices(run: Capsule) -> list[dict[str, Any]]:
    """The four slices of a capsule: image, label, then pseudo-label and entropy at every moment."""
    if (slices := run.slices) is None:
        return []
    found = []
    for n, name in enumerate(slices.names):
        image, error = slices.image[n], slices.error
        label = None if slices.label is None else slices.label[n]
        pictures = [("image", png_uri(slice_picture(image)))]
        if label is not None:
            pictures.append(("label, hidden from training", png_uri(slice_picture(image, label))))
        for s, (stage, step) in enumerate(zip(slices.stages, slices.steps, strict=True)):
            wrong = None if error is None else error[s, n]
            share = "" if wrong is None else f": {100 * np.mean(wrong):.1f} % wrong"
            drawn = slice_picture(image, slices.pseudo_label[s, n], wrong)
            pictures.append((f"{stage} {step}, {slices.networks[s]}{share}", png_uri(drawn)))
        drawn = entropy_picture(slices.entropy[-1, n], LEVELS)
        pictures.append(("entropy at the end", png_uri(drawn)))
        found.append({"name": name, "pictures": pictures})
    return found


def _svg(figure: Any, name: str) -> Markup:
    return Markup(inline_svg(figure, name))
