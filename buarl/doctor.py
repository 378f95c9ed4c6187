"""What is here: versions, device, threads, and the data with what is missing."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from buarl.data.h5 import DataError
from buarl.data.source import SPLITS, Source, open_source
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


def check_files(source: Source) -> list[tuple[str, bool]]:
    """One line per split: complete, incomplete (a problem) or absent (fine unless it is opened)."""
    findings = []
    for split in SPLITS:
        try:
            files = source.files(split)
        except DataError as error:
            findings.append((f"  {split:<10}  absent ({error})", split != "train"))
            continue
        findings.append(_finding(split, files))
    return findings


def _finding(split: str, files: list[Path]) -> tuple[str, bool]:
    missing = [path for path in files if not path.is_file()]
    head = f"  {split:<10} "
    if len(missing) == len(files):
        return f"{head} absent (0 of {len(files)} files)", split != "train"
    if missing:
        count = f"{len(files) - len(missing)} of {len(files)}"
        return f"{head} INCOMPLETE: {count} files, first missing {missing[0]}", False
    return f"{head} complete: {len(files)} of {len(files)} files", True


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
