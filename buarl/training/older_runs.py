"""Run folders of earlier versions: what they say that this version no longer knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buarl.training.checkpoint import write_json

REMOVED = "bf16_backward"


def without_removed_precision(folder: Path, run: Mapping[str, Any], asked: str) -> Mapping:
    """A run to resume, as today's versions would have begun it.

    The precision "bf16_backward" (bf16 for the gradients of convolutions) was removed. A run that
    began in it goes on in fp32 if the caller asks for that by name, and `run.json` then says both.

    Args:
        folder: The run folder.
        run: What its `run.json` says.
        asked: The precision that the caller wants, "auto", "fp32" or "bf16".
    Returns:
        The content of `run.json`, with a precision that still exists.
    Raises:
        ValueError: the run began in the removed precision, and fp32 was not asked for.
    """
    config, environment = run["config"], run["environment"]
    used = environment.get("precision", "")
    if REMOVED not in (config["precision"], used.partition(",")[0]):
        return run
    if asked != "fp32":
        raise ValueError(f"{folder}: precision {REMOVED} was removed; resume with --precision fp32")
    if not run["finished"]:
        both = {**environment, "precision": f"{REMOVED}, then fp32"}
        write_json(Path(folder) / "run.json", {**run, "environment": both})
    today = {"precision": "fp32"}
    return {**run, "config": {**config, **today}, "environment": {**environment, **today}}
