"""The 3-D phantom is deterministic, has LA's layout and difficulty, and its cache repairs itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, label as components

from buarl.data.h5 import DataError
from buarl.data.phantom import atrium, on_disk
from buarl.data.phantom.atrium import Phantom3dSpec, phantom_scan
from buarl.data.phantom.on_disk import LA_LAYOUT, phantom_la_root, write_phantom
from buarl.data.source import open_source
from buarl.data.synthetic import PhantomLa
from buarl.regions import crl, url, whole
from buarl.training.config import Experiment, build_method, config_for
from buarl.training.loop import fit

SMALL = Phantom3dSpec(train_scans=9, test_scans=2, spacing=2.8)
BOX = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom_la_root(SMALL, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def source(root: Path) -> PhantomLa:
    return PhantomLa(root)


@pytest.fixture(scope="module")
def scans() -> list[tuple[np.ndarray, np.ndarray]]:
    """Twelve patients at 2 mm: content, not layout."""
    return [phantom_scan(replace(SMALL, spacing=2.0), patient) for patient in range(1, 13)]


def all_bytes(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def best_threshold_dice(image: np.ndarray, label: np.ndarray) -> float:
    cuts = np.quantile(image, np.linspace(0.3, 0.99, 40))
    return max(2 * (label * (image > c)).sum() / (label.sum() + (image > c).sum()) for c in cuts)


# What is drawn


def test_same_spec_same_bytes(root: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", SMALL, LA_LAYOUT)
    assert all_bytes(tmp_path / "again") == all_bytes(root)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]  # no scratch folder left


def test_a_scan_depends_on_seed_and_patient_only() -> None:
    image, label = phantom_scan(SMALL, 2)
    same_image, same_label = phantom_scan(replace(SMALL, train_scans=5), 2)
    np.testing.assert_array_equal(image, same_image)
    np.testing.assert_array_equal(label, same_label)
    for other in ((replace(SMALL, seed=1), 2), (SMALL, 3)):
        assert not np.array_equal(image, phantom_scan(*other)[0])


def test_x_and_y_vary_and_z_does_not(scans: list) -> None:
    x, y, z = (set(sizes) for sizes in zip(*(image.shape for image, _ in scans), strict=True))
    assert (len(x) > 5, len(y) > 3, z) == (True, True, {28})


def test_the_default_is_about_half_the_size_of_la() -> None:
    shapes = np.array([phantom_scan(Phantom3dSpec(), patient)[0].shape for patient in (1, 2, 3)])
    assert (shapes > (48, 48, 32)).all()  # the toy patch fits with room to move
    assert (shapes <= (110, 90, 40)).all()


def test_label_is_one_piece_with_a_share_as_in_la(scans: list) -> None:
    for _, label in scans:
        assert set(np.unique(label)) == {0, 1}
        assert components(label, BOX)[1] == 1
    shares = [label.mean() for _, label in scans]
    assert 0.036 <= min(shares) <= max(shares) <= 0.191
    assert 0.07 < np.mean(shares) < 0.13


def test_margins_follow_the_rule_of_the_public_files(scans: list) -> None:
    for _, label in scans:
        for axis in (0, 1):
            inside = np.flatnonzero(label.any(axis=(1 - axis, 2)))
            missing = max(35 - (inside[-1] + 1 - inside[0]), 0) // 2  # 70 mm at 2 mm
            before, after = inside[0] - missing, label.shape[axis] - 1 - inside[-1] - missing
            assert 3 <= before <= 6  # 6.5 to 11.5 mm
            assert 3 <= after <= 6


def test_image_is_z_scored_before_the_crop(scans: list, monkeypatch: pytest.MonkeyPatch) -> None:
    means = [image.mean() for image, _ in scans]
    assert 0.05 < min(means) < max(means) < 1.94  # of the crop, as measured on LA
    monkeypatch.setattr(atrium, "_crop", lambda *_: (slice(None),) * 3)
    image, _ = phantom_scan(SMALL, 1)
    assert image.dtype == np.float32
    assert (image.mean(), image.std()) == pytest.approx((0, 1), abs=1e-4)


def test_brightness_alone_does_not_find_the_atrium(scans: list) -> None:
    for image, label in scans:
        assert best_threshold_dice(image, label) < 0.7
        assert best_threshold_dice(gaussian_filter(image, 1), label) < 0.7
        atrium, rest = image[label == 1], image[label == 0]
        assert atrium.mean() > rest.mean() + 0.5
        low, high = np.quantile(atrium, [0.1, 0.9])
        assert ((rest > low) & (rest < high)).sum() > 0.5 * len(atrium)  # neighbours' blood


def test_blood_goes_on_where_the_label_of_a_vein_ends() -> None:
    """Else the ends of the veins could be read off the image."""
    clean = replace(SMALL, noise=(0, 0), texture=(0, 0), bias=(0, 0), unlike=0.0)
    for patient in range(1, 6):
        image, label = phantom_scan(clean, patient)
        bright = image > 0.9 * np.median(image[label == 1])
        outside, _ = components(bright & (label == 0), BOX)
        touching = np.unique(outside[(outside > 0) & (gaussian_filter(1.0 * label, 1) > 0.05)])
        assert len(touching) >= 2


@pytest.mark.parametrize(
    "bad", [{"train_scans": 0}, {"test_scans": 0}, {"spacing": 0.1}, {"height": 10.0}]
)
def test_an_impossible_spec_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="got Phantom3dSpec"):
        Phantom3dSpec(**bad)


def test_an_impossible_patient_is_refused() -> None:
    with pytest.raises(ValueError, match="need patient >= 1, got 0"):
        phantom_scan(SMALL, 0)


# Files


def test_files_follow_the_la_layout(root: Path, source: PhantomLa) -> None:
    train, test = ((root / f"{name}.list").read_text() for name in ("train", "test"))
    assert train.startswith("scan001\nscan002\n")
    assert test == "scan010\nscan011\n"
    for name in (train + test).split():
        with h5py.File(root / "2018LA_Seg_Training Set" / name / "mri_norm2.h5") as file:
            assert set(file) == {"image", "label"}
            assert (file["image"].dtype, file["label"].dtype) == (np.float32, np.uint8)
            assert file["image"].compression == file["label"].compression == "gzip"
            np.testing.assert_array_equal(file.attrs["spacing"], np.full(3, 2.8))
            assert file.attrs["spacing"].dtype == np.float64
            image, label = phantom_scan(SMALL, int(name[-3:]))
            np.testing.assert_array_equal(file["image"][:], image)
            np.testing.assert_array_equal(file["label"][:], label)


def test_splits_hold_the_last_scans_out(source: PhantomLa) -> None:
    train, val, test = (source.cases(split) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (5, 4, 2)
    assert val == ["scan006", "scan007", "scan008", "scan009"]
    assert len({*train, *val, *test}) == 11
    assert source.split_labeled(2) == (["scan001", "scan002"], ["scan003", "scan004", "scan005"])
    assert source.volume(val[0]).image.shape == source.volume(val[0]).label.shape


def test_open_source_makes_it_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(on_disk, "LA_LAYOUT", LA_LAYOUT._replace(spec=lambda: SMALL))
    monkeypatch.setenv("BUARL_CACHE", str(tmp_path))
    source = open_source("phantom_la")
    assert (source.name, source.rank, source.num_classes) == ("phantom_la", 3, 2)
    assert source.licence == "buarl phantom, synthetic, MIT"
    assert source.root.parent == tmp_path
    assert source.root.name.startswith("phantom_la-")
    scans = source.root / "2018LA_Seg_Training Set"
    first = {path: path.stat().st_mtime_ns for path in scans.rglob("*.h5")}
    assert open_source("phantom_la").root == source.root
    assert {path: path.stat().st_mtime_ns for path in scans.rglob("*.h5")} == first
    assert open_source("phantom_la", root).root == root


def test_too_few_scans_to_hold_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "train.list").write_text("scan001\nscan002\nscan003\nscan004\n")
    (tmp_path / "phantom.json").write_text("{}")
    with pytest.raises(DataError, match="more than 4 scans are needed"):
        PhantomLa(tmp_path).training_names()


@pytest.mark.parametrize("damage", ["delete", "edit", "list"])
def test_damaged_cache_is_rebuilt(root: Path, damage: str) -> None:
    before = all_bytes(root)
    file = root / "2018LA_Seg_Training Set" / "scan003" / "mri_norm2.h5"
    if damage == "delete":
        file.unlink()
    elif damage == "edit":
        file.write_bytes(file.read_bytes()[:-1] + b"!")
    else:
        (root / "test.list").write_text("scan001\n")
    assert phantom_la_root(SMALL, root.parent) == root
    assert all_bytes(root) == before


# Training


@pytest.mark.parametrize("method", ["supervised", "bcp"])
def test_it_trains(source: PhantomLa, method: str) -> None:
    row = Experiment(
        method=method,
        labeled_rule=url(80),
        unlabeled_rule=crl(80) if method == "bcp" else whole(),
        source="phantom_la",
        preset="toy",
        labeled=4,
    )
    config = config_for(row)
    assert (config.image_size, config.stages) == (
        (48, 48, 32),
        config_for(replace(row, source="la")).stages,
    )
    config = replace(config.shortened(2), image_size=(32, 32, 16))
    result = fit(build_method(row, source.num_classes), source, config)
    assert len(result.history) >= 1
    assert all(math.isfinite(line["student_loss"]) for line in result.history)
