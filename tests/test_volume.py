"""A raw volume keeps its voxels, its place and its size; every fault names file and rule."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest
from raw_files import AFFINE, SHAPE, SPACING, image_of, write_nifti, write_nrrd

from buarl.data.h5 import DataError
from buarl.files.volume import read_volume, write_volume

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")
WRITERS = {".nii.gz": write_nifti, ".nii": write_nifti, ".nrrd": write_nrrd}


def fault(path, *parts):
    with pytest.raises(DataError) as caught:
        read_volume(path)
    for part in (path, *parts):
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("suffix", WRITERS)
def test_axes_place_and_size_are_those_of_the_file(tmp_path, suffix):
    volume = read_volume(WRITERS[suffix](tmp_path / "with a space" / f"a{suffix}", image_of(0)))
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, image_of(0))
    assert np.unravel_index(volume.array.argmax(), SHAPE) == (11, 0, 4)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)
    # The marked corner by hand: A @ (11, 0, 4) + origin.
    corner = volume.affine @ [11, 0, 4, 1]
    np.testing.assert_allclose(corner[:3], [19.2 + 10, 16.5 - 20, 25.6 + 30], atol=1e-4)


def test_lps_by_hand(tmp_path):
    header = {"space": "LPS", "space directions": np.diag([2.0, 3.0, 4.0])}
    nrrd.write(str(tmp_path / "a.nrrd"), image_of(0), header | {"space origin": [5.0, 6.0, 7.0]})
    expected = [[-2, 0, 0, -5], [0, -3, 0, -6], [0, 0, 4, 7], [0, 0, 0, 1]]
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nrrd").affine, expected)


def test_nrrd_without_a_space_has_the_size_of_its_voxels(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), image_of(0), {"spacings": [0.5, 0.6, 0.7]})
    assert read_volume(tmp_path / "a.nrrd").spacing == (0.5, 0.6, 0.7)
    nrrd.write(str(tmp_path / "b.nrrd"), image_of(0), {})
    fault(tmp_path / "b.nrrd", "space directions")
    nrrd.write(
        str(tmp_path / "c.nrrd"), image_of(0), {"space": "3D-right-handed", "spacings": [1, 1, 1]}
    )
    fault(tmp_path / "c.nrrd", "space must be one of", "3d-right-handed")


def test_an_sform_of_unit_voxels_gives_way_to_the_qform(tmp_path):
    """As in the official ACDC files."""
    image = nibabel.Nifti1Image(image_of(0), None)
    image.set_qform(np.diag([-1.25, -1.25, 10, 1]), code=1)
    image.set_sform(np.diag([-1.0, -1.0, 1, 1]), code=2)
    image.header.set_zooms((1.25, 1.25, 10))
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.spacing == (1.25, 1.25, 10)
    np.testing.assert_allclose(volume.affine, np.diag([-1.25, -1.25, 10, 1]), atol=1e-6)


def test_scaled_integers_are_read_in_their_units(tmp_path):
    image = nibabel.Nifti1Image(image_of(0).astype(np.float32), AFFINE)
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").array, image_of(0), atol=0.02)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float32", "float64", "bool"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_written_volume_is_the_same_again(tmp_path, dtype, suffix):
    path, array = tmp_path / f"a{suffix}", (image_of(0) > 100).astype(dtype)
    path.write_text("old")
    write_volume(path, array, AFFINE)
    again = read_volume(path)
    assert again.array.dtype == ("uint8" if dtype == "bool" else dtype)
    np.testing.assert_array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, AFFINE, atol=1e-5)
    header = nibabel.load(path).header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert header.get_xyzt_units()[0] == "mm"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    write_volume(path, image_of(0), AFFINE)

    def full(image, where):
        where.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nibabel, "save", full)
    with pytest.raises(DataError, match=r"a\.nii\.gz: cannot be written: disk full"):
        write_volume(path, image_of(1), AFFINE)
    np.testing.assert_array_equal(read_volume(path).array, image_of(0))
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    with pytest.raises(DataError, match="written as"):
        write_volume(tmp_path / "a.nrrd", image_of(0), AFFINE)


# Faults


def test_missing_and_unknown(tmp_path):
    fault(tmp_path / "a.nii.gz", "no such file")
    (tmp_path / "a.mha").write_bytes(b"")
    fault(tmp_path / "a.mha", "must end in one of")


@pytest.mark.parametrize("suffix", WRITERS)
def test_cut_short_empty_or_text(tmp_path, suffix):
    path = WRITERS[suffix](tmp_path / f"a{suffix}", image_of(0))
    content = path.read_bytes()
    for size in (0, 3, 200, len(content) // 2, len(content) - 12):  # the end is checksum
        path.write_bytes(content[:size])
        fault(path, "damaged or cut short")
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    fault(path, "damaged or cut short")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_flipped_bit_in_compressed_voxels_is_found(tmp_path, suffix):
    path = WRITERS[suffix](tmp_path / f"a{suffix}", image_of(0))
    content = bytearray(path.read_bytes())
    for place in np.linspace(len(content) // 2, len(content) - 6, 12).astype(int):
        damaged = content.copy()
        damaged[place] ^= 16
        path.write_bytes(damaged)
        fault(path, "damaged")


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 2), (4, 5, 6, 1)])
def test_other_than_three_axes(tmp_path, shape):
    fault(write_nifti(tmp_path / "a.nii.gz", np.zeros(shape, np.int16)), "3 axes", shape)
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros(shape, np.int16), {})
    fault(tmp_path / "a.nrrd", "3 axes", shape)


def test_a_header_that_promises_too_much_is_not_believed(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + b"\0" * 400
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    fault(tmp_path / "a.nii.gz", "voxels can be read", (30000, 30000, 30000))
    path = write_nrrd(tmp_path / "a.nrrd", image_of(0))
    path.write_bytes(path.read_bytes().replace(b"sizes: 12 10 5", b"sizes: 12 99999999 99999999"))
    fault(path, "voxels can be read")
    path.write_bytes(path.read_bytes().replace(b"sizes: 12 99999999 99999999", b"sizes: 12 0 5"))
    fault(path, "voxels can be read", (12, 0, 5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", WRITERS)
def test_voxels_that_are_no_numbers(tmp_path, suffix, value):
    array = image_of(0).astype(np.float32)
    array[1, 2, 3] = value
    fault(WRITERS[suffix](tmp_path / f"a{suffix}", array), "finite, got 1 NaN or infinite")


def test_complex_voxels_and_voxels_without_a_size(tmp_path):
    fault(write_nifti(tmp_path / "a.nii", image_of(0).astype(np.complex64)), "real numbers")
    for axis, bad in itertools.product(range(3), (0.0, np.nan)):
        affine = AFFINE.copy()
        affine[:3, axis] = bad
        path = tmp_path / "b.nrrd"
        header = {"space": "RAS", "space directions": affine[:3, :3].T, "space origin": [0, 0, 0]}
        nrrd.write(str(path), image_of(0), header)
        fault(path, "needs a size and a place")
