"""The phantom on disk: the public ACDC layout, built once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

from buarl.data import phantom
from buarl.data.phantom import PhantomSpec, phantom_case


def cache_root() -> Path:
    """$BUARL_CACHE, or ~/.cache/buarl."""
    return Path(os.environ.get("BUARL_CACHE") or Path.home() / ".cache" / "buarl")


def write_phantom(root: Path, spec: PhantomSpec | None = None) -> None:
    """Write the whole ACDC layout: lists, training slices, volumes and the marker phantom.json.

    Everything is built in a folder beside `root` and renamed at the end, so `root` is complete
    or absent. Inside a volume the training slices are listed in a shuffled order, as in ACDC.

    Args:
        root: folder to make.
        spec: what to draw; the default phantom if None.

    Raises:
        FileExistsError: root exists and is not an empty folder.
    """
    root, spec = Path(root), spec or PhantomSpec()
    if root.exists():
        if not root.is_dir() or any(root.iterdir()):
            raise FileExistsError(f"write_phantom only fills a new or empty folder, got {root}")
        root.rmdir()  # renaming onto an empty folder is not portable
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
        built = Path(scratch) / "built"
        (built / "data" / "slices").mkdir(parents=True)
        _write_files(built, spec)
        marker = {"fingerprint": _fingerprint(spec), "checksum": _checksum(built)}
        (built / "phantom.json").write_text(json.dumps(marker))
        built.rename(root)


def _write_files(built: Path, spec: PhantomSpec) -> None:
    sizes = {"train": spec.train_patients, "val": spec.val_patients, "test": spec.test_patients}
    lists: dict[str, list[str]] = {"all_slices": [], "train_slices": []}
    first = 1
    for split, size in sizes.items():
        lists[split] = []
        for patient, frame in product(range(first, first + size), (1, 2)):
            case = f"patient{patient:03d}_frame{frame:02d}"
            image, label = phantom_case(spec, patient, frame)
            _write_h5(built / "data" / f"{case}.h5", image, label)
            names = [f"{case}_slice_{k + 1}" for k in range(len(image))]
            for name, image_slice, label_slice in zip(names, image, label, strict=True):
                _write_h5(built / "data" / "slices" / f"{name}.h5", image_slice, label_slice)
            lists[split].append(case)
            order = np.random.default_rng([spec.seed, patient, frame, 1]).permutation(len(names))
            shuffled = [names[i] for i in order]
            lists["all_slices"] += shuffled
            lists["train_slices"] += shuffled if split == "train" else []
        first += size
    for name, lines in lists.items():
        (built / f"{name}.list").write_bytes("".join(f"{line}\n" for line in lines).encode())


def _write_h5(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    import h5py  # here: `import buarl` stays light

    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip", compression_opts=1)
        file.create_dataset("label", data=label, compression="gzip", compression_opts=1)


def phantom_root(spec: PhantomSpec | None = None, cache: Path | None = None) -> Path:
    """Folder of the phantom, built once per spec and source and kept in the user's cache.

    A missing, stale or damaged copy is rebuilt. Processes that ask together wait for one builder.

    Args:
        spec: what to draw; the default phantom if None.
        cache: cache folder; $BUARL_CACHE or ~/.cache/buarl if None.

    Returns:
        root folder in the layout of `write_phantom`.
    """
    spec = spec or PhantomSpec()
    cache = Path(cache or cache_root())
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"phantom-{_fingerprint(spec)}"
    if _is_complete(root, spec):
        return root
    with _lock(root.with_suffix(".lock")):
        if not _is_complete(root, spec):  # another process may have built it while we waited
            if root.exists():
                shutil.rmtree(root)
            write_phantom(root, spec)
    return root


def _fingerprint(spec: PhantomSpec) -> str:
    """Changes with the spec, the phantom files and the libraries that draw random numbers."""
    versions = f"{np.__version__} {version('scipy')} {version('h5py')}"
    sources = Path(phantom.__file__).read_bytes() + Path(__file__).read_bytes()
    text = f"{spec!r} {versions}".encode() + sources
    return hashlib.sha256(text).hexdigest()[:16]


def _checksum(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*.list"), *root.glob("data/**/*.h5")]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_complete(root: Path, spec: PhantomSpec) -> bool:
    try:
        marker = json.loads((root / "phantom.json").read_text())
        return marker == {"fingerprint": _fingerprint(spec), "checksum": _checksum(root)}
    except (OSError, ValueError):
        return False


@contextmanager
def _lock(path: Path, stale_seconds: float = 120.0) -> Iterator[None]:
    """Exclusive lock file; one left behind by a killed process is taken over when stale."""
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            try:
                if time.time() - path.stat().st_mtime > stale_seconds:
                    path.unlink()
            except FileNotFoundError:
                continue  # released meanwhile
            time.sleep(0.05)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
