"""The phantom is deterministic, has the ACDC layout and content, and its cache repairs itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from buarl.data.phantom import on_disk
from buarl.data.phantom.heart import PhantomSpec, phantom_case
from buarl.data.phantom.on_disk import phantom_root, write_phantom
from buarl.data.source import open_source

TINY = PhantomSpec(train_patients=3, val_patients=1, test_patients=2, side=(32, 44), depth=(5, 7))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom_root(TINY, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def volumes() -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Twenty patients at the default size: content, not layout."""
    return {(p, f): phantom_case(PhantomSpec(), p, f) for p in range(1, 21) for f in (1, 2)}


def read_list(root: Path, name: str) -> list[str]:
    text = (root / f"{name}.list").read_text()
    assert text.endswith("\n")
    return text.splitlines()


def read_h5(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(path) as file:
        assert set(file) == {"image", "label"}
        assert file["image"].compression == file["label"].compression == "gzip"
        return file["image"][:], file["label"][:]


def largest_area(label: np.ndarray, value: int) -> int:
    return int((label == value).sum(axis=(1, 2)).max())


def all_bytes(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_same_spec_same_bytes(root: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", TINY)
    assert all_bytes(tmp_path / "again") == all_bytes(root)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]  # no scratch folder left


def test_case_depends_on_seed_patient_and_frame_only() -> None:
    image, label = phantom_case(TINY, 2, 1)
    for other in (replace(TINY, train_patients=9), TINY):
        same_image, same_label = phantom_case(other, 2, 1)
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(label, same_label)
    for case in ((replace(TINY, seed=1), 2, 1), (TINY, 3, 1), (TINY, 2, 2)):
        assert not np.array_equal(image, phantom_case(*case)[0])


def test_lists_follow_the_acdc_layout(root: Path) -> None:
    train, val, test = (read_list(root, name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (6, 2, 4)
    assert train[:3] == ["patient001_frame01", "patient001_frame02", "patient002_frame01"]
    patients = [{case.split("_")[0] for case in cases} for cases in (train, val, test)]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 6
    slices = read_list(root, "train_slices")
    volume_order = list(dict.fromkeys(name.rsplit("_slice_", 1)[0] for name in slices))
    assert volume_order == train
    cases = [name.rsplit("_slice_", 1)[0] for name in slices]
    assert cases == sorted(cases, key=train.index)  # volume by volume
    assert slices != sorted(slices, key=lambda name: (name[:18], int(name.split("_")[-1])))
    everything = read_list(root, "all_slices")
    assert everything[: len(slices)] == slices
    assert set(everything) == {path.stem for path in (root / "data" / "slices").glob("*.h5")}
    assert len(everything) == len(set(everything))


def test_slices_equal_their_volume(root: Path) -> None:
    cases = [case for split in ("train", "val", "test") for case in read_list(root, split)]
    shapes = set()
    for case in cases:
        image, label = read_h5(root / "data" / f"{case}.h5")
        assert (image.dtype, label.dtype, image.ndim) == (np.float32, np.uint8, 3)
        shapes.add(image.shape[1:])
        for k in range(1, len(image) + 1):
            image_slice, label_slice = read_h5(root / "data" / "slices" / f"{case}_slice_{k}.h5")
            np.testing.assert_array_equal(image_slice, image[k - 1])
            np.testing.assert_array_equal(label_slice, label[k - 1])
        assert not (root / "data" / "slices" / f"{case}_slice_{len(image) + 1}.h5").exists()
    assert len(shapes) > 1
    assert any(height != width for height, width in shapes)


def test_every_volume_fills_zero_to_one_and_holds_all_classes(volumes: dict) -> None:
    for image, label in volumes.values():
        assert (image.min(), image.max()) == (0, 1)
        assert set(np.unique(label)) == {0, 1, 2, 3}


def test_some_slices_lack_classes(volumes: dict) -> None:
    labels = [label for _, volume in volumes.values() for label in volume]
    present = np.array([[(label == c).any() for c in (1, 2, 3)] for label in labels])
    missing = 1 - present.mean(axis=0)
    assert (missing > 0.02).all()  # right ventricle, myocardium, left ventricle
    assert missing[0] < 0.5
    assert 0.01 < 1 - present.any(axis=1).mean() < 0.15


def test_left_ventricle_almost_never_touches_background(volumes: dict) -> None:
    touching = inner = 0
    for _, label in volumes.values():
        for axis in (1, 2):
            a, b = np.delete(label, 0, axis), np.delete(label, -1, axis)
            touching += (((a == 3) & (b == 0)) | ((a == 0) & (b == 3))).sum()
            inner += (((a == 3) & (b == 2)) | ((a == 2) & (b == 3))).sum()
    assert touching < 0.01 * inner


def test_pool_is_smaller_and_wall_thicker_at_end_systole(volumes: dict) -> None:
    for patient in range(1, 21):
        diastole, systole = (volumes[patient, frame][1] for frame in (1, 2))
        assert (systole == 3).sum() < (diastole == 3).sum()
        assert largest_area(systole, 3) < largest_area(diastole, 3)
        pool_share = [(v == 3).sum() / (v >= 2).sum() for v in (systole, diastole)]
        assert pool_share[0] < pool_share[1]


def test_blood_is_brighter_than_muscle(volumes: dict) -> None:
    for image, label in volumes.values():
        assert image[label == 3].mean() > 1.1 * image[label == 2].mean()


@pytest.mark.parametrize("damage", ["delete", "edit", "marker", "no marker", "list"])
def test_damaged_cache_is_rebuilt(root: Path, damage: str) -> None:
    before = all_bytes(root)
    file, marker = root / "data" / "patient001_frame01.h5", root / "phantom.json"
    if damage == "delete":
        file.unlink()
    elif damage == "edit":
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    elif damage == "marker":
        marker.write_text(json.dumps({"fingerprint": "0", "checksum": "0"}))
    elif damage == "no marker":
        marker.unlink()
    else:
        (root / "val.list").write_text("patient001_frame01\n")
    assert phantom_root(TINY, root.parent) == root
    assert all_bytes(root) == before


def test_sound_cache_is_not_rebuilt(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "write_phantom", lambda *_: pytest.fail("rebuilt a sound cache"))
    monkeypatch.setenv("BUARL_CACHE", str(root.parent))
    assert phantom_root(TINY) == root


def test_other_spec_has_its_own_folder(root: Path) -> None:
    other = replace(TINY, seed=1, train_patients=1, val_patients=1, test_patients=1)
    assert phantom_root(other, root.parent) != root


def test_racing_builders_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(TINY, train_patients=1, test_patients=1)
    builds, write = [], on_disk.write_phantom
    monkeypatch.setattr(on_disk, "write_phantom", lambda *a: (builds.append(1), write(*a)))
    threads = [threading.Thread(target=phantom_root, args=(spec, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builds == [1]
    (root,) = (path for path in tmp_path.iterdir() if path.suffix != ".lock")  # no scratch left
    assert root == phantom_root(spec, tmp_path)


def test_a_lock_left_by_a_killed_process_stops_nobody(tmp_path: Path) -> None:
    spec = replace(TINY, train_patients=1, test_patients=1)
    root = phantom_root(spec, tmp_path)
    shutil.rmtree(root)
    lock = f"from filelock import FileLock; lock = FileLock({str(root.with_suffix('.lock'))!r})"
    command = [sys.executable, "-c", f"{lock}; lock.acquire(); print(1, flush=True); input()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"1\n"
    process.kill()
    process.communicate()
    assert phantom_root(spec, tmp_path) == root


def test_existing_data_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.h5").touch()
    with pytest.raises(FileExistsError, match="new or empty"):
        write_phantom(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.h5"]


@pytest.mark.parametrize("bad", [{"oversampling": 2}, {"val_patients": 0}, {"side": (8, 90)}])
def test_impossible_spec_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        PhantomSpec(**bad)


@pytest.mark.parametrize("case", [(0, 1), (1, 3)])
def test_impossible_case_is_refused(case: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="patient >= 1"):
        phantom_case(TINY, *case)


def test_the_hearts_of_the_lessons_are_as_fine_and_as_small_as_those_of_acdc() -> None:
    """In ACDC 3.9 % of the pixels of a slice are heart; a lesson shows it at 128 x 128."""
    source = open_source("phantom_fine")
    samples = [source.training_sample(name) for name in source.training_names()[::5]]
    assert {112 <= side <= 160 for sample in samples for side in sample.label.shape} == {True}
    share = np.mean([(sample.label > 0).mean() for sample in samples])
    assert 0.03 < share < 0.06
    for case in source.cases("val"):
        assert set(np.unique(source.volume(case).label)) == {0, 1, 2, 3}
