"""From a folder of raw images to masks in their place, by the commands a user types."""

from __future__ import annotations

import re
import shlex

import nibabel
import numpy as np
import pytest
from raw_files import AFFINE, image_of, label_of, write_acdc, write_nifti
from tiny import PRESET

from buarl.commands.main import main
from buarl.evaluation.scores import read_metrics
from buarl.training.config import PRESETS


@pytest.fixture
def tiny_toy(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", PRESET)


def typed(capsys, *words: object) -> str:
    """What a command prints; it must succeed."""
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def next_command(text: str) -> list[str]:
    """The words of the command that a command names as the next."""
    return shlex.split(re.search(r"next: \S*(?:python -m )?buarl (.*)", text)[1])


def test_own_images_to_masks(tmp_path, tiny_toy, capsys):
    images = tmp_path / "my images"
    for patient in range(8):
        write_nifti(images / f"p{patient}_scan.nii.gz", image_of(patient))
        if patient < 6:
            write_nifti(images / f"p{patient}_scan_gt.nii.gz", label_of(patient, 3))
    own, run, masks = tmp_path / "my data", tmp_path / "run", tmp_path / "masks"
    told = typed(capsys, "convert", "folder", images, own, "--rank", 2, "--val", 0.2)
    assert "cases.csv" in told
    train = next_command(told)
    assert train[:3] == ["train", "--source", "own_2d"]
    assert "2d" in typed(capsys, "doctor", "--root", own)
    train[train.index("--out") + 1] = str(run)
    rules = ["--labeled-rule", "url", "--unlabeled-rule", "crl", "--labeled", 3]
    assert "trained in" in typed(capsys, *train, *rules)
    typed(capsys, "evaluate", run, "--unit", "mm", "--keep-largest")
    scores = read_metrics(next(run.glob("metrics_val_mm*.csv")))
    assert {row["class"] for row in scores} == {"class 1", "class 2"}
    new = write_nifti(tmp_path / "new" / "q1.nii.gz", image_of(50))
    line = typed(capsys, "predict", run, new, masks, "--entropy")
    assert "q1.nii.gz" in line
    assert " ml" in line
    mask, entropy = (nibabel.load(masks / f"q1_{kind}.nii.gz") for kind in ("seg", "entropy"))
    for image in (mask, entropy):
        np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
        assert image.shape == nibabel.load(new).shape
    assert set(np.unique(mask.dataobj)) <= {0, 1, 2}
    assert 0 <= entropy.get_fdata().min() <= entropy.get_fdata().max() <= np.log(3) + 1e-5


def test_the_acdc_release(tmp_path, tiny_toy, capsys):
    raw, out = write_acdc(tmp_path / "release"), tmp_path / "ACDC"
    told = typed(capsys, "convert", "acdc", raw, out, "--val", 0.2, "--test", 0.2)
    assert next_command(told) == ["doctor", "--source", "acdc", "--root", str(out)]
    assert "trained in" in typed(
        *(capsys, "train", "--source", "acdc", "--root", out, "--out", tmp_path / "run"),
        *("--labeled", 2),
    )


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["convert", "acdc", "{}/none", "{}/out"], "none"),
        (["convert", "la", "{}", "{}/out"], "lgemri.nrrd"),
        (["predict", "{}", "{}", "{}/out"], "not a run folder"),
        (["train", "--source", "own_3d", "--root", "{}", "--out", "{}/run"], "dataset.json"),
    ],
)
def test_a_broken_rule_is_said_and_leaves_nothing(words, rule, tmp_path, capsys):
    assert main([word.format(tmp_path) for word in words]) == 2
    error = capsys.readouterr().err
    assert rule in error
    assert error.startswith("buarl: ")
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "run").exists()
