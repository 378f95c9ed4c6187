"""The official releases become the public h5 layout, voxel for voxel; every fault stops all."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from raw_files import (
    AFFINE,
    SHAPE,
    SPACING,
    image_of,
    label_of,
    write_acdc,
    write_acdc_patient,
    write_la,
    write_nifti,
    write_nrrd,
)
from tiny import PRESET

pytest.importorskip("nibabel")
pytest.importorskip("nrrd")

from buarl.commands.files import ConvertAcdc, ConvertLa
from buarl.data.batches import Batches
from buarl.data.h5 import DataError
from buarl.data.source import open_source
from buarl.evaluation.watch import watch_run
from buarl.files import convert_acdc as acdc
from buarl.files.convert_acdc import convert_acdc
from buarl.files.convert_la import convert_la, crop_box
from buarl.files.manifest import check_root
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import run_experiment


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_acdc(tmp_path_factory.mktemp("ACDC official") / "database")


@pytest.fixture
def raw(release, tmp_path):
    return Path(shutil.copytree(release, tmp_path / "raw"))


@pytest.fixture(scope="module")
def converted(release, tmp_path_factory):
    out = tmp_path_factory.mktemp("out put") / "ACDC"
    return convert_acdc(release, out, seed=3), open_source("acdc", out)


def fault(call, out, *parts):
    """A DataError that says all parts, and no trace of the output."""
    with pytest.raises(DataError) as caught:
        call()
    for part in parts:
        assert str(part) in str(caught.value)
    assert not out.exists()
    assert [p.name for p in out.parent.iterdir() if p.name.startswith(".")] == []


# ACDC


def test_acdc_voxels_axes_spacing_and_affine(converted):
    _, source = converted
    for name in source.training_names():
        case, _, number = name.partition("_slice_")
        seed, frame = int(case[7:10]), {"01": 1, "02": 12}[case[-2:]]
        raw, k = image_of(100 * seed + frame).astype(float), int(number) - 1
        sample = source.training_sample(name)
        wanted = (raw - raw.min()) / (raw.max() - raw.min())  # of the volume, not of the slice
        np.testing.assert_array_equal(sample.image, wanted[:, :, k].T.astype(np.float32))
        np.testing.assert_array_equal(sample.label, label_of(seed + frame)[:, :, k].T)
        with h5py.File(source.slice_path(name)) as file:
            np.testing.assert_allclose(file.attrs["spacing"], [2.0, 1.5], rtol=1e-6)
            np.testing.assert_allclose(file.attrs["affine"] @ [0, 0, 0, 1], AFFINE @ [0, 0, k, 1])
    case = source.cases("test")[0]
    volume = source.volume(case)
    assert volume.image.shape == volume.label.shape == SHAPE[::-1]
    assert (volume.image[-1, 0, -1], volume.image.min()) == (1, 0)  # the marked corner
    np.testing.assert_allclose(volume.spacing, SPACING[::-1], rtol=1e-6)
    with h5py.File(source.volume_path(case)) as file:
        np.testing.assert_allclose(file.attrs["affine"], AFFINE, atol=1e-5)
        assert file.attrs["source"].startswith(case[:10])
        assert (file["image"].dtype, file["label"].dtype) == (np.float32, np.uint8)


def test_acdc_splits_hold_every_patient_once_with_both_frames(converted):
    report, source = converted
    splits = {split: source.listed(split) for split in ("train", "val", "test")}
    assert report.cases == {"train": 8, "val": 2, "test": 2}
    assert len(source.training_names()) == 8 * SHAPE[2]
    patients = [{source.patient(case) for case in cases} for cases in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 6
    assert {case[-8:] for cases in splits.values() for case in cases} == {"_frame01", "_frame02"}
    assert "12 volumes: 8 train, 2 val, 2 test" in report.text()


def test_frames_are_numbered_by_time_even_if_systole_comes_first(tmp_path):
    for seed in range(1, 5):
        write_acdc_patient(tmp_path / "raw" / f"patient{seed:03d}", seed, ed=9, es=4)
    convert_acdc(tmp_path / "raw", tmp_path / "out")
    for frame, number in (("01", 4), ("02", 9)):
        with h5py.File(tmp_path / "out" / "data" / f"patient002_frame{frame}.h5") as file:
            np.testing.assert_array_equal(file["label"], label_of(2 + number).T)
            assert file.attrs["source"] == f"patient002_frame{number:02d}.nii.gz"


def test_seed_alone_decides_the_split(release, converted, tmp_path):
    _, source = converted
    convert_acdc(release, tmp_path / "same", seed=3)
    convert_acdc(release, tmp_path / "other", seed=4)
    lists = [
        [(root / f"{s}.list").read_bytes() for s in ("train_slices", "train", "val", "test")]
        for root in (source.root, tmp_path / "same", tmp_path / "other")
    ]
    assert lists[0] == lists[1] != lists[2]


def write_lists(folder, **lists):
    folder.mkdir(exist_ok=True)
    for name, cases in lists.items():
        (folder / f"{name}.list").write_text("\n".join(cases) + "\n")
    return folder


def both(*patients):
    return [f"patient{n:03d}_frame{k:02d}" for n in patients for k in (1, 2)]


def test_given_lists_are_kept_in_their_order_and_others_left_out(release, tmp_path):
    slices = [f"{case}_slice_{k}" for case in both(4, 1) for k in (3, 1, 5, 2, 4)]
    lists = write_lists(tmp_path / "l", train_slices=slices, val=both(2), test=both(6))
    report = convert_acdc(release, tmp_path / "out", lists=lists)
    source = open_source("acdc", tmp_path / "out")
    assert source.training_names() == slices
    assert [source.listed(split) for split in ("train", "val", "test")] == [
        both(4, 1),
        both(2),
        both(6),
    ]
    assert "2 patients stand in no list" in report.text()
    (lists / "train_slices.list").unlink()
    write_lists(lists, train=both(5, 3))
    convert_acdc(release, tmp_path / "out2", lists=lists)
    names = open_source("acdc", tmp_path / "out2").training_names()
    assert names[:6] == [f"patient005_frame01_slice_{k}" for k in range(1, 6)] + [
        "patient005_frame02_slice_1"
    ]


def test_a_mount_point_is_refused_before_anything_is_converted(release, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out)
    monkeypatch.setattr(acdc, "_write_case", None)
    with pytest.raises(DataError, match="is a mount point; name a new folder inside it"):
        convert_acdc(release, out)


def test_bad_lists(release, tmp_path, monkeypatch):
    out, lists = tmp_path / "out", tmp_path / "l"
    good = {"train": both(1, 2), "val": both(3), "test": both(4)}
    slices = [f"{case}_slice_{k + 1}" for case in both(1, 2) for k in range(5)]

    def refuse(*parts, **change):
        shutil.rmtree(lists, ignore_errors=True)
        write_lists(lists, **(good | change))
        fault(lambda: convert_acdc(release, out, lists=lists), out, *parts)

    refuse("val.list", "stands twice", val=both(3, 3))
    refuse("one split only", "'patient002'", "train and val", val=["patient002_frame02"])
    refuse("test.list", "1 of 2 volumes", "'patient099_frame01'", test=both(4, 99)[1:3])
    refuse("train_slices.list", "1 differ", train_slices=slices[1:])
    refuse("train_slices.list", "_slice_6", train_slices=[*slices, "patient001_frame01_slice_6"])
    refuse("train_slices.list", "differs in", train_slices=slices[:10])
    write, written = acdc._write_case, []
    monkeypatch.setattr(acdc, "_write_case", lambda *a: written.append(a[1]) or write(*a))
    from_zero = [f"{case}_slice_{k}" for case in both(1, 2) for k in range(5)]
    refuse(
        "train_slices.list", "2 differ, first 'patient001_frame01_slice_0'", train_slices=from_zero
    )
    assert written == ["patient001_frame01"]  # told by the first volume, not after the last
    for name in ("../up", "/root", "a/b", "C:x", "..\\up"):
        refuse("val.list", val=[name])
    shutil.rmtree(lists)
    fault(lambda: convert_acdc(release, out, lists=lists), out, "train.list", "does not exist")


P = "training/patient002"
FRAME, TRUTH = f"{P}/patient002_frame12.nii.gz", f"{P}/patient002_frame12_gt.nii.gz"


def shifted_affine(millimetres):
    affine = AFFINE.copy()
    affine[0, 3] += millimetres
    return affine


def relabeled(value, by):
    label = label_of(14)
    label[label == value] = by
    return label


def with_nan(array):
    array = array.astype(np.float32)
    array[0, 0, 0] = np.nan
    return array


ACDC_FAULTS = {
    "no Info.cfg": (lambda r: (r / P / "Info.cfg").unlink(), P, "Info.cfg", "names its frames"),
    "no ES": (lambda r: (r / P / "Info.cfg").write_text("ED: 1\n"), "Info.cfg", "`ES: number`"),
    "ES no number": (lambda r: (r / P / "Info.cfg").write_text("ED: 1\nES: x"), "found x"),
    "ED is ES": (lambda r: (r / P / "Info.cfg").write_text("ED: 1\nES: 1"), "both are 1"),
    "no frame": (lambda r: (r / FRAME).unlink(), "patient002_frame12.nii.gz", "does not exist"),
    "no truth": (lambda r: (r / TRUTH).unlink(), "patient002_frame12_gt", "does not exist"),
    "other shape": (
        lambda r: write_nifti(r / TRUTH, label_of(1, shape=(12, 10, 6))),
        TRUTH,
        "label shape (12, 10, 6) differs",
    ),
    "other place": (
        lambda r: write_nifti(r / TRUTH, label_of(14), shifted_affine(1)),
        TRUTH,
        "one affine",
        "1 mm apart",
        "no-check-affine",
    ),
    "a class less": (lambda r: write_nifti(r / TRUTH, relabeled(2, 0)), TRUTH, "[0, 1, 3]"),
    "two values": (lambda r: write_nifti(r / TRUTH, label_of(0, 2)), TRUTH, "[0, 1]"),
    "unknown value": (lambda r: write_nifti(r / TRUTH, relabeled(2, 9)), TRUTH, "[0, 1, 3, 9]"),
    "fractions": (lambda r: write_nifti(r / TRUTH, label_of(0) / 2), TRUTH, "whole", "0.5"),
    "nan": (lambda r: write_nifti(r / FRAME, with_nan(image_of(0))), FRAME, "finite"),
    "4-D": (lambda r: write_nifti(r / FRAME, image_of(0)[..., None]), FRAME, "3 axes"),
    "constant": (lambda r: write_nifti(r / FRAME, image_of(0) * 0), FRAME, "more than one grey"),
    "damaged": (
        lambda r: (r / FRAME).write_bytes((r / FRAME).read_bytes()[:-300]),
        FRAME,
        "damaged or cut short",
    ),
    "twice": (lambda r: shutil.copytree(r / P, r / "testing" / "patient002"), "stands twice"),
}


@pytest.mark.parametrize("name", ACDC_FAULTS)
def test_each_fault_of_an_acdc_release(raw, tmp_path, name):
    inject, *parts = ACDC_FAULTS[name]
    inject(raw)
    fault(lambda: convert_acdc(raw, tmp_path / "out"), tmp_path / "out", *parts)


def test_a_header_known_to_be_wrong_can_be_accepted(raw, tmp_path):
    write_nifti(raw / TRUTH, label_of(14), shifted_affine(1))
    convert_acdc(raw, tmp_path / "out", check_affine=False)
    assert (tmp_path / "out" / "train.list").is_file()


def test_output_is_only_a_new_or_empty_folder(release, tmp_path):
    kept = tmp_path / "full" / "mine.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    for out in (kept.parent, kept):
        with pytest.raises(DataError, match="must be new or empty"):
            convert_acdc(release, out)
    assert [p.name for p in kept.parent.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    convert_acdc(release, tmp_path / "empty")
    assert open_source("acdc", tmp_path / "empty").cases("val")


def test_no_release_and_too_few_patients(tmp_path):
    out = tmp_path / "out"
    fault(lambda: convert_acdc(tmp_path / "nope", out), out, "nope", "Info.cfg")
    write_acdc_patient(tmp_path / "raw" / "patient001", 1)
    fault(lambda: convert_acdc(tmp_path / "raw", out), out, "1 patient", "one to train")
    fault(lambda: convert_acdc(tmp_path / "raw", out, val=1.5), out, "shares", "1.5")


def test_training_on_a_converted_release(converted, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESET, steps=2, labeled_batch=2))
    row = Experiment(method="mean_teacher", source="acdc", labeled=2, preset="tiny")
    result = run_experiment(row, converted[1], tmp_path / "run")
    assert all(np.isfinite(line["student_loss"]) for line in result.history)


def test_command_says_what_it_did_and_what_comes_next(release, tmp_path, capsys):
    out = tmp_path / "with space"
    ConvertAcdc(release, out).run()
    text = capsys.readouterr().out
    assert "12 volumes: 8 train, 2 val, 2 test" in text
    assert f'buarl doctor --source acdc --root "{out}"' in text


# LA


def la_file(root, case):
    return root / "2018LA_Seg_Training Set" / case / "mri_norm2.h5"


def test_la_whole_volumes_keep_axes_and_numbers(tmp_path):
    raw = write_la(tmp_path / "raw", scans=16, unlabeled=2)
    report = convert_la(raw, tmp_path / "out", crop="none")
    source = open_source("la", tmp_path / "out")
    assert report.cases == {"train": 13, "test": 3}
    names = source.training_names()
    assert names[-2:] == ["CASE14", "CASE15"]  # without labels: after all others, not held out
    assert len(names) == 3
    grey = image_of(14, (40, 30, 4)).astype(float)
    sample = source.training_sample("CASE14", labeled=False)
    np.testing.assert_array_equal(
        sample.image, ((grey - grey.mean()) / grey.std()).astype(np.float32)
    )
    assert sample.image.argmax() == np.ravel_multi_index((39, 0, 3), (40, 30, 4))
    with pytest.raises(DataError, match="'label'"):
        source.training_sample("CASE14")
    for case in source.cases("val") + source.cases("test"):
        label = source.volume(case).label
        assert label.sum() == 10 * (8 + int(case[4:]) % 3) * 2
        assert label[15:25, 11:19, 1:3].all()
    np.testing.assert_allclose(source.volume(case).spacing, SPACING, rtol=1e-6)
    with h5py.File(la_file(source.root, "CASE14")) as file:
        np.testing.assert_allclose(file.attrs["affine"], AFFINE, atol=1e-5)
        assert file.attrs["source"] == "lgemri.nrrd"


def test_la_with_unlabeled_scans_is_watched_trained_on_and_not_called_damaged(tmp_path):
    convert_la(write_la(tmp_path / "raw", scans=16, unlabeled=2), tmp_path / "out", crop="none")
    source = open_source("la", tmp_path / "out")
    assert source.samples_with_label() == ["CASE09"]
    assert source.split_labeled(None) == (["CASE09"], ["CASE14", "CASE15"])
    row = Experiment("supervised", source="la", labeled=None, preset="toy")
    watch = watch_run(source, config_for(row), tmp_path)
    watch.begin({})
    images = Batches(source, None, (16, 16, 16))
    assert (len(images.labeled), len(images.unlabeled)) == (1, 2)
    assert {each.status for each in check_root(source)} == {"different"}  # not 88 slices
    (source.volume_path("CASE15")).write_bytes(b"no h5")
    found = {each.file: each.status for each in check_root(source)}
    assert found[source.volume_path("CASE15").relative_to(source.root).as_posix()] == "damaged"


def test_la_crop_is_a_part_of_the_whole_at_its_place(tmp_path):
    shape = (200, 190, 4)
    raw = write_la(tmp_path / "raw", scans=14, shape=shape)
    convert_la(raw, tmp_path / "whole", crop="none")
    convert_la(raw, tmp_path / "cut", crop="label")
    starts = set()
    for case in ("CASE00", "CASE07"):
        with (
            h5py.File(la_file(tmp_path / "whole", case)) as whole,
            h5py.File(la_file(tmp_path / "cut", case)) as cut,
        ):
            start = np.linalg.solve(whole.attrs["affine"], cut.attrs["affine"][:, 3])[:3]
            start = start.round(4).astype(int)
            starts.add(tuple(start))
            part = tuple(slice(a, a + n) for a, n in zip(start, cut["image"].shape, strict=True))
            for key in ("image", "label"):
                np.testing.assert_array_equal(cut[key], whole[key][part])
            assert cut["label"][...].sum() == whole["label"][...].sum()
            assert cut["image"].shape[2] == 4
            assert (cut.attrs["spacing"] == whole.attrs["spacing"]).all()
    assert len(starts) == 2


def test_crop_by_hand():
    """docs/protocol.md 1.2: label 60..69 in x is 9 long, so (112 - 9) // 2 = 51 on each side."""
    label = np.zeros((300, 300, 6), bool)
    label[130:140, 100:250, 2:4] = True  # y is longer than the patch: margin only
    x, y, z = crop_box(label, "CASE", 1)
    assert 10 <= 130 - 51 - x.start <= 19
    assert 10 <= x.stop - 139 - 51 <= 19
    assert 10 <= 100 - y.start <= 19
    assert 10 <= y.stop - 249 <= 19
    assert z == slice(0, 6)
    assert crop_box(label, "CASE", 1) == (x, y, z) != crop_box(label, "CASE", 2)
    margins = {130 - 51 - crop_box(label, f"CASE{k}", 1)[0].start for k in range(200)}
    assert margins == set(range(10, 20))
    label[:] = False
    label[3, 298, 0] = True
    x, y, _ = crop_box(label, "CASE", 1)
    assert (x.start, y.stop) == (0, 300)


def test_la_lists_are_kept(tmp_path):
    raw = write_la(tmp_path / "raw", scans=14)
    names = [f"CASE{k:02d}" for k in range(13, -1, -1)]
    lists = write_lists(tmp_path / "l", train=names[:12], test=names[12:])
    ConvertLa(raw, tmp_path / "out", lists=lists).run()
    source = open_source("la", tmp_path / "out")
    assert source.training_names() == names[:2]
    assert source.cases("test") == names[12:]


LA = "CASE03/laendo.nrrd"
LA_FAULTS = {
    "mask 0, 1": (lambda r: write_nrrd(r / LA, label_of(0, 2, (40, 30, 4))), LA, "0 and 255"),
    "no atrium": (lambda r: write_nrrd(r / LA, label_of(0, 1, (40, 30, 4))), LA, "got [0]"),
    "other shape": (lambda r: write_nrrd(r / LA, label_of(0)), LA, "label shape"),
    "other place": (
        lambda r: write_nrrd(r / LA, 255 * label_of(0, 2, (40, 30, 4)), shifted_affine(3)),
        LA,
        "3 mm apart",
    ),
    "no mask": (lambda r: (r / LA).unlink(), LA, "crop='none'"),
    "damaged": (lambda r: (r / LA).write_bytes((r / LA).read_bytes()[:-20]), LA, "cut short"),
    "too few": (lambda r: [shutil.rmtree(r / f"CASE{k:02d}") for k in (1, 2)], "more than 10"),
}


@pytest.fixture(scope="module")
def la_release(tmp_path_factory):
    return write_la(tmp_path_factory.mktemp("la") / "raw", scans=14)


@pytest.mark.parametrize("name", LA_FAULTS)
def test_each_fault_of_an_la_release(la_release, tmp_path, name):
    raw = Path(shutil.copytree(la_release, tmp_path / "raw"))
    inject, *parts = LA_FAULTS[name]
    inject(raw)
    fault(lambda: convert_la(raw, tmp_path / "out"), tmp_path / "out", *parts)


def test_la_arguments_and_lists_that_break_a_rule(la_release, tmp_path):
    out, names = tmp_path / "out", [f"CASE{k:02d}" for k in range(14)]
    fault(lambda: convert_la(tmp_path / "no", out), out, "lgemri.nrrd")
    fault(lambda: convert_la(la_release, out, crop="all"), out, "crop must be one of", "'all'")

    def refuse(raw, train, test, *parts):
        lists = write_lists(tmp_path / "l", train=train, test=test)
        fault(lambda: convert_la(raw, out, crop="none", lists=lists), out, *parts)

    refuse(la_release, names[:12], names[11:], "one split only", "'CASE11'")
    refuse(la_release, names[:12], ["CASE99"], "test.list", "'CASE99'")
    raw = write_la(tmp_path / "raw", scans=14, unlabeled=1)
    refuse(raw, names[:12], names[12:], "CASE13", "laendo.nrrd")
    refuse(raw, names[1:], names[:1], "CASE13", "to evaluate on")
