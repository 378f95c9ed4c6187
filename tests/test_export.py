"""An exported network gives the very labels of the run, or no file is left."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from raw_files import image_of
from tiny import PRESET, write_case, write_tiny
from torch import nn

from buarl.commands.main import main
from buarl.data.source import open_source
from buarl.entropy import most_likely
from buarl.files import export_onnx as export, onnx_graph as graphs
from buarl.files.onnx_graph import OnnxNetwork, onnx_graph
from buarl.networks import UNet
from buarl.training.config import PRESETS, Experiment, build_method
from buarl.training.run import load_run, run_experiment

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
TINY = replace(PRESET, steps=2, image_size={2: (32, 32), 3: (16, 16, 16)})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained run of slices and one of volumes, and where their data lie."""
    root = tmp_path_factory.mktemp("runs")
    write_tiny(root / "acdc")
    names = [f"s{k}" for k in range(14)]
    for k, name in enumerate(names):
        label = (image_of(k, (20, 18, 17)) > 500).astype(np.uint8)
        image = (label + 0.1 * np.random.default_rng(k).normal(size=label.shape)).astype("f4")
        place = root / "la" / "2018LA_Seg_Training Set" / name / "mri_norm2.h5"
        write_case(place, image=image, label=label)
    for split in ("train", "test"):
        (root / "la" / f"{split}.list").write_text("\n".join(names) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        for source, method in (("acdc", "mean_teacher"), ("la", "supervised")):
            row = Experiment(method, source=source, labeled=2, preset="tiny")
            run_experiment(row, open_source(source, root / source), root / f"{source}_run")
        yield root


def said(capsys, *words, code=2):
    assert main([str(word) for word in words]) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err if code else printed.out


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize(
    ("name", "size", "classes"),
    [
        ("acdc", (1, 1, 48, 64), ["background", "RV", "myocardium", "LV"]),
        ("la", (3, 1, 32, 16, 48), ["background", "left atrium"]),
    ],
)
def test_another_program_gets_the_labels_of_the_run_at_any_batch_and_size(
    runs, tmp_path, capsys, name, size, classes
):
    path = tmp_path / "student.onnx"
    text = said(capsys, "export", runs / f"{name}_run", "--onnx", path, code=0)
    assert "any batch, any size in multiples of 16" in text
    assert "labels of onnxruntime equal torch's" in text
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path)
    image = torch.rand(size)
    (logits,) = session.run(["logits"], {"image": image.numpy()})
    student = load_run(runs / f"{name}_run")[2].student.eval()
    with torch.no_grad():
        expected = student(image)
    assert torch.equal(most_likely(torch.from_numpy(logits)), most_likely(expected))
    about = metadata(path)
    assert json.loads(about["buarl_classes"]) == classes
    assert about["buarl_normalisation"] == {"acdc": "minmax", "la": "zscore"}[name]
    assert "not for clinical use" in about["buarl_use"]
    assert "equal those of torch" in about["buarl_checked"]
    windows = json.loads(about["buarl_windows"])
    if name == "la":
        assert (windows["patch_size"], windows["stride"]) == ([16] * 3, [8] * 3)
    else:
        assert (windows["rank"], windows["resize_to"]) == (2, [32, 32])


def test_the_teacher_on_request_on_a_case_by_name(runs, tmp_path, capsys):
    path, run = tmp_path / "t.onnx", runs / "acdc_run"
    words = ("export", run, "--onnx", path, "--teacher", "--case", "p92_frame01")
    assert "checked on p92_frame01" in said(capsys, *words, code=0)
    assert metadata(path)["buarl_network"] == "teacher"
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        expected = load_run(run)[2].teacher.eval()(image)
    found = OnnxNetwork(path.read_bytes())(image)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_graph_whose_labels_differ_is_not_written(runs, tmp_path, capsys, monkeypatch):
    class Wrong(OnnxNetwork):
        def forward(self, image):
            return super().forward(image).flip(1)

    monkeypatch.setattr(export, "OnnxNetwork", Wrong)
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")
    error = said(capsys, "export", runs / "acdc_run", "--onnx", path, "--overwrite")
    assert "labels of onnxruntime must equal torch's, got" in error
    assert "nothing was written" in error
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--onnx", "{out}/a.pt"), "must end in .onnx"),
        (("--onnx", "{out}/no/a.onnx"), "no such folder"),
        (("--onnx", "{out}/old.onnx"), "the file exists"),
        (("--onnx", "{out}/a.onnx", "--case", "p7"), "case must be one of p91_frame01"),
        (("--onnx", "{out}/a.onnx", "--root", "{out}/no"), "no such folder"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_computed(
    runs, tmp_path, capsys, words, rule, monkeypatch
):
    monkeypatch.setattr(export, "onnx_graph", None)
    (tmp_path / "old.onnx").write_bytes(b"")
    filled = [word.format(out=tmp_path) for word in words]
    assert rule in said(capsys, "export", runs / "acdc_run", *filled)
    assert [p.name for p in tmp_path.iterdir()] == ["old.onnx"]


def test_a_method_without_a_teacher_says_so(runs, tmp_path, capsys):
    words = ("export", runs / "la_run", "--onnx", tmp_path / "a.onnx", "--teacher")
    assert "Supervised has no teacher" in said(capsys, *words)


def test_a_missing_extra_is_named(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    words = ("export", runs / "la_run", "--onnx", tmp_path / "a.onnx")
    assert "needs onnxscript: pip install 'buarl[export]'" in said(capsys, *words)


def test_a_student_with_more_heads_exports_its_one_output():
    row = Experiment("mc_net", preset="toy", set={"width": 2, "image_size": (32, 32)})
    graph = onnx_graph(build_method(row, 4).student.eval(), (32, 32))
    assert graph.any_size
    assert len(graph.model.graph.output) == 1


class Placed(nn.Module):
    """Knows where in the image it is, so that it takes one size only."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.rand(1, 1, 20, 20))
        self.head = nn.Conv2d(1, 2, 1)

    def forward(self, image):
        return self.head(image + self.place)


def test_a_network_of_one_size_is_exported_for_that_size():
    graph = onnx_graph(Placed().eval(), (20, 20))
    assert (graph.any_batch, graph.any_size) == (True, False)


def test_a_network_that_decides_by_numbers_is_refused_in_a_sentence():
    class Moody(Placed):
        def forward(self, image):
            return self.head(image if float(image.sum()) > 0 else -image)

    with pytest.raises(ValueError, match="Moody must be one that torch can export to ONNX, got"):
        onnx_graph(Moody().eval(), (20, 20))


def test_a_graph_of_one_image_still_predicts_many(monkeypatch):
    network = UNet(2, 2).eval()
    model = graphs._exported(network, torch.rand(1, 1, 16, 16), None).SerializeToString()
    image = torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(OnnxNetwork(model)(image), network(image), atol=1e-5, rtol=1e-5)
