"""What is here: versions, device, threads, and the data with what is missing."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from buarl.data.errors import DataError, require_folder
from buarl.data.layouts import MARKERS, layout_of
from buarl.data.public import read_manifest
from buarl.data.source import SPLITS, Source, open_source
from buarl.fast.bf16 import bf16_time, has_native_bf16
from buarl.fast.memory import hold_memory
from buarl.files.manifest import NO_FIGURES, check_root
from buarl.training.engine import choose_engine
from buarl.training.run import environment

PACKAGES = ("numpy", "scipy", "h5py", "matplotlib", "tqdm", "tyro", "connected-components-3d")
SHOWN = 10  # files named one by one


def report(
    source_name: str | None = None, root: Path | None = None, *, check: bool = True
) -> tuple[str, bool]:
    """A text to read or to paste into a bug report, and whether all that was looked at is well.

    Args:
        source_name: Data set; None takes what lies in `root`, or the phantom without one.
        root: Folder of a data set, or with source_name None of several.
        check: Compare every file of acdc and la with the public figures (about 20 s).
    """
    facts, engine = environment(), choose_engine()
    lines = [
        f"python       {facts['python']}",
        f"torch        {facts['torch']}",
        *(f"{name:<12} {_version(name)}" for name in PACKAGES),
        f"machine      {facts['machine']}",
        f"device       {engine.device}" + (f" ({facts['gpu']})" if facts["gpu"] else ""),
        f"precision    {engine.precision}; bf16 {_bf16(engine.device)}; train --precision",
        f"threads      {facts['threads']}",
        "layout       channels last; compiled only with train --compile, recorded with --record",
        f"memory       {'kept' if hold_memory() else 'not kept'} by the process between steps"
        " (BUARL_HOLD_MEMORY=0: not kept)",
        f"free disk    {shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB here",
    ]
    healthy = True
    try:
        wanted = [(source_name, root)] if source_name else found_in(root)
    except DataError as error:
        return "\n".join([*lines, "", f"data         PROBLEM: {error}"]), False
    for name, folder in wanted:
        findings = _data_findings(name, folder, check)
        lines += ["", *(text for text, _ in findings)]
        healthy = healthy and all(well for _, well in findings)
    return "\n".join(lines), healthy


def found_in(root: Path | None) -> list[tuple[str, Path | None]]:
    """Data sets in a folder, or else in its direct subfolders, told apart by their list files.

    Raises:
        DataError: no such folder, or none of the known lists.
    """
    if root is None:
        return [("phantom", None)]
    require_folder(root)
    for folders in ([root], sorted(path for path in root.iterdir() if path.is_dir())):
        found = [(name, folder) for folder in folders if (name := layout_of(folder))]
        if found:
            return found
    raise DataError(
        f"{root}: neither here nor one folder down is a data set, that is one of the files "
        f"{', '.join(f'{file} ({name})' for file, name in MARKERS.items())}"
    )


def _data_findings(name: str, root: Path | None, check: bool) -> list[tuple[str, bool]]:
    """Lines on one data set, each with whether it is well."""
    try:
        source = open_source(name, root)
        head = [(f"data         {source.name} in {source.root}", True)]
        head.append((f"terms        {source.licence}", True))
        findings = check_files(source)
    except DataError as error:
        return [(f"data         PROBLEM: {error}", False)]
    return head + findings + (check_figures(source) if check else [])


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


def check_figures(source: Source) -> list[tuple[str, bool]]:
    """Lines on how the files compare with the public ones; none for data without figures."""
    entries = read_manifest(source.name)
    checks = list(check_root(source)) if entries else []
    findings = []
    for split in dict.fromkeys(check.split for check in checks):
        status = [check.status for check in checks if check.split == split]
        same, unknown = status.count("identical"), status.count(NO_FIGURES)
        unit = "slices" if source.rank == 2 and split == "train" else "volumes"
        text = f"identical {same} of {len(status)} {unit}" if unknown < len(status) else ""
        if unknown:
            known = f"{NO_FIGURES} for {unknown} of {len(status)} {unit}, so nothing here tells "
            known += "whether they are the public ones"
            text = f"{text}, {known}" if text else known
        findings.append((f"  {split:<10}  {text}", same + unknown == len(status)))
    wrong = [c for c in checks if c.status not in ("identical", NO_FIGURES)]
    findings += [(f"    {check.status}: {check.reason}", False) for check in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        findings.append((f"    and {len(wrong) - SHOWN} more", False))
    listed = [check.file for check in checks if check.file in entries]
    if listed != [file for file in entries if file in set(listed)]:
        text = "  order       OTHER than in the public lists: the labeled patients may be others"
        findings.append((text, False))
    return findings


def _bf16(device: torch.device) -> str:
    if not has_native_bf16(device):
        return "is not native here"
    ratio = bf16_time(device)
    return f"is native, a convolution takes {ratio:.1f} of its time in fp32"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
