"""A folder of one's own images becomes a source; labels may be missing, patients never leak."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raw_files import (
    AFFINE,
    SHAPE,
    SPACING,
    image_of,
    label_of,
    write_nifti,
    write_nrrd,
)
from tiny import tiny_config

pytest.importorskip("nibabel")
pytest.importorskip("nrrd")

from buarl.commands.files import ConvertFolder
from buarl.data.h5 import DataError
from buarl.data.source import open_source
from buarl.files.convert_folder import convert_folder
from buarl.files.doctor import check_files
from buarl.methods import METHODS
from buarl.networks import UNet
from buarl.training.loop import fit

CASES = [f"p{n}_{scan}" for n in range(8) for scan in ("a", "b")]


def write_images(folder, labeled=5, patients=8, suffix=".nii.gz"):
    """Two scans a patient; the first `labeled` patients have NAME_gt beside their images."""
    for case in CASES[: 2 * patients]:
        seed = CASES.index(case)
        write_nifti(folder / f"{case}{suffix}", image_of(seed))
        if seed // 2 < labeled:
            write_nifti(folder / f"{case}_gt{suffix}", label_of(seed, 3))
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("my own") / "my images")


@pytest.fixture
def images(shared, tmp_path):
    return Path(shutil.copytree(shared, tmp_path / "images"))


@pytest.fixture(scope="module", params=[2, 3])
def own(request, shared, tmp_path_factory):
    out = tmp_path_factory.mktemp("out put") / "own data"
    report = convert_folder(shared, out, rank=request.param, val=0.2, test=0.2)
    return report, open_source("own", str(out))


def fault(call, *parts, out=None):
    with pytest.raises(DataError) as caught:
        call()
    for part in parts:
        assert str(part) in str(caught.value)
    assert out is None or not out.exists()


def lists(source):
    return {s: source.listed(s) for s in ("train", "val", "test")}


# What is right


def test_voxels_axes_and_spacing(own):
    _, source = own
    for split, cases in lists(source).items():
        for case in cases:
            seed = CASES.index(case)
            raw, label, sample = (
                image_of(seed).astype(float),
                label_of(seed, 3),
                source.volume(case),
            )
            if source.rank == 2:
                wanted, label = ((raw - raw.min()) / (raw.max() - raw.min())).T, label.T
                spacing = SPACING[::-1]
            else:
                wanted, spacing = (raw - raw.mean()) / raw.std(), SPACING
            np.testing.assert_array_equal(sample.image, wanted.astype(np.float32))
            np.testing.assert_allclose(sample.spacing, spacing, rtol=1e-6)
            if seed // 2 < 5:
                np.testing.assert_array_equal(sample.label, label)
            else:
                assert (split, sample.label) == ("train", None)


def test_slices_are_those_of_the_volume(own):
    _, source = own
    names = source.training_names()
    if source.rank == 3:
        assert names == source.listed("train")
        return
    assert len(names) == SHAPE[2] * len(source.listed("train"))
    for name in names[:10]:
        case, _, k = name.partition("_slice_")
        volume, sample = source.volume(case), source.training_sample(name)
        np.testing.assert_array_equal(sample.image, volume.image[int(k) - 1])
        np.testing.assert_array_equal(sample.label, volume.label[int(k) - 1])
        np.testing.assert_allclose(sample.spacing, (2.0, 1.5), rtol=1e-6)


def test_every_scan_of_a_patient_lands_in_one_split_and_evaluation_has_labels(own):
    report, source = own
    splits = lists(source)
    assert report.cases == {"train": 12, "val": 2, "test": 2}
    assert sorted(case for cases in splits.values() for case in cases) == CASES
    patients = [{case[:2] for case in cases} for cases in splits.values()]
    assert sum(map(len, patients)) == 8
    assert all(source.volume(case).label is not None for case in splits["val"] + splits["test"])
    labeled = [source.volume(case).label is not None for case in splits["train"]]
    assert labeled == [True] * 6 + [False] * 6


def test_labeled_patients_are_those_with_labels(own):
    _, source = own
    per_scan = SHAPE[2] if source.rank == 2 else 1
    for labeled, scans in ((1, 2), (2, 4), (3, 6), (None, 6)):
        ours, others = source.split_labeled(labeled)
        assert (len(ours), len(others)) == (scans * per_scan, (12 - scans) * per_scan)
        assert ours + others == source.training_names()
        assert not {source.patient(n) for n in ours} & {source.patient(n) for n in others}
        assert all(source.training_sample(name).label is not None for name in ours)
        assert all(source.training_sample(n, labeled=False).label is None for n in others)
    for labeled in (0, 4, 9):
        fault(lambda n=labeled: source.split_labeled(n), "1 to 3", "have labels", f"got {labeled}")


def test_an_unlabeled_scan_of_a_labeled_patient_is_unlabeled(tmp_path):
    images = write_images(tmp_path / "images", labeled=4, patients=4)
    (images / "p1_b_gt.nii.gz").unlink()
    convert_folder(images, tmp_path / "out", val=0, test=0.3)
    source = open_source("own", tmp_path / "out")
    assert "p1_b" in source.listed("train")  # never evaluated on
    ours, others = source.split_labeled(None)
    assert "p1_a" in ours
    assert others == ["p1_b"]
    fault(lambda: source.cases("val"), "val.list", "does not exist")


def test_metadata_and_table(own):
    report, source = own
    about = json.loads((source.root / "dataset.json").read_text())
    assert about["class_names"] == ["background", "class 1", "class 2"]
    assert about["normalisation"] == source.normalisation == {2: "minmax", 3: "zscore"}[source.rank]
    with (source.root / "cases.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == CASES
    assert rows["p7_b"] == {
        "case": "p7_b",
        "patient": "p7",
        "split": "train",
        "labeled": "False",
        "shape": "5x10x12" if source.rank == 2 else "12x10x5",
        "spacing": "8x2x1.5" if source.rank == 2 else "1.5x2x8",
        "classes": "",
    }
    assert rows["p0_a"]["classes"] == "0 1 2"
    assert "10 of 16 scans labeled" in report.text()
    assert "3 patients with labels, 6 scans without" in report.text()
    assert all(healthy for _, healthy in check_files(source))


def test_seed_alone_decides(shared, images, tmp_path):
    def split(folder, seed):
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        convert_folder(folder, out, val=0.2, test=0.2, seed=seed)
        return lists(open_source("own", out))

    first = split(shared, 1)
    assert split(images, 1) == first
    assert any(split(shared, seed) != first for seed in (2, 3, 4))


@pytest.mark.parametrize("ending", ["", "_gt", "_label"])
def test_labels_in_a_folder_of_their_own_in_other_formats(tmp_path, ending):
    images, labels = tmp_path / "images", tmp_path / "labels"
    for seed in range(5):
        write_nrrd(images / f"s{seed}.nrrd", image_of(seed))
        write_nifti(labels / f"s{seed}{ending}.nii", 255 * (label_of(seed, 3) > 0))
    (images / "notes.txt").write_text("not an image")
    out, classes = tmp_path / "out", ("background", "lesion")
    convert_folder(images, out, labels=labels, classes=classes, label_values=(0, 255))
    source = open_source("own", out)
    assert source.class_names == classes
    for case in source.listed("train"):
        np.testing.assert_array_equal(source.volume(case).label, label_of(int(case[1:]), 3) > 0)


def test_label_values_give_the_order_of_the_classes(images, tmp_path):
    for path in images.glob("*_gt.nii.gz"):
        write_nifti(path, np.array([0, 4, 2], np.int16)[label_of(CASES.index(path.name[:4]), 3)])
    convert_folder(images, tmp_path / "out", label_values=(2, 4, 0))
    source = open_source("own", tmp_path / "out")
    np.testing.assert_array_equal(source.volume("p0_a").label, 2 - label_of(0, 3))


def test_patient_pattern(tmp_path):
    for number in range(6):
        for day in ("early", "late"):
            name = f"{day}-{number}"
            write_nifti(tmp_path / "i" / f"{name}.nii.gz", image_of(number))
            write_nifti(tmp_path / "i" / f"{name}_gt.nii.gz", label_of(number, 2))
    convert_folder(tmp_path / "i", tmp_path / "out", patient=r".*-(\d)")
    source = open_source("own", tmp_path / "out")
    homes = {s: {case[-1] for case in cases} for s, cases in lists(source).items()}
    assert {s: len(cases) for s, cases in homes.items()} == {"train": 4, "val": 1, "test": 1}
    assert source.patient("late-3") == "3"


# Training


def trained(method, source, labeled):
    config = replace(tiny_config(method), labeled=labeled)
    network = UNet(source.num_classes, 2)
    return fit(METHODS[method](network), source, config.shortened(2))


def test_supervised_needs_no_unlabeled_images(tmp_path):
    images = write_images(tmp_path / "all labeled", labeled=4, patients=4)
    convert_folder(images, tmp_path / "out", rank=2)
    source = open_source("own", tmp_path / "out")
    assert source.split_labeled(None)[1] == []
    assert np.isfinite(trained("supervised", source, None).history[-1]["student_loss"])
    with pytest.raises(DataError, match="needs unlabeled patients"):
        trained("mean_teacher", source, None)


def test_semi_supervised_on_images_without_labels(own):
    _, source = own
    if source.rank == 3:
        assert source.training_sample(source.split_labeled(3)[1][0], labeled=False).label is None
        return
    assert np.isfinite(trained("mean_teacher", source, 3).history[-1]["student_loss"])


# Faults


def without_images(images):
    for path in images.iterdir():
        path.unlink()


FAULTS = {
    "no images": (without_images, {}, "no images", ".nrrd"),
    "no labels at all": (
        lambda i: [p.unlink() for p in i.glob("*_gt*")],
        {},
        "no image has a label; name their folder (--labels)",
    ),
    "values 0, 255": (
        lambda i: [write_nifti(p, 255 * label_of(0, 2)) for p in i.glob("*_gt*")],
        {},
        "without gap",
        "found [0, 255]",
        "255 stands in",
        "label_values",
    ),
    "values 0, 1, 2, 4": (
        lambda i: write_nifti(i / "p2_a_gt.nii.gz", label_of(0, 3) + 2 * (label_of(0, 3) == 2)),
        {},
        "found [0, 1, 2, 4]",
        "p2_a_gt.nii.gz",
    ),
    "unmapped value": (lambda i: None, {"label_values": (0, 1)}, "[0, 1]", "2 stands in"),
    "class never seen": (lambda i: None, {"classes": "abcd"}, "0 to 3", "found [0, 1, 2]"),
    "a name twice": (
        lambda i: None,
        {"classes": ("a", "b", "b")},
        "classes must differ",
        "'b' twice",
    ),
    "too few names": (lambda i: None, {"classes": "ab"}, "0 to 1", "2 stands in"),
    "names and values": (
        lambda i: None,
        {"classes": "ab", "label_values": (0, 1, 2)},
        "2 classes",
    ),
    "values twice": (lambda i: None, {"label_values": (0, 1, 1)}, "differ from one another"),
    "fractions": (
        lambda i: write_nifti(i / "p1_a_gt.nii.gz", label_of(0, 3) / 2),
        {},
        "p1_a_gt",
        "whole numbers",
    ),
    "other shape": (
        lambda i: write_nifti(i / "p1_a_gt.nii.gz", label_of(0, 3, (12, 10, 6))),
        {},
        "p1_a_gt",
        "label shape (12, 10, 6)",
    ),
    "other place": (
        lambda i: write_nifti(
            i / "p1_a_gt.nii.gz", label_of(0, 3), AFFINE @ np.diag([1, 1, -1, 1])
        ),
        {},
        "p1_a_gt",
        "one affine",
    ),
    "label alone": (
        lambda i: (i / "p1_a.nii.gz").unlink(),
        {},
        "p1_a_gt",
        "label without an image",
    ),
    "two labels": (
        lambda i: write_nifti(i / "p1_a_label.nii.gz", label_of(0, 3)),
        {},
        "p1_a.nii.gz",
        "one label",
    ),
    "two images": (lambda i: write_nifti(i / "p1_a.nii", image_of(0)), {}, "stands twice"),
    "nan": (
        lambda i: write_nifti(i / "p7_b.nii.gz", np.where(image_of(0) == 1000, np.nan, 0)),
        {},
        "p7_b.nii.gz",
        "finite",
    ),
    "name": (lambda i: (i / "p7_b.nii.gz").rename(i / "p7..b.nii.gz"), {}, "plain name"),
    "pattern": (lambda i: None, {"patient": r"(q\d)"}, "p0_a.nii.gz", "no patient in the name"),
    "no group": (lambda i: None, {"patient": "p"}, "one group"),
    "no pattern": (lambda i: None, {"patient": "("}, "regular expression"),
    "rank": (lambda i: None, {"rank": 4}, "rank must be 2 or 3", "got 4"),
    "shares": (lambda i: None, {"val": 0.5, "test": 0.5}, "smaller shares"),
    "labels folder": (lambda i: None, {"labels": Path("nowhere")}, "nowhere", "no such folder"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_a_folder(images, tmp_path, name):
    inject, options, *parts = FAULTS[name]
    inject(images)
    out = tmp_path / "out"
    fault(lambda: convert_folder(images, out, **options), *parts, out=out)


def test_a_full_output_folder_is_left_alone(shared):
    before = sorted(shared.iterdir())
    fault(lambda: convert_folder(shared, shared), "must be new or empty")
    assert sorted(shared.iterdir()) == before


def edit(root, path, pattern, by):
    (root / path).write_text(re.sub(pattern, by, (root / path).read_text(), count=1))


ROOT_FAULTS = {
    "no json": (lambda r: (r / "dataset.json").unlink(), "no dataset.json", "train.list"),
    "text": (lambda r: (r / "dataset.json").write_text("{"), "not as convert_folder writes it"),
    "list": (lambda r: (r / "dataset.json").write_text("[]"), "not as convert_folder writes it"),
    "rank": (lambda r: edit(r, "dataset.json", '"rank": 3', '"rank": 4'), "rank must be 2 or 3"),
    "no key": (
        lambda r: edit(r, "dataset.json", '"slices"', '"x"'),
        "dataset.json",
        "argument 'x'",
    ),
    "slices": (
        lambda r: edit(r, "dataset.json", '"slices": 5', '"slices": 10000000000'),
        "65535 slices",
    ),
    "unhashable patient": (
        lambda r: edit(r, "dataset.json", r'"patient": "\w+"', '"patient": ["p0"]'),
        "patient of",
        "must be of type str, got ['p0']",
    ),
    "labeled 1": (
        lambda r: edit(r, "dataset.json", '"labeled": true', '"labeled": 1'),
        "labeled of",
        "must be of type bool, got 1",
    ),
    "slices 2.5": (
        lambda r: edit(r, "dataset.json", '"slices": 5', '"slices": 2.5'),
        "slices of",
        "must be of type int, got 2.5",
    ),
    "rank 3.0": (lambda r: edit(r, "dataset.json", '"rank": 3', '"rank": 3.0'), "got 3.0"),
    "names as text": (
        lambda r: edit(r, "dataset.json", r'"class_names": \[[^]]*\]', '"class_names": "abc"'),
        "class_names must be a list",
    ),
    "cases as list": (
        lambda r: edit(r, "dataset.json", r'"cases": \{', '"cases": [], "x": {'),
        "cases an object",
    ),
    "no number": (
        lambda r: edit(r, "dataset.json", '"rank": 3', '"rank": Infinity'),
        "rank must be 2 or 3, got inf",
    ),
    "deep": (lambda r: (r / "dataset.json").write_text("[" * 100_000), "RecursionError"),
    "latin-1": (lambda r: (r / "dataset.json").write_bytes(b'{"\xe9": 1}'), "UTF-8 text"),
    "a folder": (
        lambda r: ((r / "dataset.json").unlink(), (r / "dataset.json").mkdir()),
        "dataset.json",
        "a folder that is named like a file",
    ),
    "unknown case": (lambda r: (r / "val.list").write_text("q_1\n"), "val.list", "'q_1'"),
    "unlabeled val": (lambda r: (r / "val.list").write_text("p7_a\n"), "'p7_a' has none"),
    "leak": (
        lambda r: (r / "val.list").write_text((r / "test.list").read_text()),
        "test.list",
        "in split val as well",
    ),
    "duplicate": (
        lambda r: (r / "train.list").write_text("p7_a\np7_a\n"),
        "train.list",
        "stands twice",
    ),
    "no train": (lambda r: (r / "train.list").unlink(), "train.list", "does not exist"),
}


@pytest.fixture(scope="module")
def volumes(shared, tmp_path_factory):
    out = tmp_path_factory.mktemp("volumes") / "own"
    convert_folder(shared, out, val=0.2, test=0.2)
    return out


@pytest.mark.parametrize("name", ROOT_FAULTS)
def test_each_fault_of_a_converted_folder(volumes, tmp_path, name):
    root = Path(shutil.copytree(volumes, tmp_path / "root"))
    inject, *parts = ROOT_FAULTS[name]
    inject(root)
    fault(lambda: open_source("own", root).training_names(), *parts)


def test_no_root_and_unknown_names(volumes):
    fault(lambda: open_source("own"), "own needs the folder", "dataset.json")
    source = open_source("own", volumes)
    fault(lambda: source.volume("q"), "no case 'q'")
    fault(lambda: source.cases("validation"), "split must be one of")
    (volumes / "data" / f"{source.listed('val')[0]}.h5").rename(volumes / "data" / "away")
    fault(lambda: source.cases("val"), "have no file")


def test_command(shared, tmp_path, capsys):
    out = tmp_path / "own data"
    ConvertFolder(shared, out, rank=2, classes=("background", "a", "b")).run()
    text = capsys.readouterr().out
    assert "classes: background, a, b" in text
    assert "cases.csv" in text
    assert f'--source own_2d --root "{out}"' in text


def test_a_converted_folder_with_other_marks_is_read(volumes, tmp_path):
    root = Path(shutil.copytree(volumes, tmp_path / "root"))
    for name in ("dataset.json", "train.list"):
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_bytes(text.encode("utf-16"))
    ours, theirs = open_source("own", root), open_source("own", volumes)
    assert ours.training_names() == theirs.training_names()


def test_too_few_patients_name_the_pattern_and_the_notes_always_do(tmp_path):
    for patient in range(3):
        write_nifti(tmp_path / "i" / f"p{patient}_a.nii", image_of(patient))
        write_nifti(tmp_path / "i" / f"p{patient}_a_gt.nii", label_of(patient, 2))
    report = convert_folder(tmp_path / "i", tmp_path / "out")
    assert "by the pattern '([^_]+)' 3 files are 3 patients, e.g. 'p0_a' is of" in report.text()
    fault(
        lambda: convert_folder(tmp_path / "i", tmp_path / "no", patient="(p)"),
        *(tmp_path / "i", "1 patient with labels", "by the pattern '(p)'", "--patient PATTERN"),
        out=tmp_path / "no",
    )
