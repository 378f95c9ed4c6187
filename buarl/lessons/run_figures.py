"""The paper's figures, drawn of finished runs or released weights, not of lessons' networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buarl.data.source import Source, open_source
from buarl.evaluation.score import require_same_data
from buarl.files.weights import load_released, row_of_weights
from buarl.lessons.paper_figures import Drawn, Trained, draw_figures
from buarl.methods import Method
from buarl.outside import Code
from buarl.training.checkpoint import load_state
from buarl.training.config import config_for
from buarl.training.run import load_run, stage_checkpoint
from buarl.training.state import load_weights
from buarl.weights import SHIPPED, names_weights


def figures_of_runs(
    compared: Mapping[str, str | Path],
    teachers: Mapping[str, Path],
    root: Path | None = None,
    code: Code = (),
    *,
    main: str | None = None,
) -> dict[str, Drawn]:
    """Draw the paper's figures from finished runs of one data set, preset and seed.

    Args:
        compared: Per title a run folder or released weights, by name or file, for Fig. 3 or 4.
        teachers: Per title a run folder of BCP, for Fig. 6: those without URL first, then with the
            higher percentile first. What the student was after the first stage is drawn.
        root: Where the data lie. A run knows it unless they have moved, weights do not.
        code: What the runs may use from outside the package, see `load_run`.
        main: Of which title Fig. 1 and 5 are drawn; None is the first.
    Returns:
        As `draw_figures` does.
    Raises:
        ValueError, DataError: as `load_run` and `load_released`; no run, runs that differ in data,
            labeled patients, preset, seed or image size, or a teacher whose first stage another
            run lent.
    """
    ours = {title: network_to_draw(place, root, code) for title, place in compared.items()}
    first = {title: _of_run(folder, root, code) for title, folder in teachers.items()}
    if not ours:
        raise ValueError("figures need at least one run, got none")
    facts = [_facts(one, source) for one, source, *_ in (*ours.values(), *first.values())]
    for found in facts:
        for key, value in found.items():
            if value != facts[0][key]:
                raise ValueError(
                    f"runs of one figure must agree in {key}, got {facts[0][key]} and {value}"
                )
    after = {}
    for title, (trained, _, method) in first.items():
        path = stage_checkpoint(teachers[title], 0, method)
        load_weights(method, path, load_state(path))
        after[title] = trained._replace(student=method.student)
    networks = {title: trained for title, (trained, _) in ours.items()}
    main = next(iter(ours)) if main is None else main
    return draw_figures(ours[main][1], networks, after, main=main, bars=main)


def network_to_draw(
    place: str | Path, root: Path | None = None, code: Code = ()
) -> tuple[Trained, Source]:
    """The student of a finished run or of released weights, and the data it was trained on.

    Args:
        place: A run folder, a .safetensors file, or the name of weights that come with the package.
        root, code: As in `figures_of_runs`.
    Raises:
        ValueError, DataError: as `load_run` and `load_released`.
    """
    if not names_weights(place) and str(place) not in SHIPPED:
        return _of_run(Path(place), root, code)[:2]
    row, model = row_of_weights(place, code), load_released(place, "cpu", None, code)
    return Trained(row, model.config, model.network), open_source(row.source, root)


def _of_run(folder: Path, root: Path | None, code: Code) -> tuple[Trained, Source, Method]:
    row, source, method = load_run(folder, root, code)
    require_same_data(folder, source)
    return Trained(row, config_for(row, code), method.student), source, method


def _facts(trained: Trained, source: Source) -> dict[str, Any]:
    """What a caption says of all networks at once."""
    row, config = trained.row, trained.config
    return {
        "data": (source.name, source.root.resolve()),
        "labeled patients": (row.labeled, config.labeled_draw),
        "preset": row.preset,
        "seed": row.seed,
        "image size": tuple(config.image_size),
    }
