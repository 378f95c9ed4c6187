"""Where a run was trained: versions, machine, processor, threads and commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

Environment = Mapping[str, Any]
"""What `run.json` says of where a run was trained."""


def environment() -> dict[str, Any]:
    """Versions, machine, threads, and the commit if the code lies in a git checkout."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:  # a checkout around an installed package is somebody else's
        for words in (
            ["ls-files", "--error-unmatch", here.name],
            ["describe", "--always", "--dirty", "--abbrev=12"],
        ):
            done = subprocess.run([*git, *words], capture_output=True, text=True, check=True)
        commit = done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {capability}",
        "processor": processor(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "commit": commit,
    }


def environments_of(run: Mapping[str, Any]) -> list[Environment]:
    """Where a run was trained: where it began, and wherever it was resumed in another way.

    Args:
        run: The content of its `run.json`, or of its entry in a ledger.

    >>> environments_of({"environment": {"threads": 1}, "resumed": [{"threads": 2}]})
    [{'threads': 1}, {'threads': 2}]
    """
    return [run["environment"], *run.get("resumed", ())]


def processor() -> str:
    """The processor's name and kind: one seed ends elsewhere on another kind."""
    facts = {}
    with suppress(OSError):  # Linux; a name alone, such as "AMD EPYC", does not tell the kind
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    kind = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([facts.get("model name") or platform.processor() or "unknown", *kind])


def kind_of(environment: Environment) -> str:
    """The kind of device of a training: "cpu", "cuda" or "mps".

    Args:
        environment: Of its `run.json`. Early ones do not name the device; it was the GPU if any.

    >>> kind_of({"device": "cuda:1", "gpu": "A100"}), kind_of({"gpu": None})
    ('cuda', 'cpu')
    """
    default = "cuda" if environment.get("gpu") else "cpu"
    return str(environment.get("device") or default).split(":")[0]


def machine_of(environment: Environment) -> str:
    """Where a run was trained: the GPU, or the processor where none was used.

    Args:
        environment: As in `kind_of`.

    >>> machine_of({"device": "cpu", "gpu": "A100", "machine": "Linux x86_64, AVX2"})
    'Linux x86_64, AVX2'
    """
    kind = kind_of(environment)
    if kind == "cuda":
        return str(environment.get("gpu") or "unknown GPU")
    machine = str(environment.get("machine") or "unknown machine")
    if kind != "cpu":
        return f"{machine}, {kind}"
    return ", ".join([machine, *filter(None, [environment.get("processor")])])


def same_machine(a: Environment, b: Environment) -> bool:
    """Whether two runs were trained on one kind of machine.

    Processors count where both runs name theirs; early runs do not.

    >>> early, late = {"machine": "AVX2"}, {"machine": "AVX2", "processor": "Zen 5"}
    >>> same_machine(early, late), same_machine(late, {**late, "processor": "Xeon"})
    (True, False)
    """
    if not (a.get("processor") and b.get("processor")):
        a, b = {**a, "processor": None}, {**b, "processor": None}
    return (kind_of(a), machine_of(a)) == (kind_of(b), machine_of(b))
