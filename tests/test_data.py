"""The reader names the file and the rule for every fault; the splits follow the list order."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, strategies as st
from tiny import SHAPES, rings, slice_path, write_case, write_tiny

from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError, read_case, read_list
from buarl.data.la import La
from buarl.data.source import open_source

REAL_LISTS = Path("/work/shared/data/lists/ACDC")
NAME = "p1_frame01_slice_1"


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("with a space") / "tiny acdc")


@pytest.fixture
def root(shared_root, tmp_path):
    return Path(shutil.copytree(shared_root, tmp_path / "root"))


def fault(call, *parts):
    with pytest.raises(DataError) as caught:
        call()
    for part in parts:
        assert str(part) in str(caught.value)


# Reading what is right


def test_reads_what_was_written_with_a_space_in_the_folder(shared_root):
    source = open_source("acdc", str(shared_root))
    image, label = rings(SHAPES[0], 11)
    sample = source.training_sample(NAME)
    assert sample.case == NAME
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(sample.label, label)
    assert (sample.image.dtype, sample.label.dtype) == (np.float32, np.uint8)
    volume = source.volume(source.cases("val")[0])
    assert volume.image.shape == volume.label.shape == (3, 20, 24)


def test_unlabeled_sample_needs_no_label_and_returns_none(root):
    path = slice_path(root, NAME)
    assert read_case(path, NAME, 2, 4, labeled=False).label is None  # even where there is one
    write_case(path, image=np.zeros((20, 24)))
    assert read_case(path, NAME, 2, 4, labeled=False).image.shape == (20, 24)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64", "bool"])
def test_label_of_any_numeric_type_becomes_uint8(tmp_path, dtype):
    label = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    path = write_case(tmp_path / "a.h5", image=np.ones((3, 4), "float64"), label=label)
    sample = read_case(path, "a", 2, 2)
    assert sample.label.dtype == np.uint8
    assert sample.image.dtype == np.float32
    np.testing.assert_array_equal(sample.label, label.astype(int))


def test_list_may_have_endings_blank_lines_and_windows_line_ends(tmp_path):
    (tmp_path / "x.list").write_bytes(b"a_1.h5\r\n\r\n  b_1  \n")
    assert read_list(tmp_path / "x.list") == ["a_1", "b_1"]


def test_a_split_that_is_not_opened_may_be_absent(root):
    (root / "val.list").unlink()
    source = Acdc(root)
    assert len(source.training_names()) == 12
    assert source.cases("test") == ["p92_frame01"]
    fault(lambda: source.cases("val"), root / "val.list", "does not exist")


def test_callers_cannot_change_the_cached_list(shared_root):
    source = Acdc(shared_root)
    source.training_names().clear()
    assert len(source.training_names()) == 12


# Faults of a source


def test_missing_root_prints_the_expected_tree(tmp_path):
    fault(lambda: open_source("acdc", tmp_path / "nope"), tmp_path / "nope", Acdc.tree)
    fault(lambda: open_source("acdc", tmp_path), tmp_path, "no train_slices.list", Acdc.tree)
    file = write_case(tmp_path / "a.h5", image=np.zeros(1))
    fault(lambda: open_source("acdc", file), file, "no such folder")


def test_the_folder_of_another_data_set_is_recognized(tmp_path):
    """ACDC's release has a train.list too, so it could be opened as LA and fail at its first file."""
    acdc, la = tmp_path / "a", tmp_path / "b"
    for folder, lists in ((acdc, ("train_slices.list", "train.list")), (la, ("train.list",))):
        folder.mkdir()
        for name in lists:
            (folder / name).write_text("x\n")
    fault(
        lambda: open_source("la", acdc), "it looks like the data of acdc (--source acdc)", La.tree
    )
    fault(lambda: open_source("acdc", la), "it looks like the data of la (--source la)", Acdc.tree)
    fault(lambda: open_source("own", la), "no dataset.json, it looks like the data of la")
    fault(lambda: open_source("phantom", acdc), "no phantom.json, it looks like the data of acdc")
    (own := tmp_path / "c").mkdir()
    for name in ("dataset.json", "train.list"):
        (own / name).write_text("x\n")
    said = "it looks like the data of own (--source own_2d or own_3d)"
    fault(lambda: open_source("la", own), said)
    fault(lambda: open_source("acdc", own), said)
    fault(lambda: open_source("own_2d", tmp_path), f"but {own} has it (--root)")
    fault(lambda: open_source("acdc", tmp_path), f"but {acdc} has it (--root)", Acdc.tree)
    (acdc / "2018LA_Seg_Training Set").mkdir()  # both in one folder
    assert open_source("la", acdc).name == "la"


def test_acdc_without_root_and_unknown_source():
    fault(lambda: open_source("acdc"), "acdc needs the folder", Acdc.tree)
    fault(lambda: open_source("ACDC", "x"), "source must be one of", "phantom", "'ACDC'")


def test_unknown_split(shared_root):
    fault(lambda: Acdc(shared_root).cases("validation"), "split must be one of", "'validation'")


def test_listed_case_without_a_file(root):
    slice_path(root, NAME).unlink()
    fault(lambda: Acdc(root).training_sample(NAME), slice_path(root, NAME), "does not exist")
    (root / "data" / "p91_frame01.h5").unlink()
    fault(lambda: Acdc(root).cases("val"), "val.list", "1 of 1", root / "data" / "p91_frame01.h5")
    fault(lambda: Acdc(root).volume("p91_frame01"), root / "data" / "p91_frame01.h5")


def test_empty_list_and_duplicate(root):
    path = root / "train_slices.list"
    path.write_text("\n  \n")
    fault(Acdc(root).training_names, path, "at least one case")
    path.write_text("a_1\nb_1\na_1\n")
    fault(Acdc(root).training_names, path, "'a_1' stands twice")
    path.write_text("a_1\na_1.h5\n")
    fault(Acdc(root).training_names, path, "'a_1' stands twice")


# Faults of a file

IMAGE = np.zeros((4, 5), np.float32)
LABEL = np.zeros((4, 5), np.uint8)


def with_voxel(array, value, dtype=None):
    array = array.astype(dtype or array.dtype)
    array[1, 2] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"label": LABEL}, "needs the key 'image', found ['label']"),
        ({"image": IMAGE}, "needs the key 'label', found ['image']"),
        (
            {"image": IMAGE, "label": LABEL[:3]},
            "label shape (3, 5) differs from image shape (4, 5)",
        ),
        ({"image": IMAGE, "label": LABEL.T}, "label shape (5, 4) differs"),
        ({"image": IMAGE, "label": with_voxel(LABEL, 4)}, "whole numbers 0 to 3, got 0 to 4"),
        ({"image": IMAGE, "label": with_voxel(LABEL, 255)}, "got 0 to 255"),
        ({"image": IMAGE, "label": with_voxel(LABEL, 256, "int32")}, "got 0 to 256"),
        ({"image": IMAGE, "label": with_voxel(LABEL, -1, "int8")}, "got -1 to 0"),
        ({"image": IMAGE, "label": with_voxel(LABEL, 1.5, "float32")}, "whole numbers"),
        ({"image": IMAGE, "label": with_voxel(LABEL, np.nan, "float32")}, "whole numbers"),
        ({"image": with_voxel(IMAGE, np.nan), "label": LABEL}, "finite, got 1 NaN or infinite"),
        ({"image": with_voxel(IMAGE, -np.inf), "label": LABEL}, "finite, got 1 NaN or infinite"),
        ({"image": IMAGE[None], "label": LABEL[None]}, "2 axes, got shape (1, 4, 5)"),
        ({"image": IMAGE[0], "label": LABEL[0]}, "2 axes, got shape (5,)"),
    ],
)
def test_each_fault_of_a_file_names_file_and_rule(tmp_path, arrays, rule):
    path = write_case(tmp_path / "case.h5", **arrays)
    fault(lambda: read_case(path, "case", 2, 4), path, rule)


def test_unlabeled_image_is_checked_too(tmp_path):
    path = write_case(tmp_path / "case.h5", image=with_voxel(IMAGE, np.nan))
    fault(lambda: read_case(path, "case", 2, 4, labeled=False), path, "finite")


def test_2d_file_where_a_volume_is_wanted(root):
    write_case(root / "data" / "p91_frame01.h5", image=IMAGE, label=LABEL)
    fault(lambda: Acdc(root).volume("p91_frame01"), "p91_frame01.h5", "3 axes, got shape (4, 5)")


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    path = tmp_path_factory.mktemp("h5") / "case.h5"
    image, label = rings((40, 40), 0)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")
    return path, path.read_bytes()


@given(share=st.floats(0, 0.999))
def test_a_file_cut_at_any_byte_is_an_error(compressed, share):
    path, content = compressed
    cut = path.with_name("cut.h5")
    cut.write_bytes(content[: int(len(content) * share)])
    fault(lambda: read_case(cut, "case", 2, 4), cut, "damaged or cut short")


def test_a_file_damaged_inside_is_a_data_error_or_reads(compressed):
    path, content = compressed
    damaged, messages = path.with_name("damaged.h5"), []
    for start in range(0, len(content), 48):  # h5py answers with OSError, RuntimeError or KeyError
        damaged.write_bytes(content[:start] + b"\xa5" * 32 + content[start + 32 :])
        try:
            sample = read_case(damaged, "case", 2, 4)
        except DataError as error:
            messages.append(str(error))
        else:
            assert np.isfinite(sample.image).all()
            assert sample.label.max() < 4
    assert len(messages) > 10
    assert all(str(damaged) in message for message in messages)


def test_image_that_holds_no_numbers(tmp_path):
    path = tmp_path / "case.h5"
    with h5py.File(path, "w") as file:
        file.create_group("image")
        file["label"] = LABEL
    fault(lambda: read_case(path, "case", 2, 4), path)
    write_case(path, image=np.array([[b"a", b"b"]]), label=np.zeros((1, 2)))
    fault(lambda: read_case(path, "case", 2, 4), path)


def test_text_file_with_an_h5_ending(tmp_path):
    path = tmp_path / "case.h5"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    fault(lambda: read_case(path, "case", 2, 4), path, "not a readable h5 file")


# Splits


@pytest.mark.parametrize("labeled", [1, 2, 3, 4, None])
def test_labeled_patients_are_the_first_of_the_list(shared_root, labeled):
    source = Acdc(shared_root)
    ours, others = source.split_labeled(labeled)
    count = 4 if labeled is None else labeled
    assert ours + others == source.training_names()  # patients follow one another in this list
    assert list(dict.fromkeys(map(source.patient, ours))) == [f"p{k + 1}" for k in range(count)]
    assert not set(map(source.patient, ours)) & set(map(source.patient, others))


def test_no_patient_in_both_even_when_patients_are_interleaved(root):
    (root / "train_slices.list").write_text("b_1\na_1\nb_2\nc_1\na_2\n")
    assert Acdc(root).split_labeled(2) == (["b_1", "a_1", "b_2", "a_2"], ["c_1"])


@pytest.mark.parametrize("labeled", [0, -1, 5])
def test_labeled_outside_the_patients_there_are(shared_root, labeled):
    source = Acdc(shared_root)
    fault(lambda: source.split_labeled(labeled), shared_root, "1 to 4", f"got {labeled}")


@pytest.mark.skipif(not REAL_LISTS.is_dir(), reason="the public ACDC lists are not here")
def test_slices_of_the_first_patients_of_acdc():  # docs/protocol.md 1.1
    counts = {1: 32, 2: 48, 3: 68, 4: 84, 5: 102, 7: 136, 14: 256, 70: 1312}
    source = Acdc(REAL_LISTS)
    for patients, slices in counts.items():
        ours, others = source.split_labeled(patients)
        assert (len(ours), len(others)) == (slices, 1312 - slices)
        assert ours == source.training_names()[:slices]
    assert len(source.listed("train")) == 140


def test_la_holds_out_the_last_ten_scans(tmp_path):
    from buarl.data.la import La

    names = [f"SCAN{i:02d}" for i in range(13)]
    (tmp_path / "train.list").write_text("\n".join(names))
    source = La(tmp_path)
    assert source.training_names() == names[:3]
    assert source.listed("val") == names[3:]
    assert source.split_labeled(2) == (names[:2], names[2:3])
    with pytest.raises(DataError, match="10 of 10 volumes have no file"):
        source.cases("val")
    (tmp_path / "train.list").write_text("\n".join(names[:10]))
    with pytest.raises(DataError, match="more than 10 scans are needed"):
        La(tmp_path).training_names()
