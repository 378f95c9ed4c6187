"""Released weights: the student of a run in one small file, with all that is needed to apply it.

The file is safetensors: numbers and a text, nothing that could run. The text is JSON: the row,
classes, gray values and a checksum of the numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from buarl.data.errors import DataError, reading, require_file
from buarl.files.layout import NORMALISATIONS
from buarl.files.model import Model
from buarl.outside import Code, require_code
from buarl.training.checkpoint import write_atomic
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.engine import choose_engine
from buarl.training.experiment import rule_name
from buarl.weights import weights_file

FORMAT = 1
KINDS = {
    "format": int,
    "experiment": dict,
    "classes": list,
    "normalisation": str,
    "image_size": list,
    "sha256": str,
    "licence": str,
}
"""What the text of a file must hold. `temperature` is there where the run has fitted one."""


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half precision; whole numbers stay as they are.

    Args:
        state: The state dict of a network.
    Raises:
        ValueError: a weight is too large for half precision.

    >>> halved({"a": torch.tensor([0.1])})["a"]
    tensor([0.1000], dtype=torch.float16)
    """
    found = {}
    for name, tensor in state.items():
        kept = tensor.detach().cpu()
        kept = kept.half() if kept.is_floating_point() else kept
        if not kept.isfinite().all():
            raise ValueError(f"weight {name} must be below 65504, the largest of half precision")
        found[name] = kept.clone(memory_format=torch.contiguous_format)
    return found


def checksum(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and numbers.

    Args:
        weights: Tensors on the CPU.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write released weights.

    Args:
        path: The file.
        weights: From `halved`.
        about: The keys of `KINDS` but format and sha256, which are added; temperature if known.
    """
    text = json.dumps({**about, "format": FORMAT, "sha256": checksum(weights)})
    write_atomic(path, lambda temporary: save_file(dict(weights), temporary, {"buarl": text}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and what the file says about them, after the checksum has been compared.

    Raises:
        DataError: no file, no safetensors, not written by `release`, damaged, or written by a newer
            version; the message names the file.
    """
    require_file(path)
    with reading(path, "safetensors file"):
        try:
            with safe_open(path, "pt") as file:
                text = (file.metadata() or {}).get("buarl", "")
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    try:
        about = json.loads(text)
        wrong = [key for key, kind in KINDS.items() if type(about[key]) is not kind]
        if "temperature" in about and type(about["temperature"]) is not float:
            wrong.append("temperature")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: not written by `buarl release`, it says no run") from None
    if wrong or about["format"] != FORMAT:
        raise DataError(f"{path}: of another version of buarl ({wrong or about['format']!r:.80})")
    kinds = (torch.float16, torch.float32, torch.int64)
    if odd := [name for name, tensor in weights.items() if tensor.dtype not in kinds]:
        raise DataError(f"{path}: {odd[0]!r:.80} must be float16, float32 or int64")
    if about["sha256"] != checksum(weights):
        raise DataError(f"{path}: its weights do not match their checksum; get the file again")
    return weights, about


def terms_of(place: str | Path) -> str:
    """The license of released weights, as their file says it.

    Args:
        place: A file, a folder with one, or a name that comes with the package.
    """
    return read_weights(weights_file(place))[1]["licence"]


def row_of_weights(place: str | Path, code: Code = ()) -> Experiment:
    """The row that released weights were trained as.

    Args:
        place, code: As in `load_released`.
    Raises:
        ValueError, DataError: as `load_released`.
    """
    path = weights_file(place)
    about = read_weights(path)[1]
    try:
        return _row(about, code)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def load_released(
    place: str | Path, device: str = "auto", normalisation: str | None = None, code: Code = ()
) -> Model:
    """A network from released weights, in float32 on a device.

    Args:
        place: A file, a folder with one, or a name that comes with the package.
        device: As in training.
        normalisation: "minmax" or "zscore"; None is what the training data had.
        code: What the network may use from outside the package, see `load_run`.
    Raises:
        ValueError: no such weights, or those of another network or other classes.
        DataError: see `read_weights`; an unknown normalisation.
    """
    path = weights_file(place)
    weights, about = read_weights(path)
    names = tuple(map(str, about["classes"]))
    scaling = normalisation or about["normalisation"]
    if scaling not in NORMALISATIONS:
        raise DataError(f"normalisation must be one of {sorted(NORMALISATIONS)}, got {scaling!r}")
    try:
        experiment = _row(about, code)
        config = config_for(experiment, code)
        network = build_method(experiment, len(names), code, config).student
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if list(config.image_size) != about["image_size"]:
        raise ValueError(
            f"{path}: was trained at {about['image_size']}, and this version of buarl takes its "
            f"row for {list(config.image_size)}"
        )
    _fill(path, network, weights, names)
    network = network.to(choose_engine(device).device).eval()
    return Model(network, config, names, scaling, about.get("temperature"))


def _row(about: Mapping[str, Any], code: Code) -> Experiment:
    row = about["experiment"]
    wanted = {key: row.get(key) for key in ("method", "network")}
    wanted |= {key: rule_name(row.get(key)) for key in ("labeled_rule", "unlabeled_rule")}
    require_code(wanted, code)
    return Experiment.from_dict(row, code)


def _fill(
    path: Path, network: torch.nn.Module, weights: Mapping[str, Tensor], names: tuple[str, ...]
) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if ours != theirs:
        differ = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"{path}: its weights must be those of {type(network).__name__} with {len(names)} "
            f"classes, but {differ!r:.80} is {theirs.get(differ)} and not {ours.get(differ)}"
        )
    if bad := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path}: {bad[0]} holds NaN or an infinite number")
    network.load_state_dict(dict(weights))  # copied into float32
