"""The phantoms as files: in the layouts of ACDC and LA, built once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from buarl.data import h5_writer
from buarl.data.cache import built_beside, cache_root, is_new_or_empty, made_once
from buarl.data.h5_writer import write_h5, write_list
from buarl.data.phantom import anatomy_2d, anatomy_3d, shapes_3d
from buarl.data.phantom.atrium import Phantom3dSpec, phantom_scan
from buarl.data.phantom.heart import PhantomSpec, phantom_case


class Layout(NamedTuple):
    """How a phantom becomes files.

    Attributes:
        name: Begins the name of its folder in the cache.
        spec: Class that says what to draw; its defaults are the phantom of the lessons.
        write: Fills an empty folder with lists and cases.
        drawn_by: Modules that draw, besides the one of `spec`. A change in any of them makes the
            copy in the cache stale.
    """

    name: str
    spec: type
    write: Callable[[Path, Any], None]
    drawn_by: tuple[ModuleType, ...] = ()


def _write_acdc(built: Path, spec: PhantomSpec) -> None:
    """Lists, training slices and volumes of the ACDC layout.

    Inside a volume the training slices are listed in a shuffled order, as in ACDC.
    """
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


def _write_la(built: Path, spec: Phantom3dSpec) -> None:
    """Lists and scans of the LA layout."""
    scans = spec.train_scans + spec.test_scans
    names = [f"scan{patient:03d}" for patient in range(1, scans + 1)]
    lists = {"train": names[: spec.train_scans], "test": names[spec.train_scans :]}
    for patient, name in enumerate(names, 1):
        folder = built / "2018LA_Seg_Training Set" / name
        folder.mkdir(parents=True)
        image, label = phantom_scan(spec, patient)
        write_h5(folder / "mri_norm2.h5", image, label, spacing=[spec.spacing] * 3)
    for split, lines in lists.items():
        write_list(built / f"{split}.list", lines)


ACDC_LAYOUT = Layout("phantom", PhantomSpec, _write_acdc, (anatomy_2d,))
"""The heart in slices, in the layout of ACDC (docs/protocol.md 1.1)."""
LA_LAYOUT = Layout("phantom_la", Phantom3dSpec, _write_la, (anatomy_3d, shapes_3d))
"""The atrium in volumes, in the layout of LA (docs/protocol.md 1.2)."""


def phantom_root(spec: Any = None, cache: Path | None = None, layout: Layout = ACDC_LAYOUT) -> Path:
    """Return the folder of a phantom; build it on first use.

    It is built once per spec and version of the drawing code, and kept in the user's cache. A
    missing, stale or damaged copy is built again. Processes that ask together wait for one builder.

    Args:
        spec: What to draw; None draws the phantom of the lessons.
        cache: Folder to keep it in; None is `cache_root()`.
        layout: Which phantom, in which files.
    Returns:
        The folder, filled by `write_phantom`.
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


def phantom_la_root(spec: Phantom3dSpec | None = None, cache: Path | None = None) -> Path:
    """Return the folder of the 3-D phantom, in the layout of LA; see `phantom_root`."""
    return phantom_root(spec, cache, LA_LAYOUT)


def write_phantom(root: Path, spec: Any = None, layout: Layout = ACDC_LAYOUT) -> None:
    """Write all files of a phantom, and the marker phantom.json that says what they are.

    Args:
        root: Folder to fill, new or empty.
        spec: What to draw; None draws the phantom of the lessons.
        layout: Which phantom, in which files.
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


def _fingerprint(spec: object, layout: Layout) -> str:
    """Changes with the spec, the code that draws and writes, and the libraries it stands on."""
    versions = f"{np.__version__} {version('scipy')} {version('h5py')}"
    parts = (layout.spec, *layout.drawn_by, h5_writer)
    files = [*map(inspect.getfile, parts), __file__]
    text = f"{spec!r} {versions}".encode() + b"".join(Path(file).read_bytes() for file in files)
    return hashlib.sha256(text).hexdigest()[:16]


def _checksum(root: Path) -> str:
    """A checksum of the names and bytes of all lists and cases."""
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
