"""Every odd file that a user met is read rightly or refused in one sentence, at once and cheaply."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from odd_files import FOLDERS, H5, INFO, LABELS, VOLUMES, Reads, main, scans
from raw_files import write_acdc_patient

from buarl.data.h5 import DataError, read_case
from buarl.data.source import open_source
from buarl.files.convert_acdc import find_frames
from buarl.files.convert_folder import convert_folder
from buarl.files.layout import whole_numbers
from buarl.files.predict_files import find_inputs
from buarl.files.scans import find_scans
from buarl.files.volume import read_volume

SECONDS, BYTES = 2.0, 30e6  # all files here are small, so is what they may cost


@pytest.fixture
def cheap():
    """The test takes neither long nor much memory."""
    tracemalloc.start()
    begun = time.perf_counter()
    yield
    seconds, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < BYTES


def sentence(call, *words):
    """A DataError of one line that holds all words."""
    with pytest.raises(DataError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    for word in words:
        assert str(word) in said
    return said


@pytest.fixture
def made(request, tmp_path):
    """The case that the test is asked for, and its path."""
    odd = request.param
    return odd, odd.make(tmp_path)


def cases(group):
    return pytest.mark.parametrize("made", group.values(), ids=group, indirect=True)


@cases(VOLUMES)
def test_volumes(made, cheap):
    odd, path = made
    if not isinstance(odd.right, Reads):
        sentence(lambda: read_volume(path), path, *odd.right.words)
        return
    volume = read_volume(path)
    np.testing.assert_allclose(volume.spacing, odd.right.spacing, rtol=1e-5)
    np.testing.assert_allclose(volume.affine[:3, 3], odd.right.origin, atol=1e-5)
    np.testing.assert_array_equal(volume.array, odd.right.voxels)


@cases(LABELS)
def test_labels(made, cheap):
    odd, path = made
    read = lambda: whole_numbers(path, read_volume(path).array)  # noqa: E731
    if isinstance(odd.right, Reads):
        np.testing.assert_array_equal(read(), odd.right.voxels)
    else:
        sentence(read, path, *odd.right.words)


@cases(H5)
def test_h5(made, cheap):
    odd, path = made
    sentence(lambda: read_case(path, "case", 3, 2), path, *odd.right.words)


@cases(FOLDERS)
def test_folders(made, tmp_path):
    odd, folder = made
    out, shares = tmp_path / "out", {"val": 0.2, "test": 0.2}
    convert = lambda: convert_folder(folder / "images", out, labels=folder / "labels", **shares)  # noqa: E731
    if odd.right:
        sentence(convert, folder, *odd.right.words)
        assert not out.exists()
        return
    found = find_scans(folder / "images", folder / "labels", None)
    assert len(found) == sum(scan.label is not None for scan in found.values()) == 6
    assert convert().cases == {"train": 4, "val": 1, "test": 1}
    source = open_source("own", out)
    assert len(source.samples_with_label()) == 4
    for split in ("train", "val", "test"):
        for case in source.listed(split):
            assert source.volume(case).label.any()


def test_the_pattern_that_the_message_names_works(tmp_path):
    folder = FOLDERS["numbered"].make(tmp_path)
    options = {"labels": folder / "labels", "patient": "([^_]+_[^_]+)", "val": 0.2, "test": 0.2}
    report = convert_folder(folder / "images", tmp_path / "out", **options)
    assert report.cases == {"train": 4, "val": 1, "test": 1}
    assert "6 files are 6 patients, e.g. 'la_000' is of patient 'la_000'" in report.text()


@pytest.mark.parametrize(
    "names", ["{}ED {}ES", "{}-es {}-ED", "ED-{} ES-{}", "{}-frame01 {}-frame12"]
)
def test_two_times_of_a_heart_in_two_splits_are_named(tmp_path, names):
    stems = [stem.format(f"00{k}") for k in range(5) for stem in names.split()]
    files = [f"{stem}.nii.gz" for stem in stems]
    scans(tmp_path, files, files)
    options = {"labels": tmp_path / "labels", "val": 0.2, "test": 0.2}
    text = convert_folder(tmp_path / "images", tmp_path / "out", **options).text()
    assert "warning: " in text
    assert "look like one patient at two times but stand in" in text
    right = {**options, "patient": r".*?(00\d)"}
    text = convert_folder(tmp_path / "images", tmp_path / "right", **right).text()
    assert "warning" not in text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_info_cfg_in_every_encoding(tmp_path, encoding):
    folder = write_acdc_patient(tmp_path / "patient001", 1)
    (folder / "Info.cfg").write_bytes((INFO + "Remark: Universit\u00e9\r\n").encode(encoding))
    assert list(find_frames(tmp_path)) == ["patient001_frame01", "patient001_frame02"]


@pytest.mark.parametrize("ending", [".NII.GZ", ".Nii"])
def test_a_release_with_endings_in_capitals(tmp_path, ending):
    folder = write_acdc_patient(tmp_path / "patient001", 1)
    path = folder / "patient001_frame12.nii.gz"
    path.rename(folder / f"patient001_frame12{ending}")
    frames = find_frames(tmp_path)
    assert frames["patient001_frame02"][0].name == f"patient001_frame12{ending}"


def test_the_copy_of_acdc_that_unpacks_files_into_folders(tmp_path):
    folder = write_acdc_patient(tmp_path / "patient001", 1)
    path = folder / "patient001_frame01.nii.gz"
    inner = folder / "patient001_frame01.nii" / "patient001_frame01.nii"
    inner.parent.mkdir()
    path.rename(inner)
    sentence(lambda: find_frames(tmp_path), inner.parent, "a folder", f"'{inner.name}'", "move")


def test_predict_lists_files_by_the_same_rules(tmp_path):
    assert len(find_inputs(FOLDERS["one_upper"].make(tmp_path / "a") / "images")) == 6
    images = FOLDERS["image_mha"].make(tmp_path / "b") / "images"
    sentence(lambda: find_inputs(images), "p5_a.mha", ".nrrd, .h5 can be read")
    twice = FOLDERS["unicode_twice"].make(tmp_path / "c") / "images"
    sentence(lambda: find_inputs(twice), "stands twice")


def test_the_generator_writes_the_table(tmp_path):
    main(tmp_path / "odd")
    rows = (tmp_path / "odd" / "expected.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + sum(map(len, (VOLUMES, LABELS, H5, FOLDERS)))
