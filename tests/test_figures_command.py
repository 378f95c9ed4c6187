"""`buarl figures` draws what runs recorded, without their weights and data, or says why not."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import PRESET, write_tiny

from buarl.capsule import read_capsule, read_slices
from buarl.commands.figures import titled
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.entropy import uncertain_mask
from buarl.evaluation.watch import watch_run
from buarl.lessons.paper_figures import read_captions
from buarl.regions import crl, url
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import run_experiment

BCP = Experiment(source="acdc", labeled=2, preset="tiny", seed=3)
ROWS = {
    "bcp": BCP,
    "ours": replace(BCP, labeled_rule=url(80)),
    "one stage": replace(BCP, method="supervised"),
    "another split": replace(BCP, labeled=1),
}
TITLES = (("Plain", "bcp"), ("ours", "ours"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs, and their data."""
    root = tmp_path_factory.mktemp("made")
    source = Acdc(write_tiny(root / "data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        for name, row in ROWS.items():
            watch = watch_run(source, config_for(row), root / name, validate=0)
            run_experiment(row, source, root / name, callback=watch)
            watch.finish()
        run_experiment(BCP, source, root / "unwatched")
        lent = replace(BCP, unlabeled_rule=crl(80))
        run_experiment(lent, source, root / "lent", pretrained=root / "bcp")
    return root


@pytest.fixture
def capsules(made, tmp_path):
    """The runs without a checkpoint, and without data where they say that these lie."""
    for name in (*ROWS, "unwatched"):
        shutil.copytree(made / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pt"))
    hidden = made / "hidden"
    (made / "data").rename(hidden)
    yield tmp_path
    hidden.rename(made / "data")


def figures(capsys, *words, code=0):
    assert main(["figures", *(str(word) for word in words)]) == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err if code else printed.out.splitlines()


def test_two_capsules_are_drawn_side_by_side(capsules, tmp_path, capsys):
    out = tmp_path / "out"
    words = (f"Plain={capsules / 'bcp'}", capsules / "ours", "--out", out, "--slice", "1")
    written = figures(capsys, *words, "--percentile", "90")
    names = ("fig1_errors_and_uncertainty", "fig5_entropy_cuts", "fig3_predictions")
    names = [*(f"{name}.png" for name in (*names, "fig6_pseudo_labels")), "training.gif"]
    assert written == [str(out / name) for name in (*names, "captions.md")]
    about, said = read_captions(out / "captions.md")
    assert list(said) == names
    assert "CC BY-NC-SA 4.0" in about
    kept = {title: read_capsule(capsules / title).slices for title in ("bcp", "ours")}
    wrong = {title: 100 * slices.error for title, slices in kept.items()}
    shares = [f"{title} {wrong[run][-1].mean():.1f} %" for title, run in TITLES]
    assert said[names[2]] == (
        "Fig. 3, at the end (Plain: teacher, ours: teacher). Wrong pixels in the slices drawn: "
        f"{', '.join(shares)}."
    )
    assert kept["bcp"].stages[:4] == ["pretrain"] * 3 + ["selftrain"]
    shares = [f"{title} {wrong[run][2, 1].mean():.1f} %" for title, run in TITLES]
    assert said[names[3]].endswith(f"Wrong pixels in the slices drawn: {', '.join(shares)}.")
    assert f"Of all pixels {wrong['bcp'][-1, 1].mean():.1f} %".lower() in said[names[0]].lower()
    assert "At q = 90 the uncertain are" in said[names[0]]
    with Image.open(out / names[4]) as loop:
        assert loop.n_frames == len(kept["bcp"].stages)


def test_runs_of_one_stage_have_no_figure_6(capsules, tmp_path, capsys):
    written = figures(capsys, capsules / "one stage", "--out", tmp_path / "out")
    assert not [name for name in written if "fig6" in name]


def test_weights_and_data_draw_the_rest(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    words = (made / "bcp", f"Ours={made / 'ours'}", "--networks", "--out", tmp_path / "out")
    written = figures(capsys, *words)
    assert str(tmp_path / "out" / "fig6_pseudo_labels.png") in written
    said = read_captions(tmp_path / "out" / "captions.md")[1]
    assert "of p91_frame01 (validation)" in said["fig3_predictions.png"]


@pytest.mark.parametrize("others", [["bcp"], []])
def test_a_run_that_was_lent_its_first_stage_is_in_every_figure_but_the_sixth(
    made, tmp_path, capsys, monkeypatch, others
):
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    runs = [str(made / name) for name in (*others, "lent")]
    assert main(["figures", *runs, "--networks", "--out", str(tmp_path / "out")]) == 0
    said = "left out of Fig. 6: lent, whose first stage bcp trained"
    assert said in capsys.readouterr().err
    captions = read_captions(tmp_path / "out" / "captions.md")[1]
    assert "lent" in captions["fig3_predictions.png"]
    assert ("fig6_pseudo_labels.png" in captions) == bool(others)
    assert "lent" not in captions.get("fig6_pseudo_labels.png", "")


def test_what_cannot_be_drawn_is_one_sentence_and_leaves_nothing(capsules, tmp_path, capsys):
    out, run = tmp_path / "out", capsules / "bcp"
    (bare := tmp_path / "bare").mkdir()
    for words, sentence in {
        (
            run,
            capsules / "another split",
        ): "must have kept the same slices, another split has others",
        (run, "--slice", "4"): "slice must lie in 0 to 3, got 4",
        (run, f"bcp={capsules / 'ours'}"): "every run needs a title of its own",
        (bare,): "not a run folder",
        (run, "--networks", "--slice", "1"): "--slice and --percentile are of what runs kept",
        (run, "--root", tmp_path): "--root and --code are read by --networks alone",
    }.items():
        assert sentence in figures(capsys, *words, "--out", out, code=2)
        assert not out.exists()
    assert "new or empty folder" in figures(capsys, run, "--out", capsules / "ours", code=2)
    assert "kept no slices" in figures(capsys, capsules / "unwatched", "--out", out, code=2)


def test_a_run_that_cannot_be_read_is_left_out_and_named(capsules, tmp_path, capsys):
    (capsules / "ours" / "history.csv").write_text("nothing")
    words = [str(capsules / name) for name in ("bcp", "ours")]
    assert main(["figures", *words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "left out: " in printed.err
    assert "ours" in printed.err
    assert "ours" not in read_captions(tmp_path / "out" / "captions.md")[1]["fig3_predictions.png"]


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path):
    (folder := tmp_path / "q=95").mkdir()
    assert titled((str(folder),)) == {"q=95": folder}


def test_slices_of_before_are_read_as_they_were_meant(made, tmp_path):
    """Entropy was kept in bytes, 255 for ln C."""
    now, path = read_capsule(made / "bcp").slices, tmp_path / "slices.npz"
    with np.load(made / "bcp" / "slices.npz") as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"entropy": np.round(arrays["entropy"] / 257).astype(np.uint8)})
    before = read_slices(path)
    assert before.entropy.dtype == np.uint16
    assert np.abs(before.nats - now.nats).max() <= 0.5 / 255 * np.log(4) + 1e-6


def test_voxels_near_the_highest_entropy_are_told_apart(made):
    """In 255 levels those of two even classes tie, and a percentile of 99 marks none."""
    slices = read_capsule(made / "bcp").slices
    probs = np.linspace(0.001, 0.5, slices.entropy[0, 0].size)
    nats = -(probs * np.log(probs) + (1 - probs) * np.log(1 - probs))
    entropy = np.round(65535 * nats / np.log(2)).astype(np.uint16)
    kept = replace(slices, num_classes=2, entropy=entropy.reshape(1, 1, *slices.image.shape[1:]))
    assert uncertain_mask(torch.from_numpy(kept.nats[0]), 99).float().mean() > 0.005
