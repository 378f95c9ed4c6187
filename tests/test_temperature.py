"""Entropy of predictions at a temperature: the run's own, or a number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import PRESET, rings, write_case, write_tiny

from buarl.capsule import read_capsule
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.errors import DataError
from buarl.entropy import entropy_of_probs
from buarl.evaluation.score import score_run
from buarl.evaluation.watch import watch_run
from buarl.files.predict_files import predict_files
from buarl.files.release import release
from buarl.files.temperature import Tempered, temperature_of_run
from buarl.files.weights import load_released, read_weights, write_weights
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import load_run, run_experiment

nibabel = pytest.importorskip("nibabel")
ROW = Experiment("supervised", source="acdc", labeled=2, preset="tiny")
ENTRIES = Path(__file__).parent.parent / "results" / "seeds"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `run`, which watched itself, `bare`, which did not, and `case.h5`."""
    folder = tmp_path_factory.mktemp("temperature")
    root = write_tiny(folder / "data")
    for patient in (93, 94):
        image, label = rings((3, 20, 24), patient)
        write_case(root / "data" / f"p{patient}_frame01.h5", image=image, label=label)
    (root / "val.list").write_text("p91_frame01\np93_frame01\np94_frame01\n")
    source = Acdc(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", replace(PRESET, steps=40))
        watch = watch_run(source, config_for(ROW), folder / "run")
        run_experiment(ROW, source, folder / "run", callback=watch)
        watch.finish()
        run_experiment(ROW, source, folder / "bare")
    image, label = rings((3, 32, 32), 5)  # of training size, so that nothing is resized
    write_case(folder / "case.h5", image=image, label=label)
    return folder


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESET, steps=40))


def predicted(trained, out, **options):
    paths = predict_files(trained / "run", trained / "case.h5", out, entropy=True, **options)
    return [np.asanyarray(nibabel.load(path).dataobj) for path in paths]


def test_logits_are_divided_and_labels_stay(trained, tmp_path):
    network = load_run(trained / "run")[2].student.eval()
    plain, cool = (
        predicted(trained, tmp_path / "a"),
        predicted(trained, tmp_path / "b", temperature=2.5),
    )
    np.testing.assert_array_equal(plain[0], cool[0])
    image, _ = rings((3, 32, 32), 5)
    with torch.no_grad():
        logits = network(torch.from_numpy(image)[:, None])
    for (_, entropy), value in ((plain, 1.0), (cool, 2.5)):
        wanted = entropy_of_probs((logits / value).softmax(1)).numpy()
        np.testing.assert_allclose(entropy.T, wanted, atol=1e-5)
    assert cool[1].mean() > plain[1].mean()


def test_run_means_what_the_run_fitted_last(trained, tmp_path):
    fitted = [row["temperature"] for row in read_capsule(trained / "run").calibration]
    value = temperature_of_run(trained / "run")
    assert value == fitted[-1] != 1
    own = predicted(trained, tmp_path / "a", temperature="run")
    named = predicted(trained, tmp_path / "b", temperature=value)
    np.testing.assert_array_equal(own[1], named[1])


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "21"])
def test_a_temperature_out_of_range_is_one_sentence(trained, tmp_path, value, capsys):
    words = ["predict", str(trained / "run"), str(trained / "case.h5"), str(tmp_path / "out")]
    assert main([*words, "--entropy", "--temperature", value]) == 2
    said = capsys.readouterr().err
    assert "temperature must lie in 0.05 to 20" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_temperature_without_entropy_would_change_nothing_and_is_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="so it needs entropy"):
        predict_files(trained / "run", trained / "case.h5", tmp_path / "out", temperature=2.0)


def test_where_no_temperature_was_kept_a_number_is_asked_for(trained, tmp_path, capsys):
    inputs = [str(trained / "case.h5"), str(tmp_path / "out"), "--entropy", "--temperature", "run"]
    assert main(["predict", str(trained / "bare"), *inputs]) == 2
    assert "kept no temperature" in capsys.readouterr().err
    score_run(trained / "bare")
    released = str(tmp_path / "bare")
    assert main(["release", str(trained / "bare"), released]) == 0
    assert "temperature" not in (tmp_path / "bare" / "bare.md").read_text(encoding="utf-8")
    assert main(["predict", "--weights", released, *inputs]) == 2
    assert "these weights keep no temperature; give a number" in capsys.readouterr().err


def test_released_weights_keep_the_temperature_of_their_run(trained, tmp_path):
    score_run(trained / "run")
    made = release(trained / "run", tmp_path / "rings")
    value = temperature_of_run(trained / "run")
    assert load_released(made.path, "cpu").temperature == value
    assert f"| temperature | {value:.2f}, fitted on " in made.card.read_text(encoding="utf-8")
    files = [
        predict_files(made.path, trained / "case.h5", tmp_path / name, entropy=True, temperature=t)
        for name, t in (("a", "run"), ("b", value), ("c", None))
    ]
    own, named, plain = (np.asanyarray(nibabel.load(paths[1]).dataobj) for paths in files)
    np.testing.assert_array_equal(own, named)
    assert not np.array_equal(own, plain)
    weights, about = read_weights(made.path)
    write_weights(tmp_path / "odd.safetensors", weights, about | {"temperature": "1"})
    with pytest.raises(DataError, match="another version of buarl"):
        load_released(tmp_path / "odd.safetensors", "cpu")


def test_shipped_weights_keep_the_temperature_that_their_run_found():
    """Fitted anew on the weights in half precision; the entry of the run keeps that in float32."""
    entry = json.loads((ENTRIES / "quick_bcp_url_crl_voxel_1337.json").read_text(encoding="utf-8"))
    kept = load_released("acdc7_bcp_url_crl_quick", "cpu").temperature
    assert kept == pytest.approx(entry["premise"]["temperature"], rel=1e-4)
    assert load_released("acdc7_bcp_quick", "cpu").temperature == pytest.approx(1.2595, rel=1e-3)


def test_weights_keep_their_names_under_a_network_that_wraps_another():
    network = torch.nn.Conv3d(1, 2, 1)
    wrapped = Tempered(network, 4.0)
    volume = torch.rand(1, 1, 3, 4, 5)
    assert [name for name, _ in wrapped.named_parameters()] == ["network.weight", "network.bias"]
    assert torch.equal(wrapped(volume), network(volume) / 4)
