"""Predictions lie where their images lie: axes, orientation, affine; every fault is one sentence."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
import tyro
from odd_files import VOLUMES
from raw_files import (
    AFFINE,
    SHAPE,
    SPACING,
    image_of,
    write_acdc_patient,
    write_la,
    write_nifti,
    write_nrrd,
)
from tiny import PRESET, write_case, write_tiny
from torch import nn

import buarl.files.model
from buarl.commands.files import Predict
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.h5 import DataError
from buarl.data.la import La
from buarl.evaluation.evaluate import predict_volume
from buarl.files.convert_acdc import convert_acdc
from buarl.files.convert_la import convert_la
from buarl.files.layout import minmax, zscore
from buarl.files.predict_files import Predicted, predict_each, predict_files
from buarl.files.volume import read_volume
from buarl.training.checkpoint import save_state, write_json
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.run import load_run, read_run, run_experiment

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("nrrd")
TINY = replace(PRESET, image_size={2: (32, 32), 3: (16, 16, 16)}, variants={})
CLASSES = {"acdc": Acdc.class_names, "la": La.class_names}


class Threshold(nn.Module):
    """Class 1 where the image is above 1/2."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scale, self.classes = nn.Parameter(torch.tensor(40.0)), classes

    def forward(self, image):
        bright = (image - 0.5) * self.scale
        return torch.cat([-bright, bright] + [-abs(bright) - 9] * (self.classes - 2), 1)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.fixture(params=["acdc", "la"])
def family(request):
    return request.param


def make_run(folder, family, **data):
    """A finished run that was never trained: its first weights."""
    row = Experiment(method="supervised", source=family, labeled=2, preset="tiny")
    method = build_method(row, len(CLASSES[family]))
    folder.mkdir(parents=True)
    about = {"root": "/no/such/data", "licence": "", "classes": CLASSES[family], **data}
    numbers = {"config": config_for(row).as_dict(), "environment": {}}
    content = {"experiment": row.as_dict(), "data": about, **numbers, "finished": True}
    write_json(folder / "run.json", content)
    save_state(folder / "last.pt", {"method": method.state_dict(), "position": [1, 0]})
    return folder


@pytest.fixture
def run(tmp_path, family):
    return make_run(tmp_path / "a run", family)


@pytest.fixture
def thresholding(monkeypatch):
    """Every run holds the network `Threshold`."""
    monkeypatch.setattr(
        buarl.files.model,
        "load_method",
        lambda _, classes, *code: SimpleNamespace(student=Threshold(classes)),
    )


def opened(path):
    image = nibabel.load(path)
    return image, np.asanyarray(image.dataobj)


def expected_mask(family, array):
    scaled = {"acdc": minmax, "la": zscore}[family]("a", array)
    return (scaled > 0.5).astype(np.uint8)


# Axes, orientation, place


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
def test_the_mask_lies_on_its_image(tmp_path, run, family, thresholding, suffix):
    """An oblique, flipped, anisotropic volume, smaller than the 3-D patch."""
    write = write_nrrd if suffix == ".nrrd" else write_nifti
    source = write(tmp_path / "in" / f"a.b{suffix}", image_of(0))
    (seg, entropy) = predict_files(run, source, tmp_path / "out", entropy=True)
    assert (seg, entropy) == tuple(tmp_path / "out" / f"a.b_{k}.nii.gz" for k in ("seg", "entropy"))
    assert sorted((tmp_path / "out").iterdir()) == sorted([seg, entropy])
    image, mask = opened(seg)
    assert mask.dtype == np.uint8
    assert mask.shape == SHAPE
    assert mask[-1, 0, -1] == 1  # the marked corner
    np.testing.assert_array_equal(mask, expected_mask(family, image_of(0)))
    for other in (image, opened(entropy)[0]):
        np.testing.assert_allclose(other.affine, AFFINE, atol=1e-5)
        np.testing.assert_allclose(other.get_qform(), AFFINE, atol=1e-4)
        np.testing.assert_allclose(other.header.get_zooms(), SPACING, rtol=1e-5)
        assert nibabel.aff2axcodes(other.affine) == nibabel.aff2axcodes(AFFINE)
    assert opened(entropy)[1].dtype == np.float32


def test_mask_and_entropy_are_those_of_the_library(tmp_path, run, family):
    """Real networks: a volume that needs several windows, and several slices."""
    array = image_of(3, (30, 20, 18))
    paths = predict_files(run, write_nifti(tmp_path / "a.nii.gz", array), tmp_path, entropy=True)
    scaled = {"acdc": minmax, "la": zscore}[family]("a", array)
    row = Experiment(method="supervised", source=family, labeled=2, preset="tiny")
    network = build_method(row, len(CLASSES[family])).student
    flat = family == "acdc"
    found = predict_volume(network, scaled.T if flat else scaled, 2 if flat else 3, config_for(row))
    for path, array in zip(paths, found, strict=True):
        np.testing.assert_array_equal(opened(path)[1], array.T if flat else array)
    assert len(np.unique(found[1])) > 20  # the entropy would tell a flip


def test_raw_to_h5_to_prediction_is_raw_to_prediction(tmp_path, run, family):
    """The way through a converter and its h5 file ends in the same voxels at the same place."""
    if family == "acdc":
        for seed in range(1, 6):
            write_acdc_patient(tmp_path / "raw" / f"patient{seed:03d}", seed)
        convert_acdc(tmp_path / "raw", tmp_path / "h5", val=0.2, test=0.2)
        raw = tmp_path / "raw" / "patient001" / "patient001_frame01.nii.gz"
        case = tmp_path / "h5" / "data" / "patient001_frame01.h5"
    else:
        write_la(tmp_path / "raw", 14)
        convert_la(tmp_path / "raw", tmp_path / "h5", crop="none")
        raw = tmp_path / "raw" / "CASE00" / "lgemri.nrrd"
        case = tmp_path / "h5" / "2018LA_Seg_Training Set" / "CASE00" / "mri_norm2.h5"
    straight = predict_files(run, raw, tmp_path / "out" / "a", entropy=True)
    around = predict_files(run, case, tmp_path / "out" / "b", entropy=True)
    for a, b in zip(map(opened, straight), map(opened, around), strict=True):
        np.testing.assert_array_equal(a[1], b[1])
        np.testing.assert_allclose(a[0].affine, b[0].affine, atol=1e-5)
        np.testing.assert_allclose(a[0].affine, AFFINE, atol=1e-4)


def test_h5_without_a_place(tmp_path, run, family, thresholding):
    """Its values are taken as they are; the spacing is used where it stands."""
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    path = write_case(tmp_path / "in" / "a.h5", image=array)
    (done,) = predict_each(run, path, tmp_path / "none")
    assert "placed at the origin, voxels of 1 mm" in done.note
    mask = (array > 0.5).astype(np.uint8)
    flat = family == "acdc"
    np.testing.assert_array_equal(opened(done.paths[0])[1], mask.T if flat else mask)
    with h5py.File(path, "r+") as file:
        file.attrs["spacing"] = (8.0, 2.0, 1.5)
    (done,) = predict_each(run, path, tmp_path / "spacing")
    assert done.note == "no affine in the file: placed at the origin"
    assert done.spacing == ((1.5, 2.0, 8.0) if flat else (8.0, 2.0, 1.5))
    assert done.shape == ((5, 4, 3) if flat else (3, 4, 5))
    np.testing.assert_array_equal(opened(done.paths[0])[0].affine, np.diag([*done.spacing, 1]))


def test_keep_largest_and_millilitres(tmp_path, run, family, thresholding):
    array = np.zeros((20, 18, 16), np.int16)
    array[2:9, 2:9, 2:9] = 100
    array[15:17, 15:17, 12:14] = 100
    source = write_nifti(tmp_path / "a.nii.gz", array)
    (done,) = predict_each(run, source, tmp_path / "all")
    name = CLASSES[family][1]
    assert done.millilitres[name] == pytest.approx((7**3 + 8) * 24 / 1000, rel=1e-4)  # 24 mm3
    assert list(done.millilitres) == list(CLASSES[family][1:])
    np.testing.assert_array_equal(opened(done.paths[0])[1], array // 100)
    (done,) = predict_each(run, source, tmp_path / "largest", keep_largest=True)
    assert opened(done.paths[0])[1].sum() == 7**3


def test_grey_values_are_scaled_as_in_training(tmp_path, family, thresholding):
    source = write_nifti(tmp_path / "a.nii", image_of(0))
    masks = {
        name: (f("a", image_of(0)) > 0.5) for name, f in (("minmax", minmax), ("zscore", zscore))
    }
    assert (masks["minmax"] != masks["zscore"]).any()
    own = make_run(tmp_path / "own", family, normalisation="zscore")
    other = make_run(tmp_path / "other", family, normalisation="minmax")
    for k, (folder, override, wanted) in enumerate(
        [(own, None, "zscore"), (other, None, "minmax"), (own, "minmax", "minmax")]
    ):
        (seg,) = predict_files(folder, source, tmp_path / str(k), normalisation=override)
        np.testing.assert_array_equal(opened(seg)[1], masks[wanted])
    with pytest.raises(DataError, match="normalisation must be one of .*'none'"):
        predict_files(own, source, tmp_path / "out", normalisation="none")


# Runs


def test_a_trained_run_needs_no_data_any_more(tmp_path):
    source = Acdc(write_tiny(tmp_path / "data"))
    row = Experiment(method="supervised", source="acdc", labeled=2, preset="tiny")
    run_experiment(row, source, tmp_path / "run")
    assert read_run(tmp_path / "run")["data"]["classes"] == list(Acdc.class_names)
    network = load_run(tmp_path / "run")[2].student
    sample = source.volume(source.cases("val")[0])
    case = shutil.copy(source.volume_path(sample.case), tmp_path / "case.h5")
    shutil.rmtree(source.root)
    (seg,) = predict_files(tmp_path / "run", tmp_path / case, tmp_path / "out")
    label, _ = predict_volume(network, sample.image, 2, config_for(row))
    np.testing.assert_array_equal(opened(seg)[1], label.T)


def test_an_older_run_takes_its_classes_from_its_recipe(tmp_path, family, thresholding):
    folder = make_run(tmp_path / "run", family, classes=None)
    (done,) = predict_each(folder, write_nifti(tmp_path / "a.nii", image_of(0)), tmp_path / "out")
    assert list(done.millilitres) == list(CLASSES[family][1:])
    np.testing.assert_array_equal(opened(done.paths[0])[1], expected_mask(family, image_of(0)))


# Faults


def fault(*arguments, match, error=DataError, **options):
    with pytest.raises(error, match=match):
        predict_files(*arguments, **options)


def test_runs_that_cannot_predict(tmp_path, run, family):
    source = write_nifti(tmp_path / "a.nii", image_of(0))
    fault(tmp_path, source, tmp_path / "out", match="not a run folder", error=ValueError)
    about = json.loads((run / "run.json").read_text())
    write_json(run / "run.json", {**about, "finished": False})
    fault(run, source, tmp_path / "out", match="a run: the run is not finished", error=ValueError)
    assert not (tmp_path / "out").exists()


def test_inputs_that_cannot_be_used(tmp_path, run, thresholding):
    out, folder = tmp_path / "out", tmp_path / "in"
    fault(run, folder, out, match="in: no such file or folder")
    folder.mkdir()
    (folder / "notes.txt").write_text("")
    (folder / ".a.nii.gz").write_text("")
    fault(run, folder, out, match=r"in: needs a file that ends in \.nii\.gz, .*\.h5, found none")
    fault(run, folder / "notes.txt", out, match=r"notes\.txt: needs a file that ends in")
    write_nifti(folder / "a.nii", image_of(0))
    write_nifti(folder / "a.nii.gz", image_of(0))
    fault(run, folder, out, match=r"a\.nii\.gz: stands twice, also as 'a\.nii'")
    (folder / "a.nii").unlink()
    fault(run, folder, folder, match="predictions must not lie among the inputs")
    assert not out.exists()
    write_nifti(folder / "b.nii.gz", np.zeros((*SHAPE, 2), np.int16))
    with pytest.raises(
        DataError, match=r"1 of 2 files gave no mask, the others .*: b\.nii"
    ) as said:
        predict_files(run, folder, out)
    (note,) = said.value.__notes__
    rule = r".*b\.nii\.gz: a volume must have 3 axes, got shape \(12, 10, 5, 2\)"
    assert re.fullmatch(rule, note)
    assert [path.name for path in out.iterdir()] == ["a_seg.nii.gz"]  # complete, it stays
    write_nifti(folder / "c.nii", np.full(SHAPE, 7, np.int16))
    fault(run, folder / "c.nii", tmp_path / "c", match=r"c\.nii: an image needs more than one grey")


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), "text"])
def test_h5_with_a_senseless_affine(tmp_path, run, thresholding, affine):
    path = write_case(tmp_path / "a.h5", image=np.ones((3, 4, 5), np.float32))
    with h5py.File(path, "r+") as file:
        file.attrs["affine"] = affine
    fault(run, path, tmp_path / "out", match=r"a\.h5: affine must be an invertible 4 x 4 matrix")


def test_outputs_are_not_replaced_unasked(tmp_path, run, family, thresholding):
    source, out = write_nifti(tmp_path / "in" / "a.nii", image_of(0)), tmp_path / "out"
    out.mkdir()
    (out / "a_entropy.nii.gz").write_text("precious")
    fault(run, source.parent, out, entropy=True, match=r"a_entropy\.nii\.gz: output exists")
    assert [path.name for path in out.iterdir()] == ["a_entropy.nii.gz"]
    predict_files(run, source, out)  # the other file is not in the way
    predict_files(run, source, out, entropy=True, overwrite=True)
    np.testing.assert_array_equal(
        opened(out / "a_seg.nii.gz")[1], expected_mask(family, image_of(0))
    )
    assert opened(out / "a_entropy.nii.gz")[1].shape == SHAPE
    (tmp_path / "file").write_text("")
    fault(run, source, tmp_path / "file", match="the output must be a folder")


# What lies in the header comes out again


FIELDS = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "xyzt_units")
FIELDS += ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")


@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1), (0, 0), (4, 2)])
@pytest.mark.parametrize("unit", ["mm", "micron", "unknown"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_sform_qform_codes_and_unit_are_those_of_the_input(
    tmp_path, run, family, thresholding, codes, unit, kind
):
    image = kind(image_of(0), None)
    sheared = AFFINE.copy()
    sheared[0, 1] += 0.3
    image.set_sform(sheared, codes[0])
    image.set_qform(AFFINE + 0.125 * (np.arange(4) == 3), codes[1])
    image.header.set_xyzt_units(unit, "msec")
    nibabel.save(image, tmp_path / "a.nii.gz")
    for path in predict_files(run, tmp_path / "a.nii.gz", tmp_path / "out", entropy=True):
        ours, theirs = nibabel.load(path).header, nibabel.load(tmp_path / "a.nii.gz").header
        assert type(ours) is type(theirs)
        for field in FIELDS:
            assert ours[field].tobytes() == theirs[field].tobytes(), field
        assert ours["pixdim"][:4].tobytes() == theirs["pixdim"][:4].tobytes()


@pytest.mark.parametrize("form", ["qform_code_0", "acdc_forms", "pixdim_0", "two_places"])
def test_a_mask_lies_on_an_image_of_an_odd_header(tmp_path, run, thresholding, form):
    source = VOLUMES[form].make(tmp_path)
    (seg,) = predict_files(run, source, tmp_path / "out")
    np.testing.assert_array_equal(nibabel.load(seg).affine, nibabel.load(source).affine)
    ours, theirs = read_volume(seg), read_volume(source)
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    assert ours.spacing == theirs.spacing


@pytest.mark.parametrize(("unit", "per_mm"), [("micron", 1000), ("meter", 0.001)])
def test_volumes_are_in_millilitres_whatever_the_unit(
    tmp_path, run, family, thresholding, unit, per_mm
):
    affine = np.diag([per_mm, per_mm, per_mm, 1])
    image = nibabel.Nifti1Image(image_of(0), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    (done,) = predict_each(run, tmp_path / "a.nii", tmp_path / "out")
    count = expected_mask(family, image_of(0)).sum()
    assert done.millilitres[CLASSES[family][1]] == pytest.approx(count / 1000)


def test_a_file_that_cannot_be_segmented_does_not_stop_the_others(
    tmp_path, run, thresholding, capsys
):
    folder = tmp_path / "in"
    for name in "abcde":
        write_nifti(folder / f"{name}.nii", image_of(0))
    write_nifti(folder / "b.nii", np.full(SHAPE, 7, np.int16))
    (folder / "d.nii").write_bytes(b"no image")
    words = ["predict", str(run), str(folder), str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["a.nii", "c.nii", "e.nii"]
    first, second, last = said.err.splitlines()
    assert "b.nii: an image needs more than one grey value, got" in first
    assert "d.nii: not a readable volume, damaged or cut short (a NIfTI file" in second
    assert last == "buarl: 2 of 5 files gave no mask, the others are written: b.nii, d.nii"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a_seg.nii.gz", "c_seg.nii.gz", "e_seg.nii.gz"]


def test_every_bad_file_has_its_own_line_and_reason(tmp_path, run, thresholding, capsys):
    folder = tmp_path / "in"
    for number in range(8):
        write_nifti(folder / f"bad {number}.nii", np.full(SHAPE, number, np.int16))
    words = ["predict", str(run), str(folder), str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    *reasons, last = said.err.splitlines()
    assert len(reasons) == 8
    for number, line in enumerate(reasons):
        assert line.startswith(f"buarl: {folder / f'bad {number}.nii'}: ")
        assert "needs more than one grey value" in line
    names = "bad 0.nii, bad 1.nii, bad 2.nii and 5 more"
    assert last == f"buarl: 8 of 8 files gave no mask, none is written: {names}"


def test_a_single_bad_file_is_one_line(tmp_path, run, thresholding, capsys):
    path = write_nifti(tmp_path / "a.nii", np.full(SHAPE, 7, np.int16))
    assert main(["predict", str(run), str(path), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"buarl: {path}: an image needs more than one grey value")
    assert said.count("\n") == 1


# The command


def test_the_command_says_a_line_per_file(tmp_path, run, family, thresholding, capsys):
    for name in ("a", "b"):
        write_nifti(tmp_path / "my scans" / f"{name}.nii.gz", image_of(0))
    words = [str(run), str(tmp_path / "my scans"), str(tmp_path / "out"), "--entropy"]
    tyro.cli(Predict, args=[*words, "--keep-largest", "--threads", "1"]).run()
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("a.nii.gz: 12x10x5 at 1.5x2x8 mm: ")
    assert all(f"{name} " in first for name in CLASSES[family][1:])
    assert first.endswith(" s")
    assert second.startswith("b.nii.gz: ")
    assert str(tmp_path / "out") in last
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_the_line_of_a_file_by_hand():
    done = Predicted(
        SimpleNamespace(name="a.h5"), (), (5, 4, 3), (1.25, 1, 8), {"LV": 3.14159}, 2.04, "x"
    )
    assert done.text() == "a.h5: 5x4x3 at 1.25x1x8 mm: LV 3.1 ml; 2.0 s (x)"
