"""Released weights: small, honest, with their card; predict takes them at once, and no wrong file goes through."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from hashlib import sha256

import nibabel
import numpy as np
import pytest
import torch
from raw_files import AFFINE, image_of, write_nifti
from safetensors.torch import load_file, save_file
from tiny import PRESET, write_tiny

from buarl import weights as shelf
from buarl.capsule import run_tag
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.data.la import La
from buarl.evaluation.protocols import Selection, score_selected
from buarl.evaluation.score import score_run
from buarl.evaluation.scores import read_metrics, summary
from buarl.files import predict_files as prediction
from buarl.files.model_card import Card, model_card
from buarl.files.predict_files import predict_files
from buarl.files.release import release
from buarl.files.weights import checksum, halved, load_released, read_weights
from buarl.regions import crl, url
from buarl.training.checkpoint import save_state, write_json
from buarl.training.config import PRESETS, Experiment, build_method, config_for
from buarl.training.run import load_method, read_run, run_experiment

TINY = replace(PRESET, steps=3, image_size={2: (32, 32), 3: (16, 16, 16)}, variants={})


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A trained and evaluated run, and what was released of it."""
    root = tmp_path_factory.mktemp("made")
    source = Acdc(write_tiny(root / "acdc"))
    row = Experiment(
        "mean_teacher", url(90), crl(80), source="acdc", labeled=2, preset="tiny", seed=7
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        watch = Selection(source, config_for(row), root / "run", every=1)
        run_experiment(row, source, root / "run", callback=watch)
        for options in ({}, {"send_back": "probs"}, {"teacher": True}, {"precision": "bf16"}):
            score_run(root / "run", **options)
        score_selected(root / "run")
        assert main(["release", str(root / "run"), str(root / "hearts-7")]) == 0
    return root


@pytest.fixture
def file(made, tmp_path):
    """A copy of the weights that a test may spoil."""
    return shutil.copy(
        made / "hearts-7" / "hearts-7.safetensors", tmp_path / "hearts-7.safetensors"
    )


@pytest.fixture
def scan(tmp_path):
    return write_nifti(tmp_path / "scan.nii.gz", image_of(0))


def said(capsys, *words, code=2):
    assert main([str(word) for word in words]) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return " ".join((printed.err if code else printed.out).split())


def test_predict_takes_a_file_at_once_and_gives_the_masks_of_the_halved_student(
    made, file, scan, tmp_path, capsys, monkeypatch
):
    text = said(capsys, "predict", "--weights", file, scan, tmp_path / "out", code=0)
    assert f"weights {file}: " in text
    assert text.rstrip().endswith("; not for clinical use")
    assert "scan.nii.gz: 12x10x5" in text
    mask = nibabel.load(tmp_path / "out" / "scan_seg.nii.gz")
    np.testing.assert_allclose(mask.affine, AFFINE, atol=1e-4)

    method = load_method(made / "run", 4)
    method.student.load_state_dict(halved(method.student.state_dict()))
    ours = load_released(file, "cpu")
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            ours.network.state_dict().values(), method.student.state_dict().values(), strict=True
        )
    )
    assert {p.dtype for p in ours.network.parameters()} == {torch.float32}
    monkeypatch.setattr(
        prediction, "load_model", lambda *_: ours._replace(network=method.student.eval())
    )
    (expected,) = predict_files(made / "run", scan, tmp_path / "expected")
    assert np.array_equal(mask.dataobj, nibabel.load(expected).dataobj)
    text = said(capsys, "predict", file, scan, tmp_path / "bare", code=0)  # a file needs no flag
    assert text.rstrip().endswith("; not for clinical use")
    (again,) = predict_files(file, scan, tmp_path / "again")
    assert np.array_equal(mask.dataobj, nibabel.load(again).dataobj)


def test_predict_takes_a_name_that_comes_with_the_package(
    file, scan, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(shelf, "FOLDER", tmp_path)
    monkeypatch.setitem(shelf.SHIPPED, "hearts-7", sha256(file.read_bytes()).hexdigest())
    said(capsys, "predict", "--weights", "hearts-7", scan, tmp_path / "out", code=0)
    assert (tmp_path / "out" / "scan_seg.nii.gz").is_file()
    with file.open("ab") as more:
        more.write(b" ")
    words = ("predict", "--weights", "hearts-7", scan, tmp_path / "other")
    assert "is not the file that was released; install buarl again" in said(capsys, *words)
    file.unlink()
    assert "is missing from this installation" in said(capsys, *words)
    assert not (tmp_path / "other").exists()


def test_every_shipped_file_is_the_one_that_was_released():
    """Holds from the first that is shipped: its bytes, its card, and that it loads."""
    files = {path.stem for path in shelf.FOLDER.glob("*.safetensors")}
    assert files == set(shelf.SHIPPED)
    for name in shelf.SHIPPED:
        path = shelf.weights_file(name)
        assert "Not for clinical use" in path.with_suffix(".md").read_text(encoding="utf-8")
        assert load_released(name, "cpu").class_names


def test_the_card_says_where_the_weights_come_from_and_what_they_are_worth(made):
    card = (made / "hearts-7" / "hearts-7.md").read_text(encoding="utf-8")
    found = summary(read_metrics(made / "run" / "metrics_val.csv"))
    weights, about = read_weights(made / "hearts-7" / "hearts-7.safetensors")
    for text in (
        "Not for clinical use",
        "CC BY-NC-SA 4.0",
        "Bernard et al.",
        "the first 2 of the list: p1, p2",
        "| labeled rule | url (percentile 90, ",
        "| unlabeled rule | crl (percentile 80, ",
        "| seed | 7 |",
        "preset tiny, 3 steps",
        "minmax",
        "no validation or test case takes part in training or selection",
        f"| metrics_val.csv | 1 | {found['dice']:.3f} |",
        "differ from those in float32",
        sha256((made / "hearts-7" / "hearts-7.safetensors").read_bytes()).hexdigest(),
        f"torch {torch.__version__}",
    ):
        assert text in card, text
    assert about["licence"] == "CC BY-NC-SA 4.0"
    assert about["classes"] == ["background", "RV", "myocardium", "LV"]
    assert {t.dtype for t in weights.values()} == {torch.float16, torch.int64}


def tables_of(card):
    """The files of scores that a card lists."""
    return re.findall(r"^\| (metrics_\S+) \|", card, re.MULTILINE)


def test_the_card_lists_scores_of_the_released_network_and_no_others(made, tmp_path, capsys):
    """Not those of the teacher, of a checkpoint that did best on validation, or in bf16."""
    names = {path.name for path in (made / "run").glob("metrics_*.csv")}
    others = {"metrics_val_teacher.csv", "metrics_val_paper.csv", "metrics_val_bf16.csv"}
    ours = ["metrics_val.csv", "metrics_val_probs.csv"]
    assert names == others | {*ours}
    assert tables_of((made / "hearts-7" / "hearts-7.md").read_text(encoding="utf-8")) == ours

    run = shutil.copytree(made / "run", tmp_path / "run")
    (run / "metrics_val_teacher.csv").rename(run / "metrics_val_renamed.csv")
    text = (run / "metrics_val.csv").read_text(encoding="utf-8")
    table = [line for line in text.splitlines(keepends=True) if line[0] != "#"]
    (run / "metrics_val_bare.csv").write_text("".join(table), encoding="utf-8")
    (run / "metrics_test.csv").write_text(re.sub("run [0-9a-f]{12}", "run 0123456789ab", text))
    said(capsys, "release", run, tmp_path / "hearts-8", code=0)
    assert tables_of((tmp_path / "hearts-8" / "hearts-8.md").read_text(encoding="utf-8")) == ours

    for name in ours:
        (run / name).unlink()
    assert "in float32 (metrics_test.csv does not say that it holds them), and a release" in said(
        capsys, "release", run, tmp_path / "hearts-9"
    )


def test_the_command_of_a_card_works_from_the_folder_that_it_names(
    made, scan, tmp_path, capsys, monkeypatch
):
    card = (made / "hearts-7" / "hearts-7.md").read_text(encoding="utf-8")
    assert "In the folder of this card:" in card
    words = shlex.split(re.search(r"```bash\nbuarl (.*)\n```", card)[1])
    words = [{"IMAGES": scan, "OUT": tmp_path / "out"}.get(word, word) for word in words]
    monkeypatch.chdir(made / "hearts-7")
    said(capsys, *words, code=0)
    assert (tmp_path / "out" / "scan_seg.nii.gz").is_file()


def test_only_the_very_file_that_comes_with_the_package_is_called_by_its_name(made, monkeypatch):
    run = read_run(made / "run")
    card = Card("hearts-7", run, ["background", "RV"], "minmax", "MIT", {}, "", "0" * 64, 1)
    for digest, place in (("0" * 64, "hearts-7"), ("1" * 64, "hearts-7.safetensors")):
        monkeypatch.setitem(shelf.SHIPPED, "hearts-7", digest)
        assert f"buarl predict --weights {place} IMAGES OUT\n" in model_card(card, [])


@pytest.mark.parametrize("name", shelf.SHIPPED)
def test_a_shipped_card_is_what_the_generator_prints(name):
    """Its lines that follow from the rules alone: which tables, and how to call it."""
    card = shelf.weights_file(name).with_suffix(".md").read_text(encoding="utf-8")
    assert tables_of(card) == ["metrics_val.csv", "metrics_val_probs.csv"]
    assert shelf.SHIPPED[name] in card
    run = {"experiment": read_weights(shelf.weights_file(name))[1]["experiment"]}
    run |= {"environment": {}, "data": {}}
    facts = Card(name, run, [""], "", "", {}, "", shelf.SHIPPED[name], 1)
    limits = "## Limits"
    assert card.split(limits)[1] == model_card(facts, []).split(limits)[1]


def test_a_card_names_the_patients_that_were_labeled_also_where_they_were_drawn(tmp_path):
    source = Acdc(write_tiny(tmp_path / "acdc", patients=5))
    row = Experiment("supervised", source="acdc", labeled=2, preset="tiny", set={"labeled_draw": 1})
    run_experiment(row, source, tmp_path / "run")
    score_run(tmp_path / "run")
    drawn, _ = source.drawn(1).split_labeled(2)
    patients = list(dict.fromkeys(map(source.patient, drawn)))
    assert patients != ["p1", "p2"]
    card = release(tmp_path / "run", tmp_path / "drawn").card.read_text(encoding="utf-8")
    assert f"| labeled patients | 2, drawn by labeled_draw 1: {', '.join(patients)} |" in card


def test_a_weight_of_nothing_stands_in_the_card(made):
    run = read_run(made / "run")
    row = run["experiment"] | {"unlabeled_rule": crl(99, alpha=0).as_dict()}
    card = Card("a", {**run, "experiment": row}, ["b", "c"], "", "", {}, "", "0" * 64, 1)
    assert "crl (percentile 99, uncertain_weight 0" in model_card(card, [])


def untrained(folder, source, names, rank_classes):
    """A finished run of its first weights, with a table of scores from another."""
    row = Experiment("supervised", source=source, labeled=2, preset="tiny")
    folder.mkdir()
    about = {"root": "/no/such/data", "licence": "none known", "classes": names}
    content = {"experiment": row.as_dict(), "data": about, "environment": {}, "finished": True}
    write_json(folder / "run.json", {**content, "config": config_for(row).as_dict()})
    method = build_method(row, rank_classes)
    save_state(folder / "last.pt", {"method": method.state_dict(), "position": [1, 0]})
    return folder


def test_la_is_released_only_by_someone_who_says_the_terms(made, tmp_path, capsys):
    run = untrained(tmp_path / "run", "la", La.class_names, 2)
    scores = (made / "run" / "metrics_val.csv").read_text(encoding="utf-8")
    tag = run_tag(read_run(run))
    (run / "metrics_val.csv").write_text(re.sub("run [0-9a-f]{12}", tag, scores), encoding="utf-8")
    words = ("release", run, tmp_path / "atria")
    text = said(capsys, *words)
    assert "made from 'la' are not released without --license TERMS" in text
    assert not (tmp_path / "atria").exists()
    assert "license must be the name of terms" in said(capsys, *words, "--license", " ")
    said(capsys, *words, "--license", "for our class only", code=0)
    card = (tmp_path / "atria" / "atria.md").read_text(encoding="utf-8")
    assert "| license of the weights | for our class only |" in card
    assert "were not compared with those in float32, as the data were not here" in card
    assert load_released(tmp_path / "atria", "cpu").rank == 3


def test_a_run_without_scores_is_not_released(tmp_path, capsys):
    run = untrained(tmp_path / "run", "acdc", Acdc.class_names, 4)
    assert (
        "has no scores of its student at the last checkpoint in float32, and a release says how good it is"
        in said(capsys, "release", run, tmp_path / "a")
    )
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "rule"), [("Hearts", "small letters"), ("full", "new or empty folder")]
)
def test_a_folder_that_will_not_do(made, tmp_path, capsys, name, rule):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("")
    assert rule in said(capsys, "release", made / "run", tmp_path / name)


def test_a_weight_too_large_for_half_precision_leaves_nothing(made, tmp_path, capsys):
    run = shutil.copytree(made / "run", tmp_path / "run")
    state = torch.load(run / "last.pt", weights_only=True)
    state["method"]["student.head.weight"][0] = 1e5
    save_state(run / "last.pt", state)
    text = said(capsys, "release", run, tmp_path / "big")
    assert "weight head.weight must be below 65504" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


# Wrong files


def rewritten(file, change=lambda weights: None, **about):
    """The file with other weights and other words, its checksum made to fit."""
    weights, old = load_file(file), read_weights(file)[1]
    change(weights)
    text = json.dumps({**old, "sha256": checksum(weights), **about})
    save_file(weights, file, {"buarl": text})


def no_json(file):
    save_file({"a": torch.zeros(2)}, file)


def flipped(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content))


def set_to(value):
    def change(weights):
        weights["head.bias"][0] = value

    return change


def narrower(weights):
    weights["head.bias"] = weights["head.bias"][:2].clone()


def row_with(file, **changes):
    rewritten(file, experiment={**read_weights(file)[1]["experiment"], **changes})


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda f: f.write_bytes(b""), "not a readable safetensors file"),
        (lambda f: f.write_bytes(b"hello"), "not a readable safetensors file"),
        (lambda f: f.write_bytes(f.read_bytes()[:-100]), "not a readable safetensors file"),
        (lambda f: f.write_bytes(b"PK\x03\x04" + bytes(99)), "begins like a zip archive"),
        (no_json, "not written by `buarl release`"),
        (flipped, "do not match their checksum"),
        (lambda f: rewritten(f, sha256="0"), "do not match their checksum"),
        (lambda f: rewritten(f, format=2), "of another version of buarl"),
        (lambda f: rewritten(f, classes="RV"), "of another version of buarl (['classes'])"),
        (
            lambda f: rewritten(f, classes=["background", "RV"]),
            "of UNet with 2 classes, but 'head.",
        ),
        (lambda f: rewritten(f, image_size=[64, 64]), "was trained at [64, 64]"),
        (lambda f: rewritten(f, normalisation="log"), "normalisation must be one of"),
        (lambda f: rewritten(f, narrower), "but 'head.bias' is (2,) and not (4,)"),
        (lambda f: rewritten(f, set_to(torch.nan)), "head.bias holds NaN or an infinite number"),
        (lambda f: row_with(f, source="la"), "takes its row for [16, 16, 16]"),
        (lambda f: row_with(f, method="magic"), "method must be one of"),
        (lambda f: row_with(f, method=[]), "must"),
        (lambda f: row_with(f, network="my.py:Net"), "add --code FOLDER/my.py:Net"),
        (lambda f: row_with(f, preset=None), "preset must be one of"),
        (lambda f: row_with(f, unlabeled_rule=3), "hearts-7.safetensors: "),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_it(file, scan, tmp_path, capsys, spoil, rule):
    spoil(file)
    text = said(capsys, "predict", "--weights", file, scan, tmp_path / "out")
    assert rule in text
    assert "normalisation" in rule or "hearts-7.safetensors" in text
    assert not (tmp_path / "out").exists()


def test_odd_kinds_of_numbers_are_refused(file, scan, tmp_path, capsys):
    weights, about = read_weights(file)
    odd = {name: tensor.bfloat16() for name, tensor in weights.items()}
    save_file(odd, file, {"buarl": json.dumps(about)})
    assert "must be float16, float32 or int64" in said(
        capsys, "predict", "--weights", file, scan, tmp_path / "out"
    )


@pytest.mark.parametrize("place", ["hearts", "no/such.safetensors", "folder"])
def test_what_is_no_weights_says_what_would_be(place, scan, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    place = tmp_path / place if place == "folder" else place
    text = said(capsys, "predict", "--weights", place, scan, tmp_path / "out")
    assert any(
        rule in text
        for rule in ("weights must be a .safetensors file", "no such file", "must hold one")
    )
