"""Where a run was trained: versions, machine, processor, threads and commit."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch


def environment() -> dict[str, Any]:
    """Versions, machine, threads, and the commit if the code lies in a git checkout."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
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


def processor() -> str:
    """The processor's name and kind: one seed ends elsewhere on another kind."""
    facts = {}
    with suppress(OSError):  # Linux; a name alone, such as "AMD EPYC", does not tell the kind
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    kind = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([facts.get("model name") or platform.processor() or "unknown", *kind])
