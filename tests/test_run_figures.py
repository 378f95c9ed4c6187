"""The paper's figures of finished runs and of released weights say of which they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import PRESET, write_tiny

from buarl.data.acdc import Acdc
from buarl.evaluation.predict import predict_probs
from buarl.evaluation.score import score_run
from buarl.figures.views import unlabeled_views
from buarl.files.model import load_model
from buarl.files.release import release
from buarl.files.weights import halved
from buarl.lessons.run_figures import figures_of_runs, network_to_draw
from buarl.regions import url
from buarl.training.checkpoint import load_state
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.run import run_experiment

NAMES = ((1, "run"), (2, "other"))


def test_figures_are_drawn_of_finished_runs_and_say_which(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    source = Acdc(write_tiny(tmp_path / "data"))
    plain = Experiment(source="acdc", labeled=2, preset="tiny")
    rows = {"plain": plain, "url": replace(plain, labeled_rule=url(80))}
    for name, row in rows.items():
        run_experiment(row, source, tmp_path / name)
    folders = {name: tmp_path / name for name in rows}
    found = figures_of_runs(folders, folders)
    assert set(found) - {"fig1_bars"} == {  # which takes a network that is right somewhere
        *("fig1_errors_and_uncertainty", "fig3_predictions"),
        *("fig5_entropy_cuts", "fig5_paper_colors", "fig6_pseudo_labels"),
    }
    titles = [axes.get_title() for axes in found["fig3_predictions"].figure.axes]
    assert titles[:4] == ["image", "label", "plain", "url"]
    assert (
        "Fig. 3, slices [0, 1, 2] of p91_frame01 (validation)." in found["fig3_predictions"].caption
    )
    assert "preset tiny (6 + 6 steps, 32x32), seed 1337" in found["fig6_pseudo_labels"].caption
    for name in ("fig3_predictions", "fig6_pseudo_labels"):
        assert found[name].caption.endswith(f" url: {rows['url'].rules}.")
    first = build_method(plain, 4, (), config_for(plain))
    first.load_state_dict(load_state(tmp_path / "plain" / "pretrain.pt")["method"])
    images, labels = unlabeled_views(source, config_for(plain), 120)
    wrong = (predict_probs(first.student, images).argmax(1).numpy() != labels).mean()
    assert f"plain {100 * wrong:.2f} %" in found["fig6_pseudo_labels"].caption
    for key, other in {
        "labeled patients": replace(plain, labeled=1),
        "seed": replace(plain, seed=5),
        "image size": replace(plain, set={"image_size": (16, 16)}),
    }.items():
        run_experiment(other, source, tmp_path / key)
        for runs in (({**folders, "b": tmp_path / key}, {}), (folders, {"b": tmp_path / key})):
            with pytest.raises(ValueError, match=f"of one figure must agree in {key}"):
                figures_of_runs(*runs)
    with pytest.raises(ValueError, match="at least one run"):
        figures_of_runs({}, folders)
    run_experiment(plain, source, tmp_path / "lent", pretrained=tmp_path / "plain")
    with pytest.raises(ValueError, match="no such checkpoint of that run; it began from plain"):
        figures_of_runs(folders, {"lent": tmp_path / "lent"})


def test_released_weights_are_drawn_as_the_run_that_they_were(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    data = write_tiny(tmp_path / "data")
    rows = {name: Experiment(source="acdc", labeled=2, preset="tiny", seed=n) for n, name in NAMES}
    for name, row in rows.items():
        run_experiment(row, Acdc(data), tmp_path / name)
        score_run(tmp_path / name)
    file = release(tmp_path / "run", tmp_path / "rings").path
    drawn, source = network_to_draw(file, data)
    assert drawn.row == rows["run"]
    assert source.root == data
    half = halved(load_model(tmp_path / "run", "cpu").network.state_dict())
    assert all(torch.equal(t, half[k].to(t.dtype)) for k, t in drawn.student.state_dict().items())
    beside = figures_of_runs({"weights": file, "run": tmp_path / "run"}, {}, data, main="run")
    alone = figures_of_runs({"weights": str(file)}, {}, data)
    for name in ("fig1_errors_and_uncertainty", "fig5_entropy_cuts"):
        assert alone[name].caption.split("Data:")[1] == beside[name].caption.split("Data:")[1]
    with pytest.raises(ValueError, match="of one figure must agree in seed, got 1 and 2"):
        figures_of_runs({"weights": file, "other": tmp_path / "other"}, {}, data)
    with pytest.raises(ValueError, match="no such file"):
        network_to_draw(tmp_path / "none.safetensors", data)
