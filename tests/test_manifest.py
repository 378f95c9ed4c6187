"""Public data is told from anything else, case by case; the doctor reports it and exits with 1."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny import rings, slice_path, write_case, write_tiny

from buarl.commands.main import main
from buarl.data import public
from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError, read_list
from buarl.data.public import read_manifest
from buarl.files.doctor import found_in, report
from buarl.files.manifest import check_case, check_root

REAL = Path(os.environ.get("BUARL_DATA", "/tmp/data"))
LISTS = Path("/work/shared/data/lists")
NAME = "p2_frame01_slice_3"
FILE = f"data/slices/{NAME}.h5"


def rows_of(root: Path, source: str, files: list[str]) -> list[list[str]]:
    """Rows of manifest.csv for these files, hashed here with nothing of buarl."""
    rows = []
    for name in files:
        with h5py.File(root / name) as file:
            image, label = file["image"][:].astype("<f4"), file["label"][:].astype("u1")
        shape = "x".join(map(str, image.shape))
        hashes = [hashlib.sha256(array.tobytes()).hexdigest() for array in (image, label)]
        rows.append([source, name, shape, *hashes])
    return rows


def write_manifest(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        head = ["source", "file", "shape", "image_sha256", "label_sha256"]
        csv.writer(file).writerows([head, *rows])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The tiny data set, public in this test: its slices and val volume stand in the manifest."""
    root = write_tiny(tmp_path / "data" / "ACDC")
    names = [f"data/slices/{name}.h5" for name in read_list(root / "train_slices.list")]
    path = tmp_path / "manifest.csv"
    write_manifest(path, rows_of(root, "acdc", [*names, "data/p91_frame01.h5"]))
    monkeypatch.setattr(public, "MANIFEST", path)
    return root


def status(root: Path) -> tuple[str, str]:
    return check_case(root / FILE, read_manifest("acdc")[FILE])


# The committed figures


def test_the_manifest_has_every_public_case_in_list_order():
    acdc, la = read_manifest("acdc"), read_manifest("la")
    assert (len(acdc), len(la), len(read_manifest("phantom"))) == (1332, 80, 0)
    assert all(
        len(e.image_sha256) == len(e.label_sha256) == 64 for e in [*acdc.values(), *la.values()]
    )
    slices = [file for file in acdc if file.startswith("data/slices/")]
    assert slices == list(acdc)[:1312]
    assert {len(acdc[file].shape) for file in slices} == {2}
    assert {entry.shape[2] for entry in la.values()} == {88}  # docs/protocol.md 1.2
    assert public.MANIFEST.stat().st_size < 300_000
    if LISTS.is_dir():
        listed = read_list(LISTS / "ACDC" / "train_slices.list")
        assert [Path(file).stem for file in slices] == listed
        assert [Path(file).stem for file in list(acdc)[1312:]] == read_list(LISTS / "ACDC/val.list")
        assert [Path(file).parent.name for file in la] == read_list(LISTS / "LA" / "train.list")
        for case in read_list(LISTS / "ACDC/test.list"):
            assert f"data/{case}.h5" not in acdc


@pytest.mark.skipif(not (REAL / "ACDC").is_dir(), reason="real data is not here ($BUARL_DATA)")
@pytest.mark.parametrize("name", ["acdc", "la"])
def test_real_cases_are_identical(name):
    folder, entries = REAL / name.upper(), read_manifest(name)
    for file in list(entries)[::40]:
        assert check_case(folder / file, entries[file]) == ("identical", "")


# One case


def test_compression_layout_and_wider_types_of_the_same_numbers_are_identical(root):
    assert status(root) == ("identical", "")
    with h5py.File(root / FILE) as file:
        image, label = file["image"][:], file["label"][:]
    with h5py.File(root / FILE, "w") as file:
        file.create_dataset("image", data=np.asfortranarray(image), dtype="f8", compression=9)
        file.create_dataset("label", data=label, dtype="i8", chunks=(3, 5), shuffle=True)
        file.attrs["spacing"] = [1.0, 1.0]
    assert status(root) == ("identical", "")


@pytest.mark.parametrize("key", ["image", "label"])
def test_one_changed_byte_is_different(root, key):
    with h5py.File(root / FILE, "r+") as file:
        array = file[key][:]
        array.view(np.uint8).reshape(-1)[0] ^= 1  # the last bit of the first voxel
        file[key][...] = array
    found, reason = status(root)
    assert found == "different"
    assert reason.startswith(f"{root / FILE}: {key} has SHA-256 ")


def test_other_axis_order_is_different_and_other_rank_damaged(root):
    image, label = rings((20, 24), 0)
    write_case(root / FILE, image=image.T.copy(), label=label.T.copy())
    found, reason = status(root)
    assert found == "different"
    assert "shape (24, 20), public file (25, 19)" in reason
    write_case(root / FILE, image=image[None], label=label[None])
    assert status(root)[0] == "damaged"
    assert "must have 2 axes" in status(root)[1]


def test_missing_and_truncated(root):
    content = (root / FILE).read_bytes()
    (root / FILE).write_bytes(content[: len(content) // 2])
    found, reason = status(root)
    assert found == "damaged"
    assert str(root / FILE) in reason
    (root / FILE).unlink()
    assert status(root) == ("missing", f"{root / FILE}: no such file")


def test_every_listed_case_is_compared_and_unknown_ones_are_said_to_be_so(root):
    slice_path(root, NAME).unlink()
    checks = {check.file: check for check in check_root(Acdc(root))}
    assert len(checks) == 12 + 1 + 1
    assert checks[FILE].status == "missing"
    assert checks["data/p91_frame01.h5"].split == "val"
    assert checks["data/p92_frame01.h5"].status == "no figures known"  # the test volume
    assert sum(check.status == "identical" for check in checks.values()) == 12
    (root / "data/p92_frame01.h5").unlink()
    (root / "val.list").unlink()
    assert {check.split for check in check_root(Acdc(root))} == {"train"}  # the others are absent


def test_a_locked_file_is_unreadable_not_damaged(root, monkeypatch):
    def locked(*_, **__):
        raise BlockingIOError(11, "unable to lock file")

    monkeypatch.setattr(h5py, "File", locked)
    found, reason = status(root)
    assert found == "unreadable"
    assert reason.startswith(f"{root / FILE}: locked, another program has it open")


def test_cases_without_figures_are_still_looked_at(root):
    path = root / "data/p92_frame01.h5"
    image, label = rings((3, 20, 24), 7)
    write_case(path, image=image, label=label + 9)
    (check,) = [check for check in check_root(Acdc(root)) if check.split == "test"]
    assert check.status == "damaged"
    assert "whole numbers 0 to 3" in check.reason
    with (root / "train_slices.list").open("a") as file:
        file.write("p9_frame01_slice_1\n")
    image, label = rings((20, 24), 7)
    write_case(slice_path(root, "p9_frame01_slice_1"), image=image, label=label)
    checks = [check for check in check_root(Acdc(root)) if check.split == "train"]
    assert [check.status for check in checks][-2:] == ["identical", "no figures known"]


# The doctor


def doctor(capsys, *words: object) -> tuple[int, str]:
    try:
        code = main(["doctor", *map(str, words)])
    except SystemExit as stopped:
        code = stopped.code
    return code, capsys.readouterr().out


def test_doctor_counts_identical_cases(root, capsys):
    code, text = doctor(capsys, "--source", "acdc", "--root", root)
    assert code == 0
    assert "train       complete: 12 of 12 files" in text
    assert "train       identical 12 of 12 slices" in text
    assert "val         identical 1 of 1 volumes" in text
    assert "test        no figures known for 1 of 1 volumes" in text
    assert "so nothing here tells whether they are the public ones" in text
    assert "precision" in text
    assert "threads" in text


def test_doctor_lists_ten_problems_and_counts_the_rest(root, capsys):
    slices = sorted((root / "data" / "slices").glob("*.h5"))
    slices[0].unlink()
    slices[1].write_bytes(b"cut")
    for path in slices[2:]:
        image, label = rings((20, 24), 7)
        write_case(path, image=image, label=label)
    code, text = doctor(capsys, "--root", root)
    assert code == 1
    assert "identical 0 of 12 slices" in text
    assert f"    missing: {slices[0]}" in text
    assert f"    damaged: {slices[1]}" in text
    assert text.count("    different: ") == 8
    assert "    and 2 more" in text
    code, text = doctor(capsys, "--root", root, "--no-check")
    assert code == 1  # one file is missing
    assert "different" not in text


def test_doctor_notices_a_shuffled_list(root, capsys):
    names = read_list(root / "train_slices.list")
    (root / "train_slices.list").write_text("\n".join(names[::-1]))
    code, text = doctor(capsys, "--root", root)
    assert code == 1
    assert "identical 12 of 12 slices" in text
    assert "order       OTHER than in the public lists" in text
    (root / "train_slices.list").write_text("\n".join(names[:6]))  # fewer, but in order
    assert doctor(capsys, "--root", root)[0] == 0


def test_doctor_finds_both_data_sets_one_folder_down(root, capsys):
    la = root.parent / "LA"
    names = [f"SCAN{k:02d}" for k in range(12)]
    la.mkdir()
    (la / "train.list").write_text("\n".join(names))
    for name in names:
        image, label = rings((3, 8, 8), 1)
        path = la / "2018LA_Seg_Training Set" / name / "mri_norm2.h5"
        write_case(path, image=image, label=(label > 0).astype("u1"))
    assert found_in(root.parent) == [("acdc", root), ("la", la)]
    code, text = doctor(capsys, "--root", root.parent)
    assert code == 0
    assert "acdc in" in text
    assert "la in" in text
    assert "val         complete: 10 of 10 files" in text
    shutil.rmtree(path.parent)  # the last scan
    code, text = doctor(capsys, "--root", root.parent)
    assert code == 1
    assert "INCOMPLETE: 9 of 10 files" in text


def test_doctor_without_a_folder_looks_at_the_phantom_and_says_what_a_wrong_folder_lacks(
    tmp_path, capsys
):
    assert found_in(None) == [("phantom", None)]
    code, text = doctor(capsys, "--root", tmp_path)
    assert code == 1
    assert "train_slices.list (acdc)" in text
    assert doctor(capsys, "--root", tmp_path / "nope")[0] == 1
    with pytest.raises(DataError, match="no such folder"):
        found_in(tmp_path / "nope")


def test_the_phantom_has_no_figures_and_needs_none(root):
    (root / "phantom.json").write_text("{}")
    text, healthy = report(None, root)
    assert healthy
    assert "phantom in" in text
    assert "figures" not in text
    (root / "train_slices.list").unlink()  # LA's layout
    (root / "train.list").write_text("x")
    assert found_in(root) == [("phantom_la", root)]
    (root / "dataset.json").write_text("{}")
    (root / "phantom.json").unlink()
    assert found_in(root) == [("own", root)]
