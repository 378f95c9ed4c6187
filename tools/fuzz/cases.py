"""h5 cases, spoiled in their bytes and in what they declare."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

from buarl.data.h5 import read_case
from buarl.files.h5_volume import read_h5_volume
from buarl.files.manifest import check_unknown

from .judge import Input
from .mutate import NUMBERS, WORDS, spoil_bytes

CLASSES = 4
AFFINE = np.array([[0, -1.6, 4.8, 10], [1.5, 0, 0, -20], [0, 1.2, 6.4, 30], [0, 0, 0, 1.0]])
SHAPES = {2: (9, 7), 3: (6, 5, 4)}


def voxels(rank: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rank)
    shape = SHAPES[rank]
    return rng.normal(size=shape).astype("f4"), rng.integers(0, CLASSES, shape).astype("u1")


STORAGE: dict[str, dict[str, Any]] = {
    "plain": {},
    "gzip": {"chunks": True, "compression": "gzip", "shuffle": True},
    "fletcher": {"chunks": True, "fletcher32": True},
    "lzf": {"chunks": True, "compression": "lzf"},
}


@cache
def h5_bytes(rank: int, storage: str, version: str) -> bytes:
    """A right h5 case."""
    block = io.BytesIO()
    with h5py.File(block, "w", libver=version) as file:
        for key, array in zip(("image", "label"), voxels(rank), strict=True):
            file.create_dataset(key, data=array, **STORAGE[storage])
        file.attrs["spacing"] = np.array([8.0, 2.0, 1.5][:rank])
        if rank == 3:
            file.attrs["affine"] = AFFINE
    return block.getvalue()


@cache
def chunks_of(rank: int, storage: str, version: str) -> tuple[tuple[int, int], ...]:
    """Where the chunks of the arrays lie in the file: first byte and length."""
    with h5py.File(io.BytesIO(h5_bytes(rank, storage, version))) as file:
        ids = [file[key].id for key in ("image", "label")]
        infos = [i.get_chunk_info(k) for i in ids for k in range(i.get_num_chunks())]
    return tuple((info.byte_offset, info.size) for info in infos)


def h5(folder: Path, rng: Random) -> Input:
    """`read_case`, `check_unknown` and the place of a volume."""
    rank, labeled = rng.choice((2, 3)), rng.random() < 0.8
    storage, version = rng.choice(sorted(STORAGE)), rng.choice(("earliest", "latest"))
    path, free = folder / "case.h5", None
    content, how = h5_bytes(rank, storage, version), rng.random()
    if how < 0.2 and storage in ("gzip", "fletcher"):  # these have checksums
        begin, size = rng.choice(chunks_of(rank, storage, version))
        spoiled, what = bytearray(content), f"one bit of a chunk, {storage}"
        spoiled[begin + rng.randrange(size)] ^= 1 << rng.randrange(8)
        path.write_bytes(spoiled)
        free = frozenset()
    elif how < 0.65:
        spoiled, what = spoil_bytes(content, rng)
        path.write_bytes(spoiled)
    else:
        path.write_bytes(content)
        change = rng.choice(H5_CHANGES)
        with h5py.File(path, "r+") as file:
            change(file, rng, rank)
        what = change.__name__.strip("_").replace("_", " ")

    def read() -> dict[str, Any]:
        sample = read_case(path, "case", rank, CLASSES, labeled=labeled)
        found = {"image": sample.image, "label": sample.label, "spacing": sample.spacing}
        if rank == 3 and not labeled:
            volume, note = read_h5_volume(path, 3)
            found |= {"affine": volume.affine, "note": note}
        elif rank == 3:
            found["status"] = check_unknown(path, _Acdc, {})[0]
        return found

    return Input(
        f"{what} (rank {rank}, {storage}, {version})",
        read,
        _right(rank, labeled),
        [str(path)],
        free,
        _h5_rule(rank, labeled),
        folder,
    )


class _Acdc:
    rank, class_names = 2, ("a", "b", "c", "d")


def _right(rank: int, labeled: bool) -> dict[str, Any]:
    image, label = voxels(rank)
    right = {"image": image, "label": label if labeled else None}
    right["spacing"] = (8.0, 2.0, 1.5)[:rank]
    if rank == 3:
        right |= {"status": "no figures known"} if labeled else {"affine": AFFINE, "note": ""}
    return right


def _h5_rule(rank: int, labeled: bool) -> Callable[[dict[str, Any]], str | None]:
    def broken(found: dict[str, Any]) -> str | None:
        image, label, spacing = found["image"], found["label"], found["spacing"]
        if image.dtype != np.float32 or image.ndim != rank or not np.isfinite(image).all():
            return f"image {image.dtype} {image.shape}, all finite: {np.isfinite(image).all()}"
        if labeled and (label.dtype != np.uint8 or label.max() >= CLASSES):
            return f"label {label.dtype} up to {label.max()}"
        if labeled and label.shape != image.shape:
            return f"label {label.shape}, image {image.shape}"
        if spacing is not None and not all(0 < size < np.inf for size in spacing):
            return f"spacing {spacing}"
        if "affine" in found and not np.isfinite(found["affine"]).all():
            return f"affine {found['affine']}"
        return None

    return broken


def _replace(file: h5py.File, key: str, *arguments: Any, **options: Any) -> None:
    del file[key]
    file.create_dataset(key, *arguments, **options)


def _another_type(file: h5py.File, rng: Random, rank: int) -> None:
    key, array = rng.choice(("image", "label")), voxels(rank)[rng.randrange(2)]
    kind = rng.choice(
        ("f2", ">f8", "f8", "i1", ">i4", "u8", "i8", "c8", "?", "S3", "O", "V5", "record")
    )
    if kind == "O":
        _replace(file, key, array.shape, h5py.string_dtype())
    elif kind == "record":
        _replace(file, key, array.shape, np.dtype([("a", "f4"), ("b", "u1")]))
    elif kind in ("S3", "V5"):
        _replace(file, key, data=np.zeros(array.shape, kind))
    else:
        _replace(file, key, data=array.astype(kind))


def _another_shape(file: h5py.File, rng: Random, rank: int) -> None:
    shape = rng.choice(((), (1,), (0, 3), (4, 0, 2), (5, 4), (5, 4, 3), (1,) * 8, (1,) * rank))
    keys = rng.choice((["image"], ["label"], ["image", "label"]))
    for key in keys:
        _replace(file, key, data=np.zeros(shape, "u1"))


def _one_value(file: h5py.File, rng: Random, rank: int) -> None:
    key = rng.choice(("image", "label"))
    array = voxels(rank)[key == "label"].astype("f8")
    array.flat[rng.randrange(array.size)] = float(rng.choice(NUMBERS))
    _replace(file, key, data=array)


def _declares_much(file: h5py.File, rng: Random, rank: int) -> None:
    size = rng.choice((200, 3000, 10**5, 2**31, 2**40))
    chunks = rng.choice(((1,) * rank, (min(size, 64),) * rank, (min(size, 1000),) * rank))
    options = rng.choice(({}, {"compression": "gzip"}, {"fillvalue": 1}))
    for key in rng.choice((["image"], ["image", "label"])):
        _replace(file, key, (size,) * rank, "u1", chunks=chunks, **options)


def _link(file: h5py.File, rng: Random, rank: int) -> None:
    del file["image"]
    shape = SHAPES[rank]
    target = Path(file.filename).parent.parent / "secret.h5"
    kind = rng.randrange(5)
    if kind == 0:
        file["image"] = h5py.ExternalLink(str(target), "image")
    elif kind == 1:
        file["image"] = h5py.SoftLink(rng.choice(("/label", "/image", "/none", "/")))
    elif kind == 2:
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(str(target), "image", shape)
        file.create_virtual_dataset("image", layout)
    elif kind == 3:
        file.create_dataset("image", shape, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    else:
        file["image"] = file["/"]  # a circle


def _attribute(file: h5py.File, rng: Random, rank: int) -> None:
    key = rng.choice(("spacing", "affine"))
    if rng.random() < 0.2 and key in file.attrs:
        del file.attrs[key]
        return
    number = rng.choice(NUMBERS)
    values = (
        rng.choice(WORDS).replace("\0", "x"),
        [float(number)] * rank,
        [1.0] * (rank + 1),
        np.zeros(0),
        7,
        h5py.Empty("f8"),
        [b"1"] * rank,
        np.full((4, 4), float(number)),
        np.eye(4) * float(number),
        np.array([1, 2, 3][:rank], "i8"),
        np.zeros((70, 70)),
        np.array([1 + 2j] * rank),
    )
    file.attrs[key] = rng.choice(values)


def _key(file: h5py.File, rng: Random, rank: int) -> None:
    key, change = rng.choice(("image", "label")), rng.randrange(3)
    array = file[key][...]
    del file[key]
    if change == 1:
        file.create_group(key)
    elif change == 2:
        file[key.upper()] = array


H5_CHANGES = (_another_type, _another_shape, _one_value, _declares_much, _link, _attribute, _key)
