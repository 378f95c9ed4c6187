"""A trained network with all that is needed to apply it: its numbers, classes and gray values."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from buarl.data.acdc import Acdc
from buarl.data.errors import DataError
from buarl.data.la import La
from buarl.files.layout import NORMALISATIONS
from buarl.methods import Method
from buarl.outside import Code
from buarl.training.config import Config, config_for
from buarl.training.engine import choose_engine
from buarl.training.run import load_method, read_run, row_of_run

_ACDC, _LA = ("minmax", Acdc.class_names), ("zscore", La.class_names)
_HEARTS = ("acdc", "phantom", "phantom_fine")
RECIPES = {**dict.fromkeys(_HEARTS, _ACDC), "la": _LA, "phantom_la": _LA}
"""Normalisation and classes of public data; runs say both of their own data, older ones neither."""


class Model(NamedTuple):
    """A trained network, ready to predict.

    Attributes:
        network: In evaluation mode, images (B, 1, *spatial) to logits (B, C, *spatial).
        config: The numbers of its run.
        class_names: Background first.
        normalisation: How the gray values of a volume are scaled, "minmax" or "zscore"; None where
            nobody said.
        temperature: What released weights keep of `fitted_temperature`; else None.
    """

    network: nn.Module
    config: Config
    class_names: tuple[str, ...]
    normalisation: str | None
    temperature: float | None = None

    @property
    def rank(self) -> int:
        """Axes of what the network sees, 2 or 3."""
        return len(self.config.image_size)


def load_model(
    run_folder: Path, device: str = "auto", normalisation: str | None = None, code: Code = ()
) -> Model:
    """The student of a finished run on a device, with what its data were like.

    Args:
        run_folder: A finished run.
        device: As in training.
        normalisation: "minmax" or "zscore"; None is what the training data had.
        code: What the run may use from outside the package, see `load_run`.
    Raises:
        ValueError: no finished run, unknown device. DataError: unknown normalisation, or a run
            that does not say its classes.
    """
    experiment = row_of_run(run_folder, code)
    names, scaling = classes_and_normalisation(run_folder, normalisation)
    network = load_method(run_folder, len(names), code).student
    network = network.to(choose_engine(device).device).eval()
    return Model(network, config_for(experiment, code), names, scaling)


def classes_and_normalisation(
    run_folder: Path, normalisation: str | None = None
) -> tuple[tuple[str, ...], str | None]:
    """The classes that a run was trained on, and how gray values are scaled for it.

    Args:
        run_folder: The run.
        normalisation: What to take instead of what the run says.
    Raises:
        DataError: see `load_model`.
    """
    run = read_run(run_folder)
    recipe = RECIPES.get(run["experiment"]["source"], (None, ()))
    names = tuple(run["data"].get("classes") or recipe[1])
    if not names:
        raise DataError(f"{run_folder / 'run.json'}: data must name the classes, found none")
    scaling = normalisation or run["data"].get("normalisation") or recipe[0]
    if scaling not in (None, *NORMALISATIONS):
        raise DataError(f"normalisation must be one of {sorted(NORMALISATIONS)}, got {scaling!r}")
    return names, scaling


def network_of(method: Method, *, teacher: bool, where: Path) -> nn.Module:
    """The student of a method, or its teacher.

    Args:
        method: Trained.
        teacher: Take the teacher.
        where: The run, for the message.
    Raises:
        ValueError: the teacher is asked for and the method has none.
    """
    if not teacher:
        return method.student
    if not isinstance(found := getattr(method, "teacher", None), nn.Module):
        raise ValueError(
            f"{where}: {type(method).__name__} has no teacher; leave --teacher out and take "
            "the student"
        )
    return found
