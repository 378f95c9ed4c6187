"""What is here: versions, device, threads, and the data with what is missing."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError, read_list
from buarl.data.source import open_source
from buarl.engine import choose_engine
from buarl.run import environment

PACKAGES = ("numpy", "scipy", "h5py", "matplotlib", "tqdm", "tyro", "connected-components-3d")


def report(source_name: str, root: Path | None) -> tuple[str, bool]:
    """A text to read or to paste into a bug report, and whether all that was looked at is well."""
    facts, engine = environment(), choose_engine()
    lines = [
        f"python       {facts['python']}",
        f"torch        {facts['torch']}",
        *(f"{name:<12} {_version(name)}" for name in PACKAGES),
        f"machine      {facts['machine']}",
        f"device       {engine.device}" + (f" ({facts['gpu']})" if facts["gpu"] else ""),
        f"precision    {engine.precision} (auto: bf16 where the hardware computes it, else fp32)",
        f"threads      {facts['threads']}",
        f"free disk    {shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB here",
        "",
    ]
    try:
        source = open_source(source_name, root)
        lines.append(f"data         {source.name} in {source.root}")
        lines.append(f"terms        {source.licence}")
        findings = list(check_files(source))
    except DataError as error:
        return "\n".join([*lines, f"data         PROBLEM: {error}"]), False
    lines += [text for text, _ in findings]
    return "\n".join(lines), all(healthy for _, healthy in findings)


def check_files(source: Acdc) -> list[tuple[str, bool]]:
    """One line per split: complete, incomplete (a problem) or absent (fine, unless wanted)."""
    slices = source.training_names()
    parts = [("train", slices, lambda name: source.root / "data" / "slices" / f"{name}.h5")]
    for split in ("val", "test"):
        path = source.root / f"{split}.list"
        parts.append((split, read_list(path) if path.is_file() else [], source.volume_path))
    return [_finding(split, names, locate) for split, names, locate in parts]


def _finding(split: str, names: list[str], locate) -> tuple[str, bool]:
    here = [name for name in names if locate(name).is_file()]
    head = f"  {split:<10} "
    if not names:
        return f"{head} absent (no list)", True
    if not here:
        return f"{head} absent (0 of {len(names)} files)", split != "train"
    if len(here) < len(names):
        first = next(name for name in names if name not in set(here))
        return f"{head} INCOMPLETE: {len(here)} of {len(names)} files, first missing {first}", False
    return f"{head} complete: {len(names)} of {len(names)} files", True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
