"""A file from a stranger: nothing outside it is read, nothing huge is allocated."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from buarl.data.h5 import AccessError, DataError, read_case

IMAGE = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
LABEL = np.eye(4, 5, dtype=np.uint8)


@pytest.fixture
def secret(tmp_path):
    """A file that must never be opened: it is no h5 file, but its bytes would do as an array."""
    path = tmp_path / "secret.bin"
    path.write_bytes(IMAGE.tobytes())
    return path


@pytest.fixture
def other(tmp_path):
    """A whole, right case beside the one that is read."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"], file["label"] = IMAGE, LABEL
    return tmp_path / "other.h5"


def refused(path: Path, *parts: object, labeled: bool = True) -> str:
    with pytest.raises(DataError) as caught:
        read_case(path, "case", 2, 4, labeled=labeled)
    for part in (path, *parts):
        assert str(part) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def case(tmp_path: Path, fill) -> Path:
    """A case whose image `fill(file)` makes; its label is right."""
    with h5py.File(tmp_path / "case.h5", "w") as file:
        fill(file)
        if "label" not in file:
            file["label"] = LABEL
    return tmp_path / "case.h5"


# Arrays that lie elsewhere


@pytest.mark.parametrize("key", ["image", "label"])
def test_external_link_is_refused_although_its_target_is_right(tmp_path, other, key):
    path = tmp_path / "case.h5"
    with h5py.File(path, "w") as file:
        file["image"], file["label"] = IMAGE, LABEL
        del file[key]
        file[key] = h5py.ExternalLink(other.name, f"/{key}")
    refused(path, f"{key} must lie in the file itself", "external link")
    if key == "label":  # not asked for, not looked at
        assert read_case(path, "case", 2, 4, labeled=False).label is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_external_link_is_not_even_followed(tmp_path):
    """Opening the target is the harm: it may be a pipe that never answers, or someone's file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def fill(file):
        file["image"] = h5py.ExternalLink(str(pipe), "/image")

    path = case(tmp_path, fill)
    refused(path, "external link")  # would hang for ever


def test_soft_links_are_refused_inside_the_file_and_through_an_external_link(tmp_path, other):
    def inside(file):
        file["raw"] = IMAGE
        file["image"] = h5py.SoftLink("/raw")

    refused(case(tmp_path, inside), "image must lie in the file itself", "soft link")

    def through(file):
        file["raw"] = h5py.ExternalLink(other.name, "/image")
        file["image"] = h5py.SoftLink("/raw")

    refused(case(tmp_path, through), "soft link")
    refused(case(tmp_path, lambda file: file.__setitem__("image", h5py.SoftLink("/no"))), "soft")


def test_virtual_dataset_is_refused(tmp_path, other):
    def fill(file):
        layout = h5py.VirtualLayout((4, 5), "f4")
        layout[:] = h5py.VirtualSource(str(other), "image", (4, 5))
        file.create_virtual_dataset("image", layout)

    path = case(tmp_path, fill)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["image"][:], IMAGE)  # the attack works where unchecked
    refused(path, "image must lie in the file itself", "virtual dataset")


def test_external_storage_is_refused(tmp_path, secret):
    def fill(file):
        where = [(str(secret), 0, IMAGE.nbytes)]
        file.create_dataset("image", (4, 5), "f4", external=where)

    path = case(tmp_path, fill)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["image"][:], IMAGE)
    refused(path, "image must lie in the file itself", "external storage")


def test_group_and_named_type_are_no_arrays(tmp_path):
    refused(case(tmp_path, lambda file: file.create_group("image/deep")), "must be an array, got a")
    named = case(tmp_path, lambda file: file.__setitem__("image", np.dtype("f4")))
    refused(named, "image must be an array")


# Arrays that are not what they seem


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2**20, 2**20), f"{2**31} voxels"),
        ((2**31 + 1, 1), f"{2**31} voxels"),
        ((2**31, 1), f"{2**33} bytes"),  # float64: 16 GiB
        ((40_000, 10_000), "only 0 are stored"),
    ],
)
def test_a_tiny_file_that_declares_a_huge_array_costs_nothing(tmp_path, shape, said):
    def fill(file):
        for key in ("image", "label"):
            file.create_dataset(key, shape, "f8", chunks=(1024, 1), compression="gzip")

    path = case(tmp_path, fill)
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    refused(path, said, f"shape {shape}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_huge_label_beside_a_small_image_is_not_read(tmp_path):
    def fill(file):
        file["image"] = IMAGE
        file.create_dataset("label", (2**14, 2**14), "u1", chunks=(1024, 1024))

    refused(case(tmp_path, fill), "label shape (16384, 16384) differs from image shape (4, 5)")


@pytest.mark.parametrize("key", ["image", "label"])
@pytest.mark.parametrize(("chunks", "unit"), [((2, 2), "0 of 6 chunks"), (None, "0 of 1 arrays")])
def test_an_array_that_was_never_written_is_refused_however_small(tmp_path, key, chunks, unit):
    """HDF5 itself reads it as zeros."""

    def fill(file):
        file.create_dataset(key, (4, 5), "f4", chunks=chunks)
        if key == "label":
            file["image"] = IMAGE

    refused(case(tmp_path, fill), f"{key} must be stored completely", f"only {unit}")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_an_array_of_which_a_part_was_never_written_is_refused(tmp_path, compression):
    def fill(file):
        image = file.create_dataset("image", (4, 5), "f4", chunks=(1, 5), compression=compression)
        image[:3] = 0.5

    path = case(tmp_path, fill)
    refused(path, "image must be stored completely", "only 3 of 4 chunks")
    with h5py.File(path, "r+") as file:
        file["image"][3] = 0.5
    assert (read_case(path, "case", 2, 4).image == 0.5).all()


def test_zeros_that_were_written_are_zeros(tmp_path):
    def fill(file):
        file.create_dataset("image", data=np.zeros((40, 50)), chunks=(16, 16), compression="gzip")
        file["label"] = np.zeros((40, 50), "u1")

    assert not read_case(case(tmp_path, fill), "case", 2, 4).image.any()


def test_0_9_gib_declared_and_nothing_stored_is_refused_at_once(tmp_path):
    def fill(file):
        for key, kind in (("image", "f4"), ("label", "u1")):
            file.create_dataset(key, (15000, 16384), kind, chunks=(1, 16384))

    path = case(tmp_path, fill)
    begun = time.perf_counter()
    refused(path, "only 0 of 15000 chunks")
    assert time.perf_counter() - begun < 1


def test_a_chunk_that_is_far_larger_than_its_array_is_refused(tmp_path):
    """HDF5 would unpack it whole."""

    def fill(file):
        chunks = (2**13, 2**13)
        file.create_dataset("image", (4, 5), "f4", chunks=chunks, maxshape=(None, None))

    refused(case(tmp_path, fill), "chunks of image may have", f"got {2**28}")


# Files that cannot be reached say why, and are not called damaged


def test_a_file_that_another_program_writes_is_locked_not_damaged(tmp_path, other):
    code = f"import h5py, time; f = h5py.File({str(other)!r}, 'r+'); print(1, flush=True); time.sleep(60)"
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        writer.stdout.readline()
        with pytest.raises(AccessError, match=r"other\.h5: locked, another program has it open"):
            read_case(other, "case", 2, 4)
    finally:
        writer.kill()
        writer.wait()
    assert read_case(other, "case", 2, 4).image.shape == (4, 5)


def test_a_folder_named_like_a_case_is_called_a_folder(tmp_path):
    (tmp_path / "a.h5").mkdir()
    (tmp_path / "a.h5" / "b.h5").write_bytes(b"")
    refused(tmp_path / "a.h5", "a folder that is named like a file; it holds 'b.h5'")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "no permission"),
        (OSError(24, "Too many open files"), "too many files are open"),
        (OSError(5, "Input/output error"), "the disk reports an error"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_the_machine_refuses_is_an_access_error(other, monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(AccessError, match=rf"other\.h5: {said}"):
        read_case(other, "case", 2, 4)


def test_the_content_of_a_wrong_file_is_recognized(tmp_path):
    for content, said in (
        (b"PK\x03\x04 more", "begins like a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"", "the file is empty"),
    ):
        (tmp_path / "a.h5").write_bytes(content)
        refused(tmp_path / "a.h5", "not a readable h5 file, damaged or cut short", said)


def test_a_name_that_is_too_long_and_one_in_another_unicode_form(tmp_path, other):
    refused(tmp_path / f"{'x' * 300}.h5", "the name is too long")
    other.rename(tmp_path / "Mu\u0308ller.h5")
    refused(tmp_path / "M\u00fcller.h5", "does not exist; there is", "Unicode form")


@pytest.mark.parametrize("shape", [(0, 5), (4, 0)])
def test_an_axis_without_voxels_is_refused(tmp_path, shape):
    def fill(file):
        file["image"], file["label"] = np.zeros(shape, "f4"), np.zeros(shape, "u1")

    refused(case(tmp_path, fill), f"got shape {shape}")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.full((4, 5), b"text"), "|S4"),
        (IMAGE.astype(complex), "complex128"),
        (np.zeros((4, 5), [("a", "f4"), ("b", "f4")]), "('a', '<f4')"),
    ],
)
def test_types_other_than_numbers_are_refused(tmp_path, value, kind):
    path = case(tmp_path, lambda file: file.__setitem__("image", value))
    refused(path, "image must hold numbers, got type", kind)


def test_strings_of_any_length_and_an_empty_dataspace_are_refused(tmp_path):
    text = h5py.string_dtype()
    path = case(tmp_path, lambda file: file.create_dataset("image", (4, 5), text))
    refused(path, "image must hold numbers, got type object")
    path = case(tmp_path, lambda file: file.__setitem__("image", h5py.Empty("f4")))
    refused(path, "2 axes, got shape None")


def test_a_scalar_is_no_image(tmp_path):
    refused(case(tmp_path, lambda file: file.__setitem__("image", 1.0)), "2 axes, got shape ()")


def test_the_keys_found_are_named_but_not_by_the_thousand(tmp_path):
    def fill(file):
        for k in range(3000):
            file.create_group(f"group{k:04d}")

    assert len(refused(case(tmp_path, fill), "needs the key 'image'", "group0000")) < 500


# Spacing


def spaced(tmp_path: Path, value: object) -> Path:
    def fill(file):
        file["image"] = IMAGE
        file.attrs["spacing"] = value

    return case(tmp_path, fill)


@pytest.mark.parametrize("value", [[1.5, 1.25], np.array([2, 3], "i4"), np.float32([0.5, 10])])
def test_spacing_is_read_in_the_order_of_the_axes(tmp_path, value):
    assert read_case(spaced(tmp_path, value), "case", 2, 4).spacing == tuple(map(float, value))


def test_no_spacing_is_none_and_three_values_still_make_a_sample(tmp_path, other):
    sample = read_case(other, "case", 2, 4)
    assert sample.spacing is None
    assert type(sample)("case", sample.image, sample.label) == sample


@pytest.mark.parametrize(
    "value",
    [[1.0], [1.0, 1.0, 5.0], 1.0, [1.0, 0.0], [1.0, -1.0], [np.nan, 1.0], [1.0, np.inf]]
    + ["1.0 1.0", [b"1", b"1"], h5py.Empty("f8"), [1j, 1j]],
)
def test_a_spacing_that_cannot_be_is_refused(tmp_path, value):
    refused(spaced(tmp_path, value), "spacing must be 2 positive finite numbers, in mm, got")


def test_numbers_are_read_exactly_as_h5py_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    for dtype in ("f2", "f4", "f8", "i2", "u1", ">f4", "bool"):
        array = (rng.normal(0, 50, (4, 5))).astype(dtype)
        path = case(tmp_path, lambda file, array=array: file.__setitem__("image", array))
        image = read_case(path, "case", 2, 4).image
        assert image.tobytes() == array.astype(np.float32).tobytes()
