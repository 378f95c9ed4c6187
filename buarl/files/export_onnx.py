"""The student of a run as an ONNX file, checked on a real volume before it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from buarl.data.errors import DataError, require_module
from buarl.data.h5 import Sample
from buarl.data.source import Source
from buarl.evaluation.evaluate import predict_volume
from buarl.files.model import classes_and_normalisation, network_of
from buarl.files.onnx_graph import Graph, OnnxNetwork, onnx_graph
from buarl.outside import Code
from buarl.training.checkpoint import write_atomic
from buarl.training.config import Config, config_for
from buarl.training.run import load_run

MOST_APART = 1e-3  # nats, of two entropies of one voxel


class Exported(NamedTuple):
    """What was written, and what it was checked on.

    Attributes:
        path: The ONNX file.
        graph: Batch and sizes that it takes.
        case: The volume on which its labels equal torch's.
        voxels: How many there are.
        apart: The largest difference of two entropies, in nats.
    """

    path: Path
    graph: Graph
    case: str
    voxels: int
    apart: float

    def text(self) -> str:
        """Two lines for people."""
        batch = "any batch" if self.graph.any_batch else "one image at a time"
        size = "any size in multiples of 16" if self.graph.any_size else "the training size only"
        return (
            f"{self.path}: {batch}, {size}\n"
            f"checked on {self.case}: all {self.voxels} labels of onnxruntime equal torch's, "
            f"entropies within {self.apart:.1e} nats"
        )


def export_onnx(
    run_folder: Path,
    out: Path,
    *,
    root: Path | None = None,
    teacher: bool = False,
    case: str | None = None,
    overwrite: bool = False,
    code: Code = (),
) -> Exported:
    """Write the network of a finished run as ONNX, if onnxruntime gives the very labels of torch.

    Both predict one whole volume of the run's data, as `evaluate` does (in 3-D with windows half a
    patch apart). If a single label differs, nothing is written. Classes, gray values, spacing and
    how to window stand in the metadata of the file.

    Args:
        run_folder: A finished run.
        out: The file to write, NAME.onnx.
        root: Where the data of the run lie, if they have moved.
        teacher: Export the teacher instead of the student.
        case: The volume to check on; None is the first of the validation split.
        overwrite: Replace a file that exists.
        code: What the run may use from outside the package, see `load_run`.
    Returns:
        What was written.
    Raises:
        ValueError: no finished run, no teacher, a network that torch cannot export, or labels that
            differ. DataError: no data, no such case, a name that does not fit, a file that exists.
            AccessError: the extra `export` is not installed.
    """
    run_folder, out = Path(run_folder), Path(out)
    for name in ("onnx", "onnxscript", "onnxruntime"):
        require_module(out, name, name, extra="export")
    _check_out(out, overwrite)
    experiment, source, method = load_run(run_folder, root, code)
    config = config_for(experiment, code)
    network = network_of(method, teacher=teacher, where=run_folder).cpu().float().eval()
    sample = _volume(source, case)
    graph = onnx_graph(network, config.image_size)
    about = {
        **_about(run_folder, config, sample),
        "buarl_network": "teacher" if teacher else "student",
        "buarl_experiment": json.dumps(experiment.as_dict()),
        "buarl_licence_of_data": source.licence,
    }
    apart = _check_labels(network, graph, source.rank, config, sample)
    about["buarl_checked"] = (
        f"labels of onnxruntime {version('onnxruntime')} equal those of torch {torch.__version__} "
        f"in all {sample.image.size} voxels of {sample.case}"
    )
    for key, value in about.items():
        entry = graph.model.metadata_props.add()
        entry.key, entry.value = key, value
    content = graph.model.SerializeToString()
    write_atomic(out, lambda temporary: temporary.write_bytes(content))
    return Exported(out, graph, sample.case, sample.image.size, apart)


def _check_out(out: Path, overwrite: bool) -> None:
    if out.suffix.lower() != ".onnx":
        raise DataError(f"{out}: the name of an ONNX file must end in .onnx")
    if out.is_dir():
        raise DataError(f"{out}: must be a file, got a folder")
    if out.exists() and not overwrite:
        raise DataError(
            f"{out}: the file exists; replace it with overwrite (--overwrite), or choose another "
            "name"
        )
    if not out.parent.is_dir():
        raise DataError(f"{out.parent}: no such folder")


def _volume(source: Source, case: str | None) -> Sample:
    """The volume to check on."""
    if case is None:
        return source.volume(source.cases("val")[0])
    known = [name for split in ("val", "train", "test") for name in _listed(source, split)]
    if case not in known:
        few = ", ".join(known[:5])
        raise DataError(f"{source.root}: case must be one of {few}, ..., got {case!r:.200}")
    return source.volume(case)


def _listed(source: Source, split: str) -> list[str]:
    try:
        return source.listed(split)
    except DataError:  # no such list
        return []


def _check_labels(
    network: nn.Module, graph: Graph, rank: int, config: Config, sample: Sample
) -> float:
    """Let both predict a volume; the largest difference of their entropies, in nats."""
    wide = replace(config, eval_stride=None)  # windows half a patch apart: a check, no evaluation
    theirs_network = OnnxNetwork(graph.model.SerializeToString())
    ours, theirs = (
        predict_volume(each, sample.image, rank, wide) for each in (network, theirs_network)
    )
    differ = int(np.count_nonzero(ours[0] != theirs[0]))
    apart = float(np.abs(ours[1] - theirs[1]).max())
    if differ or not apart <= MOST_APART:
        raise ValueError(
            f"{sample.case}: labels of onnxruntime must equal torch's, got {differ} of "
            f"{ours[0].size} voxels that differ, and entropies {apart:.1e} nats apart (at most "
            f"{MOST_APART:g}); nothing was written"
        )
    return apart


def _about(run_folder: Path, config: Config, sample: Sample) -> dict[str, str]:
    """What another program has to know to use the file."""
    names, scaling = classes_and_normalisation(run_folder)
    rank, size = len(config.image_size), list(config.image_size)
    plan: dict[str, Any] = {"rank": rank}
    if rank == 2:
        plan |= {
            "input": "one slice (rows, columns) of a volume that is normalized as a whole",
            "resize_to": size,
            "resize": "nearest neighbor, labels back the same way",
        }
    else:
        plan |= {
            "input": "windows (x, y, z) of a volume that is normalized as a whole",
            "patch_size": size,
            "stride": list(config.eval_stride or [max(n // 2, 1) for n in size]),
            "combine": "mean of the softmax of all windows that see a voxel",
            "shrink": config.shrink,
            "standardise_once_more": config.standardise,
        }
    spacing = None if sample.spacing is None else list(map(float, sample.spacing))
    return {
        "buarl_classes": json.dumps(names),
        "buarl_normalisation": scaling or "unknown",
        "buarl_spacing_mm": json.dumps(spacing),
        "buarl_windows": json.dumps(plan),
        "buarl_output": "logits; a softmax over axis 1 gives probabilities, its argmax the label",
        "buarl_use": "research only, not for clinical use",
    }
