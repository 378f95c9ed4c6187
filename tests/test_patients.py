"""Volumes of one patient stay together, also where only the data set's own file says whose they are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from raw_files import image_of, label_of, write_nifti
from tiny import PRESET

from buarl.data.source import open_source
from buarl.evaluation.protocols import Selection
from buarl.evaluation.score import score_run
from buarl.files.convert_folder import convert_folder
from buarl.results.leak import leak_of_run
from buarl.results.ledger import add_to_ledger, entry_of_run
from buarl.results.measured import read_results
from buarl.results.patients import names_tell, patient_of, patients_of_run
from buarl.results.statistics import compare
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import run_experiment

pytest.importorskip("nibabel")
ROW = Experiment("supervised", source="own_2d", labeled=2, preset="tiny")


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Scans `site_PATIENT_k`: what stands before the first _ is the site, not the patient."""
    root = tmp_path_factory.mktemp("own")
    for number in range(8):
        for scan in "ab":
            case = root / "images" / f"site{number % 2}_{number:02}_{scan}"
            write_nifti(case.with_suffix(".nii.gz"), image_of(number))
            write_nifti(case.parent / f"{case.name}_gt.nii.gz", label_of(number, 3))
    folder = root / "data"
    rules = {"rank": 2, "val": 0.5, "test": 0.0, "patient": "[^_]+_([^_]+)"}
    convert_folder(root / "images", folder, **rules)
    return open_source("own_2d", folder)


@pytest.fixture(scope="module")
def trained(own, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        for seed in (0, 1):
            row = replace(ROW, seed=seed)
            watch = Selection(own, config_for(row), root / f"run{seed}", every=3)
            run_experiment(row, own, root / f"run{seed}", callback=watch)
            watch.finish()
            score_run(root / f"run{seed}")
    return root


def test_a_run_on_ones_own_data_is_entered_compared_and_has_a_leak_meter(own, trained, tmp_path):
    cases = own.cases("val")
    wanted = {case: case.split("_")[1] for case in cases}
    assert len(set(wanted.values())) == 4
    entries = [entry_of_run(trained / f"run{seed}") for seed in (0, 1)]
    assert [entry["patients"] for entry in entries] == [wanted, wanted]
    assert leak_of_run(trained / "run0")["splits"] == 6  # of four patients into halves
    add_to_ledger(tmp_path, "mine", trained / "run0")
    (read,) = read_results(tmp_path).entries
    same = {**read, "experiment": {**read["experiment"], "method": "other"}}
    found = compare([read], [same])
    assert list(found.patients) == [wanted[case] for case in found.cases]
    assert read_results(trained).left_out == {}


def test_without_ids_the_data_say_it_and_without_data_the_names(own, trained, tmp_path):
    run = trained / "run1"
    cases = own.cases("val")
    kept = (run / "ids.csv").read_text()
    try:
        (run / "ids.csv").unlink()
        assert patients_of_run(run, cases) == {case: own.patient(case) for case in cases}
        content = json.loads((run / "run.json").read_text())
        content["data"]["root"] = str(tmp_path / "moved")
        (tmp_path / "run.json").write_text(json.dumps(content))
        assert set(patients_of_run(tmp_path, cases).values()) <= {"site0", "site1"}
    finally:
        (run / "ids.csv").write_text(kept)


def test_public_names_say_their_patients():
    assert names_tell("acdc")
    assert not names_tell("own_2d")
    assert not names_tell("nobody's")
    assert patient_of("own_2d", "p1_a") == "p1"
    assert patient_of("acdc", "patient089_frame01") == "patient089"
