"""`buarl show`: one page that loads nothing, about runs as they are, whatever they lack."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from tiny import PRESET, Cut, cut_after, write_tiny

from buarl.capsule import CapsuleError, read_capsule, read_capsules
from buarl.commands.main import main
from buarl.data.acdc import Acdc
from buarl.evaluation.score import score_run
from buarl.evaluation.watch import watch_run
from buarl.figures.draw import ERROR
from buarl.figures.inline import inline_svg, slice_picture
from buarl.figures.premise import last_moment, run_curves
from buarl.regions import crl, url
from buarl.training.config import PRESETS, Experiment, config_for
from buarl.training.run import run_experiment
from buarl.widgets.run_page import write_run_page
from buarl.widgets.run_page.tables import class_table, runs_table, spread_table

pytestmark = pytest.mark.page
ROW = Experiment(
    "bcp", labeled_rule=url(80), unlabeled_rule=crl(90), source="acdc", labeled=2, preset="tiny"
)


@pytest.fixture(scope="module", autouse=True)
def tiny_preset():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        patch.setitem(PRESETS, "toy", PRESET)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Acdc(write_tiny(tmp_path_factory.mktemp("tiny data")))


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """Seeds 1 and 2 of ROW, trained and evaluated; do not write there."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        out, row = folder / f"seed {seed}", replace(ROW, seed=seed)
        watch = watch_run(source, config_for(row), out, validate=3)
        run_experiment(row, source, out, callback=watch)
        watch.finish()
        score_run(out, source.root)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of them, to spoil."""
    return shutil.copytree(trained, tmp_path / "runs")


class Page(HTMLParser):
    """Open tags that were never closed, and everything that would be loaded from elsewhere."""

    VOID = frozenset({"meta", "img", "input", "br", "hr"})

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.count = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                self.loads.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_loads_nothing_and_shows_all_of_a_run(runs):
    path, faults = write_run_page([runs / "seed 1"])
    assert (path, faults) == (runs / "seed 1" / "show.html", [])
    text = path.read_text()
    page = Page(text)
    assert (page.open, page.loads) == ([], [])
    assert "default-src 'none'" in text
    for words in (
        "Bernard et al., IEEE TMI 2018",  # attribution
        "last checkpoint; no validation or test case takes part",
        "Dice of the student on validation volumes",
        "by class of the label",
        "recall at 95 and 99",
        "Worst cases of the evaluation",
        "Four unlabeled slices while it trained",
        "Threshold scrubber on this run",
        "MedPy",
    ):
        assert words in text, words
    assert page.count["img"] == 2 + 4 * 9  # one validation case; slices: image, label, 6, entropy
    assert "seed 2" not in text


def test_tables_of_two_seeds_have_mean_spread_and_classes(trained):
    found, faults = read_capsules([trained / "seed 1", trained / "seed 2"])
    assert faults == []
    head, first, second = runs_table(found)
    assert [line[head.index("seed")] for line in (first, second)] == ["1", "2"]
    head, line = spread_table(found)
    dice = [
        statistics.mean(
            statistics.mean(row["dice"] for row in run.metrics["val"] if row["class"] == name)
            for name in run.class_names[1:]
        )
        for run in found
    ]
    expected = f"{statistics.mean(dice):.3f} ± {statistics.stdev(dice):.3f}"
    assert (line[head.index("Dice")], line[-1]) == (expected, "1, 2")
    assert len(class_table(found)) == 1 + 2 * 3
    assert spread_table(found[:1]) == [head]


def test_a_run_that_is_there_twice_counts_once_in_the_spread(runs):
    shutil.copytree(runs / "seed 1", runs / "seed 1 again")
    found, _ = read_capsules(sorted(runs.iterdir()))
    assert spread_table(found)[1][-1] == "1, 2"
    text = write_run_page(sorted(runs.iterdir()))[0].read_text()
    assert "seed 1 again is the run seed 1 once more" in text


def test_what_is_damaged_is_named_on_the_page_and_left_out(runs, capsys):
    (runs / "seed 2" / "history.csv").write_text("stage,step,lr\n")
    page = runs / "page.html"
    words = ["show", str(runs / "seed 1"), str(runs / "seed 2"), "--out", str(page)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "buarl: left out:" in said.err
    assert "seed 2/history.csv: damaged" in said.err
    assert said.out.splitlines()[-1] == str(page)
    assert "seed 2/history.csv: damaged" in page.read_text()


def test_nothing_to_show_is_one_line(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said == f"buarl: {tmp_path}: not a run folder, it has no run.json\n"
    with pytest.raises(CapsuleError, match="needs a run folder, got none"):
        write_run_page([])


def test_the_folder_of_a_page_is_made(runs, capsys):
    page = runs / "o ü" / "more" / "x.html"
    assert main(["show", str(runs / "seed 1"), "--out", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    assert "Scores" in page.read_text(encoding="utf-8")


def test_a_page_cannot_be_written_into_a_folder_or_below_a_file(runs, capsys):
    assert main(["show", str(runs / "seed 1"), "--out", str(runs)]) == 2
    assert "the name of a page must end in .html" in capsys.readouterr().err
    checkpoint = runs / "seed 1" / "last.pt"
    kept = checkpoint.read_bytes() if checkpoint.is_file() else None
    assert main(["show", str(runs / "seed 1"), "--out", str(checkpoint)]) == 2
    assert (checkpoint.read_bytes() if checkpoint.is_file() else None) == kept
    capsys.readouterr()
    (runs / "file").write_text("")
    assert main(["show", str(runs / "seed 1"), "--out", str(runs / "file" / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said == f"buarl: {runs / 'file'}: a file stands where a folder should be\n"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("seconds", "x", "seconds must be a table with a number for each stage, got 'x'"),
        ("seconds", ["x"], "seconds must be a table with a number for each stage, got ['x']"),
        ("seconds", {"pretrain": "1"}, "seconds must be a table with a number for each stage, got"),
        ("data", {"classes": 3}, "not as a run writes it ("),
        ("experiment", {"method": "bcp", "seed": 1}, "it has no source"),
    ],
)
def test_a_run_json_that_a_page_cannot_read_is_one_line_that_names_it(
    runs, capsys, monkeypatch, key, value, words
):
    monkeypatch.setattr("buarl.widgets.run_page.page._svg", lambda *_: "")  # charts take seconds
    path = runs / "seed 1" / "run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, key: value, "fingerprint": None}))
    for table in path.parent.glob("metrics_*.csv"):  # its notes name the run by its row
        table.unlink()
    assert main(["show", str(path.parent)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(path.parent) in said
    assert words in said
    assert main(["show", str(path.parent), str(runs / "seed 2")]) == 0
    assert f"buarl: left out: {path.parent}" in capsys.readouterr().err


def test_a_run_without_data_or_checkpoint_is_shown_from_its_capsule(runs, tmp_path):
    (runs / "seed 1" / "last.pt").unlink()
    text = write_run_page([runs / "seed 1"])[0].read_text()
    assert "no worst cases: " in text
    assert "no scrubber: " in text
    assert "last.pt: no such checkpoint" in text
    assert "Four unlabeled slices while it trained" in text
    moved = write_run_page([runs / "seed 2"], root=tmp_path / "gone")[0].read_text()
    assert "gone: no such folder" in moved


def test_a_run_in_training_is_shown_as_far_as_it_is(source, tmp_path):
    out = tmp_path / "run"
    watch = watch_run(source, config_for(ROW), out)

    def callback(*step):
        watch(*step)
        cut_after("selftrain", 3)(*step)

    callback.begin, callback.flush = watch.begin, watch.flush
    with pytest.raises(Cut):
        run_experiment(ROW, source, out, callback=callback)
    text = write_run_page([out])[0].read_text()
    assert "still in training" in text
    assert "worst cases and scrubber come when the run is finished" in text
    assert len(read_capsule(out, unfinished=True).slices.steps) == 3  # up to its last checkpoint


def test_names_are_text_and_no_markup(runs):
    folder = runs / "<script>alert(1)<b>&"
    (runs / "seed 1").rename(folder)
    text = write_run_page([folder])[0].read_text()
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert Page(text).open == []


def test_train_writes_the_page_and_prints_its_path_last(source, tmp_path, capsys):
    out = tmp_path / "a run"
    words = ["train", "--source", "acdc", "--root", str(source.root), "--labeled", "2"]
    assert main([*words, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(out / "show.html")
    assert "next: " in lines[-2]
    assert "not evaluated" in (out / "show.html").read_text()


def test_without_a_volume_to_score_train_names_the_command_that_predicts(source, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(source.root, root)
    (root / "val.list").unlink()
    words = ["train", "--source", "acdc", "--root", str(root), "--labeled", "2"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "no volume is kept to score; masks of new images: " in said
    assert re.search(rf"predict {re.escape(str(tmp_path / 'run'))} IMAGES OUT$", said, re.M)
    assert "next: " not in said


def test_a_page_that_cannot_be_written_fails_no_training(source, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "show.html")

    monkeypatch.setattr("buarl.widgets.run_page.write_run_page", full)
    words = ["train", "--source", "acdc", "--root", str(source.root), "--labeled", "2"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "warning: no page about this run: show.html: the disk is full" in said.err
    assert "next: " in said.out.splitlines()[-1]


# Pictures


def test_charts_take_the_ink_of_the_page_in_light_and_dark():
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], label="a")
    axes.set_title("a <b> & c")
    plt.close(figure)
    svg = inline_svg(figure, "a <b> & c")
    assert svg.startswith("<svg ")
    assert "currentColor" in svg
    assert 'aria-label="a  b    c"' in svg
    assert not re.search(r"#000000|#ffffff|: black|: white", svg)
    assert not re.search(r'<svg[^>]* (width|height)="', svg)


def test_a_stage_change_is_marked_where_the_next_stage_begins():
    rows = [{"stage": s, "step": n, "loss": n} for s in ("first", "second") for n in (10, 20)]
    axes = run_curves({"run": rows}, "loss", "loss").axes[0]
    curve, mark = axes.lines
    assert curve.get_xdata().tolist() == [10, 20, 30, 40]
    assert mark.get_xdata() == [20, 20]
    assert [text.get_text() for text in axes.texts] == ["second"]


def test_errors_are_outlined_and_not_covered():
    wrong = np.zeros((64, 64), bool)
    wrong[10:20, 10:20] = True
    pixels = slice_picture(np.zeros((64, 64)), None, wrong)
    red = (pixels == np.round(255 * np.array(to_rgb(ERROR)))).all(-1)
    assert red.sum() == 4 * 30 - 4  # the frame of a square of 30 x 30
    assert not red[33:57, 33:57].any()


def test_the_last_moment_is_that_of_the_last_stage(trained):
    rows = last_moment(read_capsule(trained / "seed 1").premise)
    assert {(row["stage"], row["step"], row["network"]) for row in rows} == {
        ("selftrain", 6, "teacher")
    }
