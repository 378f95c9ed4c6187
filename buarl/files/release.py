"""The student of a run as a file for others, with a model card that says what it is worth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from buarl.capsule import read_role, run_tag
from buarl.capsule.scores import notes_of, words_of
from buarl.data.cache import built_beside, is_new_or_empty
from buarl.data.errors import DataError
from buarl.data.source import Source, open_source
from buarl.data.text import read_text
from buarl.evaluation.evaluate import predict_volume
from buarl.evaluation.score import DIFFERENCES
from buarl.evaluation.scores import read_metrics
from buarl.files.model import classes_and_normalisation, load_model
from buarl.files.model_card import Card, model_card
from buarl.files.temperature import fitted_temperature
from buarl.files.weights import halved, load_released, write_weights
from buarl.outside import Code
from buarl.training.checkpoint import write_text
from buarl.training.config import Config
from buarl.training.run import SELECTION, read_run, row_of_run

OTHERS = (DIFFERENCES["teacher"], DIFFERENCES["bf16"])
"""What is noted of scores that are not those of the student in float32."""
LICENCES = {"phantom": "MIT", "acdc": "CC BY-NC-SA 4.0"}
"""Terms of weights by the data they were made from; of all other data the user must say them."""
NOT_SCALED = (
    "does not say how gray values were normalized; a source of your own says so by its attribute "
    "normalisation, 'minmax' or 'zscore', before training"
)


class Released(NamedTuple):
    """What was written.

    Attributes:
        path: The weights.
        card: The model card.
        digest: SHA-256 of the file, for `buarl.weights.SHIPPED`.
        rounding: What half precision changes, in words.
    """

    path: Path
    card: Path
    digest: str
    rounding: str

    def text(self) -> str:
        """Three lines for people."""
        size = self.path.stat().st_size / 1e6
        return (
            f"{self.path}: {size:.1f} MB, half precision; {self.rounding}\n"
            f"model card: {self.card}; read it before you publish\n"
            f"SHA-256: {self.digest}"
        )


def release(
    run_folder: Path,
    out: Path,
    *,
    license: str | None = None,
    note: str = "",
    root: Path | None = None,
    code: Code = (),
) -> Released:
    """Write the student of a finished and evaluated run in half precision, and its model card.

    Args:
        run_folder: A finished run whose student was evaluated. Scores of its teacher, of another
            checkpoint or in another precision are of other networks and do not enter the card.
        out: New or empty folder; its name becomes that of the weights.
        license: Terms under which the weights may be published. Needed where the data have no open
            license that we know of, such as LA and data of your own.
        note: A sentence for the card, below the scores.
        root: Where the data lie, to say what half precision changes; without data it is not said.
        code: What the run may use from outside the package, see `load_run`.
    Returns:
        What was written.
    Raises:
        ValueError: no finished run, no scores, no license, a weight too large for half precision.
        DataError: a folder that is not empty, or a name that is none.
    """
    run_folder, out = Path(run_folder), Path(out)
    run, experiment = read_run(run_folder), row_of_run(run_folder, code)
    terms = _terms(experiment.source, license)
    name, tables = _name(out), _scores(run_folder, run)
    model = load_model(run_folder, "cpu", None, code)
    names, scaling = classes_and_normalisation(run_folder)
    about = {
        "experiment": experiment.as_dict(),
        "classes": list(names),
        "normalisation": scaling or "",
        "image_size": list(model.config.image_size),
        "licence": terms,
    }
    if scaling is None:
        raise DataError(f"{run_folder / 'run.json'}: {NOT_SCALED}")
    source = _source(experiment.source, root or run["data"]["root"])
    if (temperature := fitted_temperature(run_folder)) is not None:
        about["temperature"] = temperature
    with built_beside(out) as built:
        path = built / f"{name}.safetensors"
        write_weights(path, halved(model.network.state_dict()), about)
        half = load_released(path, "cpu", None, code).network
        rounding = _rounding(source, model.network, half, model.config)
        digest = sha256(path.read_bytes()).hexdigest()
        parameters = sum(p.numel() for p in half.parameters())
        said = (tables, rounding, digest, parameters, note, temperature)
        card = Card(name, run, names, scaling, terms, *said)
        write_text(built / f"{name}.md", model_card(card, _labeled(run_folder)))
    return Released(out / f"{name}.safetensors", out / f"{name}.md", digest, rounding)


def _name(out: Path) -> str:
    """The name of the weights: that of a folder which is new or empty."""
    name = out.resolve().name
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        raise DataError(f"{out}: a name has small letters, digits, _ - and . only, got {name!r}")
    if not is_new_or_empty(out):
        raise DataError(f"{out}: must be a new or empty folder")
    return name


def _scores(run_folder: Path, run: Mapping[str, Any]) -> dict[str, list[dict]]:
    """Every table of scores of the released network in float32, by the name of its file."""
    paths = sorted(run_folder.glob("metrics_*.csv"))
    tables = {path.name: read_metrics(path) for path in paths if _of_released(path, run)}
    if not tables:
        others = f" ({paths[0].name} does not say that it holds them)" if paths else ""
        raise ValueError(
            f"{run_folder}: has no scores of its student at the last checkpoint in float32"
            f"{others}, and a release says how good it is; first `buarl evaluate {run_folder}`"
        )
    return tables


def _of_released(path: Path, run: Mapping[str, Any]) -> bool:
    """Whether a table is of the student at the last checkpoint of this run, by its own notes.

    The notes, as a file can be renamed; one without notes does not say whose scores it holds.
    """
    words = words_of(notes_of(read_text(path)))
    tags = [word for word in words if word.startswith("run ")]
    last = SELECTION.split("; ")[0] in words
    return last and tags in ([], [run_tag(run)]) and not any(word in OTHERS for word in words)


def _terms(source: str, given: str | None) -> str:
    """The license of the weights."""
    if given is not None:
        if not given.strip() or not given.isprintable():
            raise ValueError(f"license must be the name of terms in one line, got {given!r:.80}")
        return given.strip()
    known = LICENCES.get("phantom" if source.startswith("phantom") else source)
    if known is None:
        raise ValueError(
            f"weights made from {source!r} are not released without --license TERMS: these data "
            "have no open license that we know of, so whoever releases must say under which terms "
            "that is allowed"
        )
    return known


def _source(name: str, root: str | Path) -> Source | None:
    """The data of the run, if they are here."""
    try:
        return open_source(name, None if name.startswith("phantom") else root)
    except DataError:
        return None


def _labeled(run_folder: Path) -> list[str]:
    """The patients whose labels were used, as the run wrote them down; early runs did not."""
    return list(dict.fromkeys(row["patient"] for row in read_role(run_folder, "labeled")))


def _rounding(source: Source | None, exact: nn.Module, half: nn.Module, config: Config) -> str:
    """What half precision changes on the first validation volume, in words."""
    if source is None:
        return "labels were not compared with those in float32, as the data were not here"
    try:
        sample = source.volume(source.cases("val")[0])
    except DataError:
        return "labels were not compared with those in float32, as there is no validation volume"
    with torch.random.fork_rng():
        first, second = (
            predict_volume(network, sample.image, source.rank, config)[0]
            for network in (exact, half)
        )
    differ = int(np.count_nonzero(first != second))
    return f"{differ} of {first.size} labels of {sample.case} differ from those in float32"
