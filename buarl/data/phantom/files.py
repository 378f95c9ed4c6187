"""The phantoms on disk, in the layout of a public data set, built once and kept in the cache."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from buarl.data.phantom.heart import PhantomSpec, phantom_case


class Layout(NamedTuple):
    """How a phantom becomes files.

    name: Of the folder in the cache. spec: Class of what to draw; its defaults are the phantom.
    write: Fills an empty folder. drawn_by: Modules that draw, besides the one of `spec`.
    """

    name: str
    spec: type
    write: Callable[[Path, Any], None]
    drawn_by: tuple[ModuleType, ...] = ()


def cache_root() -> Path:
    """$BUARL_CACHE, or ~/.cache/buarl."""
    return Path(os.environ.get("BUARL_CACHE") or Path.home() / ".cache" / "buarl")


def made_once(path: Path, read: Callable[[], Any], make: Callable[[], Any]) -> Any:
    """What is kept at a path of the cache; of several processes that miss it, one makes it.

    Args:
        path: Where it lies. read: Reads it; None if it is not there or damaged. make: Makes it
            there and returns it, while the others wait.
    """
    found = read()
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            found = read()  # made while we waited
            if found is None:
                found = make()
    return found


def _write_acdc(built: Path, spec: PhantomSpec) -> None:
    """Lists, training slices and volumes. Inside a volume the training slices are listed in a
    shuffled order, as in ACDC."""
    (built / "data" / "slices").mkdir(parents=True)
    sizes = {"train": spec.train_patients, "val": spec.val_patients, "test": spec.test_patients}
    lists: dict[str, list[str]] = {"all_slices": [], "train_slices": []}
    first = 1
    for split, size in sizes.items():
        lists[split] = []
        for patient, frame in product(range(first, first + size), (1, 2)):
            case = f"patient{patient:03d}_frame{frame:02d}"
            image, label = phantom_case(spec, patient, frame)
            write_h5(built / "data" / f"{case}.h5", image, label)
            names = [f"{case}_slice_{k + 1}" for k in range(len(image))]
            for name, image_slice, label_slice in zip(names, image, label, strict=True):
                write_h5(built / "data" / "slices" / f"{name}.h5", image_slice, label_slice)
            lists[split].append(case)
            order = np.random.default_rng([spec.seed, patient, frame, 1]).permutation(len(names))
            shuffled = [names[i] for i in order]
            lists["all_slices"] += shuffled
            lists["train_slices"] += shuffled if split == "train" else []
        first += size
    for name, lines in lists.items():
        write_list(built / f"{name}.list", lines)


def is_new_or_empty(folder: Path) -> bool:
    """Whether nothing would be lost or mixed if a folder were built there."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextmanager
def built_beside(root: Path) -> Iterator[Path]:
    """A folder beside `root`, new or empty, to build in: renamed to it at the end, removed after an
    error, so `root` is complete or absent."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
        built = Path(scratch) / "built"
        built.mkdir()
        yield built
        if root.exists():
            root.rmdir()  # renaming onto an empty folder is not portable
        built.rename(root)


def write_list(path: Path, lines: Iterable[str]) -> None:
    """A list file, one name a line."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def write_h5(path: Path, image: np.ndarray, label: np.ndarray | None, **attributes: object) -> None:
    """A case of the public h5 layout, without the key `label` if it has none; attributes stand on
    the file."""
    import h5py  # here: `import buarl` stays light

    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip", compression_opts=1)
        if label is not None:
            file.create_dataset("label", data=label, compression="gzip", compression_opts=1)
        file.attrs.update(attributes)


ACDC_LAYOUT = Layout("phantom", PhantomSpec, _write_acdc)
"""The 2-D phantom."""


def write_phantom(root: Path, spec: Any = None, layout: Layout = ACDC_LAYOUT) -> None:
    """Write all files of a layout and the marker phantom.json.

    Args:
        root: folder to make.
        spec: what to draw; the default phantom if None.
        layout: which phantom, in which files.

    Raises:
        FileExistsError: root exists and is not an empty folder.
    """
    root, spec = Path(root), spec or layout.spec()
    if not is_new_or_empty(root):
        raise FileExistsError(f"write_phantom only fills a new or empty folder, got {root}")
    with built_beside(root) as built:
        layout.write(built, spec)
        marker = {"fingerprint": _fingerprint(spec, layout), "checksum": _checksum(built)}
        (built / "phantom.json").write_text(json.dumps(marker))


def phantom_root(spec: Any = None, cache: Path | None = None, layout: Layout = ACDC_LAYOUT) -> Path:
    """Folder of a phantom, built once per spec and source and kept in the user's cache.

    A missing, stale or damaged copy is rebuilt. Processes that ask together wait for one builder.

    Args:
        spec: what to draw; the default phantom if None.
        cache: cache folder; $BUARL_CACHE or ~/.cache/buarl if None.
        layout: which phantom, in which files.

    Returns:
        root folder, filled by `write_phantom`.
    """
    spec = spec or layout.spec()
    cache = Path(cache or cache_root())
    root = cache / f"{layout.name}-{_fingerprint(spec, layout)}"

    def read() -> Path | None:
        return root if _is_complete(root, spec, layout) else None

    def build() -> Path:
        if root.exists():
            shutil.rmtree(root)
        write_phantom(root, spec, layout)
        return root

    return made_once(root, read, build)


def _fingerprint(spec: object, layout: Layout) -> str:
    """Changes with the spec, the phantom files and the libraries that draw random numbers."""
    versions = f"{np.__version__} {version('scipy')} {version('h5py')}"
    files = [inspect.getfile(part) for part in (layout.spec, *layout.drawn_by)] + [__file__]
    text = f"{spec!r} {versions}".encode() + b"".join(Path(file).read_bytes() for file in files)
    return hashlib.sha256(text).hexdigest()[:16]


def _checksum(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*.list"), *root.rglob("*.h5")]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_complete(root: Path, spec: object, layout: Layout) -> bool:
    try:
        marker = json.loads((root / "phantom.json").read_text())
        return marker == {"fingerprint": _fingerprint(spec, layout), "checksum": _checksum(root)}
    except (OSError, ValueError):
        return False
